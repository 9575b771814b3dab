"""Evaluating on folders of pictures: what pairs up, what is refused, what counts, and going on after a stop."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import spikejax
from spikejax import evaluate
from spikejax.data.datasets.paired_folders import InputRule, PairedFolders
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.errors import InputError
from spikejax.evaluation.options import EvaluationOptions
from spikejax.evaluation.run import with_test_set
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.pictures import write_picture
from spikejax.models.traits import NetworkTraits
from spikejax.quality import metrics
from spikejax.training.measure_split import TrainedNetwork, fitting_config
from tests.stand_ins import tiny_config

FIGURES = ["--metrics", "psnr", "ssim"]


class Repeat(nnx.Module):
    """Enlarges by repeating pixels, or keeps what it is given."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def __call__(self, clip: jax.Array, voxels: None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        return clip[..., :3].repeat(self.factor, 2).repeat(self.factor, 3)


def write_tree(root: Path, names: dict[str, int], *, side: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    """Writes sequences of so many random pictures; returns them."""
    rng = np.random.default_rng(seed)
    clips = {name: rng.integers(0, 256, (count, side, side, 3), np.uint8) for name, count in names.items()}
    for name, clip in clips.items():
        (root / name).mkdir(parents=True)
        for number, picture in enumerate(clip):
            write_picture(root / name / f"im{number + 1}.png", picture)
    return clips


def use(monkeypatch: pytest.MonkeyPatch, traits: NetworkTraits, *, factor: int = 1) -> list[str]:
    """Has a network with these traits loaded, whatever is asked for; returns the names of what it has restored."""
    statistics = (
        None
        if traits.spike_bins is None
        else SpikeStatistics(traits.spike_bins, mean=0.5, std=0.25, windows=1, split="train")
    )
    tile, overlap = Extent(6, 16, 16), Extent(2, 8, 8)
    restorer = VideoRestorer(Repeat(factor), traits, tile=tile, overlap=overlap, statistics=statistics, name="w")
    config = fitting_config(tiny_config().model.to_dict(), traits)

    def load(path: Any, **options: Any) -> TrainedNetwork:
        return TrainedNetwork(path, config, "w.safetensors", None, restorer)

    monkeypatch.setattr("spikejax.evaluation.run.load_trained", load)
    read: list[str] = []
    read_stored = PairedFolders.read_stored_sequence

    def note(self: PairedFolders, name: str, *rest: Any) -> dict[str, Any]:
        read.append(name)
        return read_stored(self, name, *rest)

    monkeypatch.setattr(PairedFolders, "read_stored_sequence", note)
    return read


def run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """The scores of an evaluation of the folders `lq` and `gt`."""
    folders = ["--input", str(tmp_path / "lq"), "--sharp", str(tmp_path / "gt"), "--output", str(tmp_path / "out")]
    evaluate.main(["--network", str(tmp_path / "w.safetensors"), *folders, *FIGURES, *arguments])
    return json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_sequences_are_measured_and_both_totals_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches sequences that pair up by name alone, and one total for the other."""
    lq = write_tree(tmp_path / "lq", {"a/x": 2, "a/y": 5})
    gt = write_tree(tmp_path / "gt", {"GOPR1": 2, "GOPR2": 5}, seed=1)
    use(monkeypatch, NetworkTraits())
    content = run(tmp_path, "--protocol", "published", "--tile", "6,16,16", "--overlap", "2,8,8", "--save-frames")
    clips = zip(lq.values(), gt.values(), strict=True)
    expected = [[metrics.psnr(*pair) for pair in zip(*clip, strict=True)] for clip in clips]
    assert content["total"]["psnr_recon"] == pytest.approx(np.mean([np.mean(clip) for clip in expected]))
    assert content["mean_over_frames"]["psnr_recon"] == pytest.approx(np.mean(np.concatenate(expected)))
    assert (content["protocol"], content["tile"], content["overlap"]) == ("published", [6, 16, 16], [2, 8, 8])
    out, err = capsys.readouterr()
    assert f"Testing {'GOPR1':20s} ( 1/2) - PSNR: {np.mean(expected[0]):.2f} dB; SSIM: 0." in out
    assert f"-- Average PSNR: {content['total']['psnr_recon']:.2f} dB" in out
    assert "published protocol, tiles of 6,16,16 overlapping by 2,8,8" in out
    assert err.count("sequences pair up by their order: a/x of ") == 1
    saved = tmp_path / "out" / "frames" / "GOPR2"
    assert sorted(path.name for path in saved.iterdir()) == ["before", "restored", "sharp"]
    assert len(list((saved / "restored").iterdir())) == 5
    assert not (tmp_path / ".out.partial").exists()


def test_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a call that measures another way than the command, and a keyword that is ignored."""
    write_tree(tmp_path / "lq", {"a": 3})
    write_tree(tmp_path / "gt", {"a": 3}, seed=1)
    use(monkeypatch, NetworkTraits())
    how: dict[str, Any] = dict(input=tmp_path / "lq", sharp=tmp_path / "gt", metrics=("psnr", "ssim"))
    found = spikejax.evaluate(
        tmp_path / "w.safetensors", output=tmp_path / "api", tile=(2, 16, 16), overlap=(0, 8, 8), **how
    )
    content = run(tmp_path, "--tile", "2,16,16", "--overlap", "0,8,8")
    assert found.mean_over_sequences == content["total"] and found.header["tile"] == [2, 16, 16]
    assert json.loads((tmp_path / "api" / "metrics.json").read_text()) == content
    with pytest.raises(InputError, match="expected options of spikejax.evaluate, found tiles"):
        spikejax.evaluate(tmp_path / "w.safetensors", output=tmp_path / "api", tiles=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tile", "6,8,8"], "expected a --tile of at least 2,16,16, found 6,8,8"),
        (["--tile", "1,16,16"], "expected a --tile of at least 2,16,16, found 1,16,16"),
        (
            ["--tile", "4,16,16", "--protocol", "published"],
            "at least the 6 frames of the network's window .*found 4,16,16",
        ),
        (["--tile", "6,20,20", "--protocol", "published"], "multiples of 8 with the published protocol, found 6,20,20"),
    ],
)
def test_a_tile_that_does_not_hold_a_window(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches figures of a network whose windows were cut, called published ones, and a traceback of the compiler."""
    for root in ("lq", "gt"):
        write_tree(tmp_path / root, {"a": 8}, side=32)
    use(monkeypatch, NetworkTraits(window=6))
    with pytest.raises(InputError, match=message):
        run(tmp_path, *arguments, "--overlap", "0,0,0")
    assert not (tmp_path / "out").exists()


# Sequences with their numbers of frames, and the side of the pictures.
Trees = tuple[dict[str, int], int]
PLAIN: Trees = ({"a": 3}, 24)


@pytest.mark.parametrize(
    ("traits", "lq", "gt", "arguments", "message"),
    [
        (
            NetworkTraits(upscale=4),
            PLAIN,
            PLAIN,
            [],
            "4 times as large .*, 96x96 .*, found 24x24: .*a",
        ),
        (NetworkTraits(upscale=4), ({"a": 3}, 25), ({"a": 3}, 96), [], "4 times as large .*, 100x100 .*, found 96x96"),
        (NetworkTraits(), PLAIN, ({"a": 3}, 96), [], "as large as the input, 24x24 .*, found 96x96"),
        (NetworkTraits(), PLAIN, ({"a": 4}, 24), [], r"as many frames as .* \(3\), found 4: .*gt/a"),
        (NetworkTraits(), PLAIN, ({"a": 3, "b": 3}, 24), [], "as many sequences .*, found 1 in .*lq and 2 in"),
        (NetworkTraits(), ({}, 24), PLAIN, [], "expected a folder of sequences, found none: .*lq"),
        (NetworkTraits(noise_level=True), PLAIN, PLAIN, [], r"expected a sigma \(--sigma\)"),
        (NetworkTraits(), PLAIN, PLAIN, ["--sigma", "30"], "expected no sigma, .* found 30"),
        (NetworkTraits(interpolates=True, window=4), PLAIN, ({"a": 1}, 24), [], "expected 4 frames around"),
        (
            NetworkTraits(spike_bins=4),
            PLAIN,
            PLAIN,
            [],
            "expected --data, whose sequences have spikes",
        ),
        (
            NetworkTraits(),
            PLAIN,
            PLAIN,
            ["--tile", "2,8,8"],
            "a --tile of at least 2,16,16, found 2,8,8",
        ),
        (
            NetworkTraits(window=6),
            ({"a": 8}, 32),
            ({"a": 8}, 32),
            ["--tile", "4,16,16", "--overlap", "0,0,0", "--protocol", "published"],
            "at least the 6 frames of the network's window .*, found 4,16,16",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_compiled(
    traits: NetworkTraits,
    lq: Trees,
    gt: Trees,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches minutes of compiling before a mistake shows, and folders that a refused evaluation leaves behind."""
    for root, (names, side) in (("lq", lq), ("gt", gt)):
        (tmp_path / root).mkdir()
        write_tree(tmp_path / root, names, side=side)
    if not lq[0]:
        (tmp_path / "lq").rmdir()
    use(monkeypatch, traits)

    def compiled(*rest: Any, **options: Any) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr("spikejax.inference.restored_stream.CompiledNetwork", compiled)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path, *arguments)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_pictures_of_other_names_pair_up_by_their_order(tmp_path: Path) -> None:
    """Catches names that differ and nobody hears of, or a line for each of thousands."""
    write_tree(tmp_path / "gt", {"a": 3, "b": 3})
    assert PairedFolders(tmp_path / "gt", tmp_path / "gt", InputRule()).notes == []
    shutil.copytree(tmp_path / "gt", tmp_path / "lq")
    for picture in sorted((tmp_path / "lq").rglob("*.png")):
        picture.rename(picture.with_name(picture.name.replace("im", "Frame ")))
    (note,) = PairedFolders(tmp_path / "gt", tmp_path / "lq", InputRule()).notes
    lq, gt = tmp_path / "lq" / "a" / "Frame 1.png", tmp_path / "gt" / "a" / "im1.png"
    assert note == f"pictures pair up by their order: {lq} with {gt}, ..."


