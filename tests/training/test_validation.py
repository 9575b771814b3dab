"""Validation against scores computed by hand, alone and with hosts that share the work."""

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.models.traits import NetworkTraits
from spikejax.quality import metrics
from spikejax.training.validation import (
    HostShare,
    ScoreTable,
    ShownFrame,
    Validation,
    middle_up_to,
    validate,
    validation_tiles,
)
from tests.stand_ins import KnownTiles, tiny_config


class Memory:
    """Sequences that are in memory."""

    def __init__(self, *sizes: tuple[int, int, int]):
        """Random frames with the counts of 4 bins, for each (frames, height, width)."""
        self.contents: dict[str, dict[str, np.ndarray]] = {}
        self.read: list[tuple[str, int, int | None]] = []
        for number, size in enumerate(sizes):
            rng = np.random.default_rng(number)
            blur, sharp = rng.integers(0, 256, (2, *size, 3), np.uint8)
            counts = rng.integers(0, 9, (*size, 4), np.uint8)
            self.contents["abcdefg"[number]] = {"input": blur, "sharp": sharp, "voxels": counts}

    def sequences(self) -> list[tuple[str, int]]:
        """See `FolderDataset`."""
        return [(name, len(clip["input"])) for name, clip in self.contents.items()]

    def read_stored_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """See `FolderDataset`."""
        self.read.append((name, start, stop))
        return {kind: clip[start:stop] for kind, clip in self.contents[name].items()}


