"""`restore` of folders of pictures of every kind, with a network that gives back its input."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jaxtyping import Num
from PIL import Image

from spikejax import restore
from spikejax.errors import InputError
from spikejax.io.still_pictures import read_still, write_in_format
from tests.inference.small_input import TILES, Brighten, restorer_of
from tests.io.test_still_pictures import display_p3

RAMP = np.add.outer(np.arange(24) * 3, np.arange(32) * 2)
PROFILE = display_p3()  # which says when it was made


class Same(Brighten):
    """Gives back its input."""

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, *, key: jax.Array | None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        return clip * (self.factor[...] / 2)


@pytest.fixture(autouse=True)
def same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts it in the place of every network."""
    restorer = restorer_of(Same(None))
    monkeypatch.setattr(restore, "_load", lambda options: restorer)


def picture(number: int, kind: str = "uint8", channels: int = 3) -> Num[np.ndarray, "h w c"]:
    """One of a sequence; where it is transparent, nothing is hidden whole."""
    shifts = (0, 40, 80, 20)[:channels]
    values = np.dstack([RAMP + shift + 2 * number for shift in shifts])
    if kind == "float32":
        return (values / 128).astype(np.float32)
    return (values * 257 if kind == "uint16" else values).astype(kind)


def folder_of(path: Path, suffix: str, **kind: Any) -> Path:
    """A folder of four pictures."""
    path.mkdir()
    for number in range(4):
        write_in_format(path / f"{number}{suffix}", picture(number, **kind))
    return path


def run(source: Path, *words: str) -> Path:
    """Restores a folder and returns where."""
    output = source.with_name(f"{source.name}_out")
    restore.main(["--network", "work", "-i", str(source), "-o", str(output), *TILES, *words])
    return output


def layers(path: Path) -> np.ndarray:
    """A picture with its transparency."""
    still = read_still(path, keep_floats=True)
    return still.frame if still.alpha is None else np.dstack([still.frame, still.alpha])


@pytest.mark.parametrize(
    ("form", "suffix", "kind", "channels", "largest"),
    [
        ("png", ".png", "uint8", 4, 0),
        ("png", ".png", "uint16", 4, 0),
        ("tiff", ".tiff", "uint8", 4, 0),
        ("tiff", ".tiff", "uint16", 3, 0),
        ("tiff", ".tiff", "float32", 3, 1e-6),
        ("exr", ".exr", "float32", 3, 1e-6),
        ("webp", ".webp", "uint8", 4, 0),
        ("jpeg", ".jpg", "uint8", 3, 5),
    ],
)
def test_every_format(tmp_path: Path, form: str, suffix: str, kind: str, channels: int, largest: float) -> None:
    """Catches numbers, depth or transparency that a format loses though it holds them, and a wrong name."""
    read = suffix if kind == "float32" else ".png"
    source = folder_of(tmp_path / "in", read, kind=kind, channels=channels)
    output = run(source, "--format", form)
    for number in range(4):
        written = layers(output / f"{number}{suffix}")
        assert written.dtype == kind and written.shape == (24, 32, channels)
        wanted = picture(number, kind, channels).astype(np.float64)
        assert np.abs(written.astype(np.float64) - wanted).max() <= largest


def test_floats_by_default_and_in_a_video(tmp_path: Path) -> None:
    """Catches linear light that is clipped unasked, and floats in a video, which has none."""
    source = folder_of(tmp_path / "in", ".exr", kind="float32")
    np.testing.assert_allclose(layers(run(source) / "3.exr"), picture(3, "float32"), atol=1e-6)
    restore.main(["--network", "work", "-i", str(source), "-o", str(tmp_path / "a.mkv"), *TILES])
    assert (tmp_path / "a.mkv").stat().st_size > 0