@contextmanager
def stopping_at(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it an evaluation is stopped, as by Ctrl-C, when it comes to that sequence."""
    kept = PairedFolders.read_stored_sequence

    def stop(self: PairedFolders, asked: str, *rest: Any) -> dict[str, Any]:
        if asked == name:
            raise KeyboardInterrupt
        return kept(self, asked, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PairedFolders, "read_stored_sequence", stop)
        yield


def test_a_stopped_evaluation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches hours of work that are done again, and scores of another network or tile taken for this one's."""
    write_tree(tmp_path / "lq", {"a": 3, "b": 3})
    write_tree(tmp_path / "gt", {"a": 3, "b": 3}, seed=1)
    read = use(monkeypatch, NetworkTraits())
    whole = run(tmp_path)
    shutil.rmtree(tmp_path / "out")
    with stopping_at("b", monkeypatch):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    read.clear()
    assert run(tmp_path) == whole
    assert set(read) == {"b"}
    with stopping_at("b", monkeypatch):
        run(tmp_path, "--overwrite")
    read.clear()
    run(tmp_path, "--overwrite", "--tile", "2,16,16")
    assert set(read) == {"a", "b"}


@pytest.mark.parametrize("folder", ["gt", "lq"])
def test_pictures_that_were_replaced_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Catches scores of the pictures that were there before the evaluation was stopped."""
    write_tree(tmp_path / "lq", {"a": 3, "b": 3})
    write_tree(tmp_path / "gt", {"a": 3, "b": 3}, seed=1)
    read = use(monkeypatch, NetworkTraits())
    with stopping_at("b", monkeypatch):
        run(tmp_path)
    shutil.rmtree(tmp_path / folder)
    write_tree(tmp_path / folder, {"a": 3, "b": 3}, seed=2)
    read.clear()
    run(tmp_path)
    assert set(read) == {"a", "b"}


def test_one_evaluation_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two that take each other's scores away, of the same tile or another, and a lock that stays."""
    write_tree(tmp_path / "lq", {"a": 3, "b": 3})
    write_tree(tmp_path / "gt", {"a": 3, "b": 3}, seed=1)
    use(monkeypatch, NetworkTraits())
    kept = PairedFolders.read_stored_sequence
    refused: list[str] = []

    def meanwhile(self: PairedFolders, name: str, *rest: Any) -> dict[str, Any]:
        for options in ((), ("--tile", "2,16,16")):
            with pytest.raises(InputError, match="expected to work alone, found another process at work: .*out$"):
                run(tmp_path, *options)
            refused.append(name)
        return kept(self, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(PairedFolders, "read_stored_sequence", meanwhile)
        first = run(tmp_path)
    assert set(refused) == {"a", "b"}
    assert set(tmp_path.iterdir()) == {tmp_path / name for name in ("lq", "gt", "out")}
    assert run(tmp_path, "--overwrite") == first


@pytest.mark.parametrize("name", [".", "x" * 250, "link"])
def test_an_output_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a folder beside an output whose name leaves no room for it, or is no name."""
    write_tree(tmp_path / "lq", {"a": 2})
    write_tree(tmp_path / "gt", {"a": 2}, seed=1)
    use(monkeypatch, NetworkTraits())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("link").symlink_to(tmp_path / "elsewhere")
    if name == ".":
        Path("link").unlink()
    spikejax.evaluate("w.safetensors", output=name, input=tmp_path / "lq", sharp=tmp_path / "gt", metrics=("psnr",))
    assert (Path(name) / "metrics.json").is_file()
    assert not list(tmp_path.glob("**/.*.partial"))


def test_sequences_that_are_links(tmp_path: Path) -> None:
    """Catches sequences on another disk that are left out unsaid, links without an end, and what is hidden measured."""
    write_tree(tmp_path / "disk", {"b": 3})
    write_tree(tmp_path / "gt", {"a": 2, ".b.partial": 2})
    for link, target in (("b", tmp_path / "disk" / "b"), ("all", tmp_path / "gt"), ("a/up", tmp_path)):
        (tmp_path / "gt" / link).symlink_to(target)
    pairs = PairedFolders(tmp_path / "gt", tmp_path / "gt", InputRule())
    assert pairs.sequences() == [("a", 2), ("b", 3)]


def test_a_root_that_is_the_only_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a sequence without a name, and noise that follows from how the root is spelt or ends at its bytes."""
    name = os.fsdecode("clip ü".encode("latin-1"))
    write_tree(tmp_path, {name: 2})
    whole = PairedFolders(tmp_path / name, None, InputRule(sigma=30.0))
    assert whole.sequences() == [(name, 2)]
    monkeypatch.chdir(tmp_path / name)
    here = PairedFolders(".", None, InputRule(sigma=30.0))
    assert here.sequences() == [(name, 2)]
    inputs = [folders.read_stored_sequence(name)["input"] for folders in (whole, here)]
    np.testing.assert_array_equal(*inputs)


def test_one_frame_of_vimeo_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a mean over all seven frames of a septuplet, whose fourth alone is published."""
    lq = write_tree(tmp_path / "lq", {"00001/0001": 7})
    gt = write_tree(tmp_path / "gt", {"00001/0001": 7}, side=96, seed=1)
    use(monkeypatch, NetworkTraits(upscale=4, window=8), factor=4)
    content = run(tmp_path, "--protocol", "published", "--test-set", "Vimeo-90K-T")
    enlarged = lq["00001/0001"][3].repeat(4, 0).repeat(4, 1)
    assert content["tile"] == [8, 0, 0]
    (only,) = content["frames"]["00001/0001"]
    assert only["psnr_recon"] == pytest.approx(metrics.psnr(enlarged, gt["00001/0001"][3]))


def test_the_tile_of_a_test_set() -> None:
    """Catches the tile of another task's test set of that name, and one that is chosen without being asked for."""
    deblurs, enlarges = NetworkTraits(window=6), NetworkTraits(upscale=4, window=6)
    plain = dict(network="w", output="o", sharp="gt", input="lq", protocol="published")

    def tile(traits: NetworkTraits, **changes: Any) -> tuple[str | None, Extent | None]:
        options = with_test_set(EvaluationOptions(**plain | changes), traits)
        return options.test_set, options.tile

    assert tile(deblurs, test_set="GoPro11") == ("GoPro11", Extent(18, 192, 192))
    assert tile(deblurs, test_set="REDS4") == ("REDS4", Extent(12, 256, 256))
    assert tile(enlarges, test_set="REDS4") == ("REDS4", Extent(40, 128, 128))
    assert tile(enlarges, sharp="sets/vimeo90k/GT") == ("Vimeo-90K-T", Extent(8, 0, 0))
    assert tile(deblurs) == (None, None)
    with pytest.raises(InputError, match="expected --test-set, one of .*DVD10, found 'Vid4'"):
        tile(deblurs, test_set="Vid4")


def test_input_made_of_the_sharp_pictures(tmp_path: Path) -> None:
    """Catches noise that depends on how a sequence is read, and the wrong frame of a septuplet."""
    clip = write_tree(tmp_path / "gt", {"a": 7})["a"]
    noisy = PairedFolders(tmp_path / "gt", None, InputRule(sigma=30.0))
    whole = noisy.read_stored_sequence("a")["input"]
    np.testing.assert_array_equal(whole[4:6], noisy.read_stored_sequence("a", 4, 6)["input"])
    assert (whole[..., 3] == 30).all() and 25 < (whole[..., :3] - clip).std() < 35
    between = PairedFolders(tmp_path / "gt", None, InputRule(window=4))
    assert between.sequences() == [("a", 1)]
    sample = between.read_stored_sequence("a", 0, 1)
    np.testing.assert_array_equal(sample["input"], clip[::2])
    np.testing.assert_array_equal(sample["sharp"], clip[3:4])


@pytest.mark.parametrize(
    ("lq", "gt", "rule", "message"),
    [
        ({"a": 3}, {"a": 3, "b": 3}, InputRule(), "as many sequences below both roots, found 1 in .*lq and 2 in .*gt"),
        ({"a": 3}, {"a": 4}, InputRule(), r"as many frames as the input's sequence has \(3\), found 4: .*gt/a"),
        ({"a": 3}, {"a": 3}, InputRule(upscale=4), "pictures 4 times as large as the input, 96x96 .*, found 24x24"),
        ({"a": 3}, {"a": 1}, InputRule(window=4), "expected 4 frames around the one sought, found 3: .*lq/a"),
        (None, {"a": 3}, InputRule(), "expected --input, the pictures that the network restores, with --sharp .*gt"),
        (None, {"a": 3}, InputRule(window=4), "expected at least 7 frames, found 3: .*gt/a"),
        ({}, {"a": 3}, InputRule(), "expected a folder of sequences, found none: .*lq"),
    ],
)
def test_folders_that_do_not_pair_up(
    lq: dict[str, int] | None, gt: dict[str, int], rule: InputRule, message: str, tmp_path: Path
) -> None:
    """Catches a mistake that shows after an hour, or never."""
    write_tree(tmp_path / "gt", gt)
    write_tree(tmp_path / "lq", lq or {})
    with pytest.raises(InputError, match=message):
        PairedFolders(tmp_path / "gt", None if lq is None else tmp_path / "lq", rule)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(input="a"), "expected --sharp, the true pictures, with --input"),
        (dict(sharp="a", data="b"), "expected --data .* or --sharp .*, found both"),
        (dict(sharp="a", threshold_factor=2.0), "expected a data set for another spike camera, found --sharp"),
        (dict(test_set="GoPro11"), "expected --protocol published with --test-set"),
        (dict(test_set="GoPro11", protocol="published", tile=Extent(6, 64, 64)), "or --tile, found both"),
        (dict(frames=5, tile=Extent(6, 64, 64)), "expected --frames or --tile"),
        (dict(tile=Extent(6, 64, 64), overlap=Extent(6, 8, 8)), "expected an --overlap smaller than --tile 6,64,64"),
    ],
)
def test_options_that_do_not_fit_together(changes: dict[str, Any], message: str) -> None:
    """Catches an option that is ignored without a word."""
    with pytest.raises(InputError, match=message):
        EvaluationOptions("w", "o", **changes).check_one_tile()


@pytest.mark.parametrize(("tile", "found"), [("6,20,16", "6,20,16"), ("1,16,16", "1,16,16")])
def test_a_tile_that_the_windows_do_not_divide(
    tile: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a tile smaller than a window, of which the published network would take no part."""
    write_tree(tmp_path / "lq", {"a": 7})
    write_tree(tmp_path / "gt", {"a": 7}, seed=1)
    use(monkeypatch, NetworkTraits(window=6))
    with pytest.raises(InputError, match=f"expected a --tile .*found {found}"):
        run(tmp_path, "--protocol", "published", "--tile", tile, "--overlap", "0,8,8")
