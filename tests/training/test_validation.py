"""Validation against scores computed by hand, alone and with hosts that share the work."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from spikejax.quality import metrics
from spikejax.training.validation import BatchRestorer, Validation, validate


class Memory:
    """Sequences that are in memory."""

    def __init__(self, *sizes: tuple[int, int, int]):
        """Random frames with the voxels of 4 bins, for each (frames, height, width)."""
        self.contents: dict[str, dict[str, np.ndarray]] = {}
        for number, size in enumerate(sizes):
            rng = np.random.default_rng(number)
            blur, sharp = rng.uniform(size=(2, *size, 3)).astype(np.float32)
            voxels = rng.normal(size=(*size, 4)).astype(np.float32)
            self.contents["abcdefg"[number]] = {"input": blur, "sharp": sharp, "voxels": voxels}

    def sequences(self) -> list[tuple[str, int]]:
        """See `FolderDataset`."""
        return [(name, len(clip["input"])) for name, clip in self.contents.items()]

    def first_windows(self) -> list[int]:
        """See `FolderDataset`."""
        return list(range(len(self.contents)))

    def size(self, index: int) -> tuple[int, int, int]:
        """See `FolderDataset`."""
        height, width = list(self.contents.values())[index]["input"].shape[1:3]
        return height, width, 1

    def read_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """See `FolderDataset`."""
        return {kind: clip[start:stop] for kind, clip in self.contents[name].items()} | {"name": name}


def brighten(blur: np.ndarray, voxels: np.ndarray | None) -> np.ndarray:
    """A network that is known: adds the first bin, a little."""
    assert voxels is not None
    return blur + 0.1 * voxels[..., :1]


def on_rows(rows: range) -> Callable[[np.ndarray, np.ndarray | None], Mapping[int, np.ndarray]]:
    """The network of a host that has these rows of a batch."""
    return lambda blur, voxels: dict(zip(rows, brighten(blur, voxels), strict=True))


DATA = Memory((5, 16, 16), (2, 24, 16), (1, 12, 12), (3, 16, 16))


def expected(of: str, metric: Callable[[np.ndarray, np.ndarray], float]) -> list[list[float]]:
    """A metric of every frame, by sequence."""
    values = []
    for clip in DATA.contents.values():
        kinds = clip | {"blur": clip["input"], "recon": brighten(clip["input"], clip["voxels"])}
        pairs = zip(metrics.to_uint8(kinds[of]), metrics.to_uint8(clip["sharp"]), strict=True)
        values.append([metric(*pair) for pair in pairs])
    return values


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_scores_are_means_over_frames_then_sequences(batch_size: int) -> None:
    """Catches frames counted twice (overlapping clips, batches filled up) and a mean over all frames at once."""
    measured = validate(BatchRestorer(on_rows(range(batch_size)), 2, batch_size), DATA)
    assert measured is not None
    blur, recon = expected("blur", metrics.psnr), expected("recon", metrics.ssim)
    assert measured.scores["psnr_blur"] == pytest.approx(np.mean([np.mean(frames) for frames in blur]), abs=1e-9)
    assert measured.scores["ssim_recon"] == pytest.approx(np.mean([np.mean(frames) for frames in recon]), abs=1e-9)
    assert [[frame["ssim_recon"] for frame in frames] for frames in measured.frames.values()] == recon
    assert measured.pictures == {}


def test_hosts_that_share_the_work_find_the_same() -> None:
    """Catches a frame that two hosts count, or none, or a picture that only the host that restored it has."""
    alone = validate(BatchRestorer(on_rows(range(4)), 2, 4), DATA, pictures=4)
    barrier, given, results = threading.Barrier(2), {}, {}

    def work(host: int) -> None:
        def add(array: np.ndarray) -> np.ndarray:
            given[host] = array
            barrier.wait(timeout=60)
            total = given[0] + given[1]
            barrier.wait(timeout=60)
            return total

        rows = range(2 * host, 2 * host + 2)
        results[host] = validate(BatchRestorer(on_rows(rows), 2, 4, rows), DATA, pictures=4, sum_over_hosts=add)

    threads = [threading.Thread(target=work, args=(host,)) for host in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for measured in results.values():
        assert isinstance(measured, Validation) and alone is not None
        assert (measured.scores, measured.frames) == (alone.scores, alone.frames)
        assert measured.pictures.keys() == alone.pictures.keys() == {"a", "b", "c", "d"}
        for name, picture in measured.pictures.items():
            np.testing.assert_array_equal(picture, alone.pictures[name])


def test_a_frame_that_nobody_restored() -> None:
    """Catches a mean over zeros when hosts disagree about who has which clips."""
    with pytest.raises(RuntimeError, match="measured not at all"):
        validate(BatchRestorer(on_rows(range(1)), 2, 2, range(1)), DATA)


def test_clips_have_one_shape_and_few_batches_are_filled_up() -> None:
    """Catches a program compiled anew for a sequence's last clip, and batches that end with their sequence."""
    shapes = []

    def restore(blur: np.ndarray, voxels: np.ndarray | None) -> Mapping[int, np.ndarray]:
        shapes.append(blur.shape)
        return dict(enumerate(blur))

    validate(BatchRestorer(restore, 3, 2), Memory((7, 16, 16), (5, 16, 16)))
    assert shapes == [(2, 3, 16, 16, 3)] * 3  # 3 clips and 2 clips


def test_pictures_are_blur_recon_sharp_of_the_first_sequences() -> None:
    """Catches a picture of another frame or in another order."""
    measured = validate(BatchRestorer(on_rows(range(1)), 2), DATA, pictures=1)
    assert measured is not None and list(measured.pictures) == ["a"]
    blur, recon, sharp = np.split(measured.pictures["a"], 3, axis=1)
    clip = DATA.contents["a"]
    np.testing.assert_array_equal(blur, metrics.to_uint8(clip["input"][2]))
    np.testing.assert_array_equal(sharp, metrics.to_uint8(clip["sharp"][2]))
    np.testing.assert_array_equal(recon, metrics.to_uint8(brighten(clip["input"], clip["voxels"])[2]))


def test_another_metric_is_a_mean_like_the_others() -> None:
    """Catches a metric that is asked for the wrong clip, or counted for frames that belong to another clip."""
    measures = {"differing": lambda frame, sharp: float((frame != sharp).mean())}
    measured = validate(BatchRestorer(on_rows(range(2)), 2, 2), DATA, measures=measures)
    assert measured is not None and list(measured.scores) == ["differing_blur", "differing_recon"]
    differing = expected("recon", lambda recon, sharp: float((recon != sharp).mean()))
    assert measured.scores["differing_recon"] == pytest.approx(
        np.mean([np.mean(frames) for frames in differing]), abs=1e-12
    )


def test_validation_that_is_to_stop() -> None:
    """Catches a validation of an hour between a scheduler's signal and the checkpoint, and scores of half of it."""
    asked = iter([False, True])
    assert validate(BatchRestorer(on_rows(range(1)), 2), DATA, stop=lambda: next(asked)) is None