def test_profiles_and_cmyk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a profile that is lost on the way, and colours that are converted without a word."""
    for name in ("profile", "cmyk"):
        (tmp_path / name).mkdir()
        for number in range(4):
            if name == "profile":
                write_in_format(tmp_path / name / f"{number}.png", picture(number), profile=PROFILE)
            else:
                Image.fromarray(picture(number)).convert("CMYK").save(tmp_path / name / f"{number}.jpg", quality=95)
    with Image.open(run(tmp_path / "profile") / "2.png") as written:
        assert written.info["icc_profile"] == PROFILE
    run(tmp_path / "cmyk")
    said = capsys.readouterr().err
    assert "of 4 pictures, CMYK" in said


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (("--format", "png"), "uint16", ["png keeps"]),
        (("--format", "webp"), "uint16", ["webp keeps"]),
        (("--format", "tiff"), "uint8", ["tiff of 8 bits keeps"]),
        (("--format", "tiff"), "uint16", ["tiff of 16 bits holds no"]),
        (("--format", "exr"), "uint8", ["exr holds no"]),
        (("--video", "a.mkv"), "uint8", ["png keeps", "a video holds no"]),
        (("-o", "b.mkv"), "uint8", ["a video holds no"]),
    ],
)
def test_what_becomes_of_a_profile_is_said_and_true(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    kind: str,
    said: list[str],
) -> None:
    """Catches a profile that is lost without a word, or said to be kept where it is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(4):
        write_in_format(tmp_path / "in" / f"{number}.png", picture(number, kind), profile=PROFILE)
    output = run(tmp_path / "in", *words)
    lines = [line for line in capsys.readouterr().err.splitlines() if "ICC profile" in line]
    assert [line.removeprefix("spikejax: note: ").partition(" ICC")[0].removesuffix(" the") for line in lines] == said
    for written in output.glob("2.*") if output.is_dir() else ():
        # Pillow opens no EXR; FFmpeg's writer knows no profile.
        if written.suffix != ".exr":
            with Image.open(written) as opened:
                assert (opened.info.get("icc_profile") == PROFILE) == ("keeps" in said[0])


def test_a_size_that_changes_for_a_picture(tmp_path: Path) -> None:
    """Catches an end by which what is done is lost, and a run that cannot go on once it is told what to do."""
    source = folder_of(tmp_path / "in", ".png")
    for number in range(4, 34):
        write_in_format(source / f"{number}.png", picture(number))
    write_in_format(source / "13.png", picture(13)[:20])  # between two that are read before
    with pytest.raises(InputError, match="0.png is 32x24 but 13.png is 32x20"):
        run(source)
    kept = len(list((tmp_path / ".in_out.partial" / "frames").glob("*.png")))
    assert kept >= 3
    output = run(source, "--resume", "--resize-changes")
    assert len(list(output.glob("*.png"))) == 34
    np.testing.assert_array_equal(layers(output / "2.png"), picture(2))
    assert layers(output / "13.png").shape == (24, 32, 3)


def test_a_size_that_changes_for_good(tmp_path: Path) -> None:
    """Catches a night's work that ends at a picture that could have been asked for its size before."""
    source = folder_of(tmp_path / "in", ".png")
    for number in range(4, 40):
        write_in_format(source / f"{number}.png", picture(number)[: 24 if number < 35 else 20])
    with pytest.raises(InputError, match=r"0.png is 32x24 but 3[5-9].png is 32x20"):
        run(source)
    assert not (tmp_path / ".in_out.partial").exists()
    assert len(list(run(source, "--to", "8").glob("*.png"))) == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "y4m"), "expected a pipe"),
        (("--format", "jpeg", "--video", "a.mkv"), "expected --format png or tiff"),
        (("--stream", "1"), "expected a video with --stream"),
        (("--format", "png", "-o", "b.mkv"), "expected a folder as --output"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an option that is taken and has no effect."""
    source = folder_of(tmp_path / "in", ".png")
    with pytest.raises((InputError, SystemExit)) as ended:
        run(source, *words)
    assert said in (capsys.readouterr().err + str(ended.value))