def brighten(frames: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """A network that is known: adds the first bin, a little."""
    assert counts is not None
    return frames + np.float32(0.01) * counts[..., :1].astype(np.float32)


def keep(frames: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """A network that gives back its input."""
    return frames


DATA = Memory((5, 16, 16), (2, 24, 16), (1, 12, 12), (3, 16, 16))


def expected(of: str, metric: Callable[[np.ndarray, np.ndarray], float]) -> list[list[float]]:
    """A metric of every frame, by sequence."""
    values = []
    for clip in DATA.contents.values():
        recon = brighten(clip["input"].astype(np.float32) / np.float32(255), clip["voxels"])
        kinds = {"blur": clip["input"], "recon": metrics.to_uint8(recon)}
        values.append([metric(*pair) for pair in zip(kinds[of], clip["sharp"], strict=True)])
    return values


@pytest.mark.parametrize("tile", [Extent(2, 0, 0), Extent(3, 8, 10), Extent(0, 0, 0)], ids=str)
def test_scores_are_means_over_frames_then_sequences(tile: Extent) -> None:
    """Catches frames counted twice where clips overlap, tiles that do not meet, and a mean over all frames at once."""
    measured = validate(KnownTiles(brighten).restorer(tile, Extent(0, 4, 4)), DATA)
    assert measured is not None
    blur, recon = expected("blur", metrics.psnr), expected("recon", metrics.ssim)
    assert measured.scores["psnr_blur"] == pytest.approx(np.mean([np.mean(frames) for frames in blur]), abs=1e-9)
    assert measured.scores["ssim_recon"] == pytest.approx(np.mean([np.mean(frames) for frames in recon]), abs=1e-4)
    for own, true in zip(measured.frames.values(), recon, strict=True):
        assert [frame["ssim_recon"] for frame in own] == pytest.approx(true, abs=1e-4)
    assert measured.pictures == {}


def test_a_frame_larger_than_the_tile_is_cut_up() -> None:
    """Catches a 720p validation that sees whole frames, which fit into no device, and one program for each sequence."""
    network = KnownTiles(keep, NetworkTraits())
    validate(network.restorer(Extent(3, 16, 32), Extent(0, 4, 8)), Memory((7, 40, 72), (5, 24, 40)))
    assert set(network.shapes) == {(3, 16, 32)}


def test_a_long_sequence_is_read_in_parts() -> None:
    """Catches a validation that holds all of a long sequence, or reads its frames twice."""
    data = Memory((7, 16, 16))
    validate(KnownTiles(keep).restorer(Extent(3, 0, 0)), data)
    assert data.read == [("a", 0, 3), ("a", 3, 6), ("a", 6, 7)]


def test_the_tile_is_that_of_the_configuration() -> None:
    """Catches a validation that ignores the tile of restoring, or its own number of frames."""
    config = tiny_config()
    config.restore.tile, config.restore.overlap, config.validation.frames = (5, 192, 256), (2, 20, 24), 3
    assert validation_tiles(config) == (Extent(3, 192, 256), Extent(0, 20, 24))
    assert validation_tiles(config, frames=8)[0] == Extent(8, 192, 256)


def test_hosts_that_share_the_work_find_the_same() -> None:
    """Catches a frame that two hosts count, or none, or a picture that only one of them has."""
    restorer = KnownTiles(brighten).restorer()
    alone = validate(restorer, DATA, pictures=4)
    barrier, given, results = threading.Barrier(2), {}, {}

    def work(host: int) -> None:
        def add(array: np.ndarray) -> np.ndarray:
            given[host] = array
            barrier.wait(timeout=60)
            total = given[0] + given[1]
            barrier.wait(timeout=60)
            return total

        results[host] = validate(restorer, DATA, pictures=4, share=HostShare(host, 2, add))

    threads = [threading.Thread(target=work, args=(host,)) for host in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    for measured in results.values():
        assert isinstance(measured, Validation) and alone is not None
        assert (measured.scores, measured.frames) == (alone.scores, alone.frames)
        assert measured.pictures.keys() == alone.pictures.keys() == {"a", "b", "c", "d"}
        for name, picture in measured.pictures.items():
            np.testing.assert_array_equal(picture, alone.pictures[name])


def test_a_frame_that_nobody_measured() -> None:
    """Catches a mean over zeros when hosts disagree about who measures which frames."""
    with pytest.raises(RuntimeError, match="measured not at all"):
        validate(KnownTiles(keep).restorer(), DATA, share=HostShare(0, 2))


def test_the_middle_frame_counts_of_short_sequences() -> None:
    """Catches a septuplet measured on all its frames, or a long sequence on one: figures are of the middle ones."""
    restorer = KnownTiles(brighten).restorer()
    middle = validate(dataclasses.replace(restorer, middle_up_to=3), DATA)
    whole = validate(restorer, DATA)
    assert middle is not None and whole is not None
    frames = whole.frames
    assert middle.frames == {"a": frames["a"], "b": frames["b"][1:], "c": frames["c"], "d": frames["d"][1:2]}
    config = tiny_config()
    assert middle_up_to(config) == 0
    config.validation.middle_frame = True
    assert middle_up_to(config) == config.validation.frames == 2


def test_pictures_are_blur_recon_sharp_of_the_first_sequences() -> None:
    """Catches a picture of another frame or in another order."""
    measured = validate(KnownTiles(brighten).restorer(), DATA, pictures=1)
    assert measured is not None and list(measured.pictures) == ["a"]
    blur, recon, sharp = np.split(measured.pictures["a"], 3, axis=1)
    clip = DATA.contents["a"]
    np.testing.assert_array_equal(blur, clip["input"][2])
    np.testing.assert_array_equal(sharp, clip["sharp"][2])
    restored = brighten(clip["input"][2].astype(np.float32) / np.float32(255), clip["voxels"][2])
    np.testing.assert_array_equal(recon, metrics.to_uint8(restored))


def test_the_frame_between_two_is_compared_with_the_true_one() -> None:
    """Catches a frame that is compared with its neighbour, and clips that are mirrored where there is a sequence."""

    class EverySecond(Memory):
        def sequences(self) -> list[tuple[str, int]]:
            return [("a", 3)]

        def read_stored_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
            assert stop == start + 1
            clip = self.contents[name]["sharp"][2 * start : 2 * start + 7]
            return {"input": clip[::2], "sharp": clip[3:4]}

    def middle(frames: np.ndarray, counts: None) -> np.ndarray:
        clips.append(frames)
        return frames[1:2]

    clips: list[np.ndarray] = []
    data = EverySecond((11, 16, 16))
    traits = NetworkTraits(interpolates=True, window=4)
    measured = validate(KnownTiles(middle, traits).restorer(Extent(4, 0, 0), Extent(3, 0, 0)), data, pictures=1)
    truth = data.contents["a"]["sharp"]
    assert measured is not None
    # What the network makes of frames 2 k to 2 k + 6 is here frame 2 k + 2; what is sought is frame 2 k + 3.
    for number, scores in enumerate(measured.frames["a"]):
        assert scores["psnr_recon"] == metrics.psnr(truth[2 * number + 2], truth[2 * number + 3])
        np.testing.assert_array_equal(metrics.to_uint8(clips[number]), truth[2 * number : 2 * number + 7 : 2])
    mean = np.rint((truth[4].astype(float) + truth[6]) / 2)
    np.testing.assert_array_equal(np.split(measured.pictures["a"], 3, axis=1)[0], mean)


def test_another_metric_is_a_mean_like_the_others() -> None:
    """Catches a metric that is asked for the wrong clip, or counted for frames that belong to another clip."""
    measures = {"differing": lambda frame, sharp: float((frame != sharp).mean())}
    measured = validate(KnownTiles(brighten).restorer(), DATA, measures=measures)
    assert measured is not None and list(measured.scores) == ["differing_blur", "differing_recon"]
    differing = expected("recon", lambda recon, sharp: float((recon != sharp).mean()))
    assert measured.scores["differing_recon"] == pytest.approx(
        np.mean([np.mean(frames) for frames in differing]), abs=1e-12
    )


def test_what_compares_neighbours_has_no_score_of_the_first_frame() -> None:
    """Catches a frame that is compared with another sequence's last, and a missing score that counts as 0."""

    class Change:
        def compare(
            self, earlier: np.ndarray, later: np.ndarray, true_earlier: np.ndarray, true_later: np.ndarray
        ) -> float:
            return float(later.mean()) - float(earlier.mean()) + 1000 * (float(true_later.mean()) - true_earlier.mean())

    def frame(level: int) -> np.ndarray:
        return np.full((8, 8, 3), level, np.uint8)

    table = ScoreTable(3, {"change": Change()})
    for index, levels in enumerate(((1, 2, 3), (4, 6, 5), (9, 11, 8))):
        table.add(index, ShownFrame(*map(frame, levels)))
    assert table.scores() == [
        {},
        {"change_blur": 2003.0, "change_recon": 2004.0},
        {"change_blur": 3005.0, "change_recon": 3005.0},
    ]
    assert table.scores(slice(2, 3)) == table.scores()[2:]


def test_a_network_that_makes_other_frames() -> None:
    """Catches scores of pictures that are broadcast against each other."""
    larger = KnownTiles(lambda frames, counts: frames.repeat(2, 1).repeat(2, 2), NetworkTraits(upscale=2, min_frames=1))
    with pytest.raises(InputError, match=r"expected the network to make frames \(16, 16, 3\) like the sharp"):
        validate(larger.restorer(), DATA)


def test_validation_that_is_to_stop() -> None:
    """Catches a validation of an hour between a scheduler's signal and the checkpoint, and scores of half of it."""
    asked = iter([False, True])
    assert validate(KnownTiles(keep).restorer(), DATA, stop=lambda: next(asked)) is None


def test_tiles_that_are_not_finite() -> None:
    """Catches a black picture in a validation without a word, and a training that ends for one."""

    def spoil(frames: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        restored = np.array(frames)
        restored[..., :2, :2, 1] = np.nan
        return restored

    restorer = KnownTiles(spoil).restorer()
    with pytest.raises(FloatingPointError, match="found nan in frame 0 at row 0, column 0"):
        validate(restorer, DATA)
    counting = dataclasses.replace(restorer, settings=dataclasses.replace(restorer.settings, blacken_not_finite=True))
    validation = validate(counting, DATA)
    assert validation is not None
    assert validation.black_tiles == 3 + 1 + 1 + 2  # clips of two frames, a tile each
    assert np.isfinite(list(validation.scores.values())).all()
