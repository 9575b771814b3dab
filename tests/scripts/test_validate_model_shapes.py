"""The shapes that scripts/validate_model_shapes.py prints, and where it says that they do not fit."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from spikejax.errors import InputError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# A block a stage: the same shapes as the full depth, evaluated faster.
SHALLOW = ("--config.model.vrt.depths=" + ",".join("1" * 11), "--config.model.vrt.mutual_ratio=1.0")


@pytest.fixture(scope="module")
def main() -> Callable[[Sequence[str]], None]:
    """The script's main function."""
    spec = importlib.util.spec_from_file_location("shapes", ROOT / "scripts" / "validate_model_shapes.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_shapes_and_parts_of_the_spike_network(
    main: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a scale's shapes in another's row, a part that is not counted, lines too long to read."""
    main(["--config", f"{ROOT}/configs/spike.py:baseline", "--size", "5,720,1280"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("configs/spike.py:baseline: 5 frames of 720 x 1280")
    assert lines[1].split() == ["stage", "scale", *"spike encoder temporal attn VRT feature fused".split()]
    assert lines[4].split() == ["3", "1/4", *["5x180x320x96"] * 4]
    assert lines[6].split() == ["5", "1/4", "-", "-", "5x180x320x96", "-"]
    assert lines[9].split() == ["result", "5x720x1280x3"]
    counts = {line[:24].strip(): int(line[24:36].replace(",", "")) for line in lines[12:]}
    assert counts.pop("all") == sum(counts.values()) == 23_672_319
    assert list(counts)[-3:] == ["spike encoder", "temporal attention", "fusion"]
    assert counts["spike encoder"] == 4_812_672
    assert max(len(line) for line in lines[1:]) <= 80


def test_padded_clip_of_super_resolution(
    main: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a table that needs spikes, and a result of the padded size or without the scale."""
    small = ["--config.model.vrt.depths=" + ",".join("1" * 13), "--config.model.vrt.mutual_ratio=1.0"]
    main(["--config", f"{ROOT}/configs/vrt.py:002", "--size", "3,60,100", *small])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": 3 frames of 60 x 100, padded to 64 x 104")
    assert lines[1].split() == ["stage", "scale", "VRT", "feature"]
    assert lines[5].split() == ["4", "1/8", "3x8x13x120"]
    assert lines[9].split() == ["result", "3x240x400x3"]


def test_concatenation_comes_without_temporal_attention(
    main: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a fusion before the attention that the table does not see."""
    main(["--config", f"{ROOT}/configs/spike.py:concat", "--size", "2,64,64", *SHALLOW])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == "stage scale spike encoder VRT feature fused".split()
    assert lines[3].split() == ["2", "1/2", *["2x32x32x96"] * 3]


def test_spikes_in_the_picture_have_no_branch(
    main: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a table of a network whose first convolution has more than the picture, which fails or shows a branch."""
    main(["--config", f"{ROOT}/configs/spike.py:early_concat", "--size", "2,64,64", *SHALLOW])
    lines = capsys.readouterr().out.splitlines()
    assert "spike" not in lines[1]
    (first,) = (line for line in lines if line.startswith("first convolution"))
    assert "54,528" in first  # 9 times 7 channels, 3x3 taps, 96 features and their biases


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config.model.spike.channels=96,96,64,96"], "model.spike.channels: expected (96, 96, 96, 96), "),
        (["--config.model.vrt.dims=96,96,96,48,96,96,96" + ",120" * 4], "expected (96, 96, 96, 48), "),
        (["--config.model.spike.channels=96,96"], "model.spike.channels: expected a tuple of at least 4, "),
        (["--size", "1,64,64"], "--size: expected at least 2,16,16, found 1,64,64"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(main: Callable[[Sequence[str]], None], arguments: list[str], told: str) -> None:
    """Catches a message that does not say which channels fit, or says it only when the network runs."""
    with pytest.raises(InputError) as caught:
        main(["--config", f"{ROOT}/configs/spike.py:baseline", *arguments])
    assert told in str(caught.value)


def test_size_that_is_none(main: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback for a mistyped size."""
    with pytest.raises(SystemExit) as caught:
        main(["--config", "configs/vrt.py:006", "--size", "6,64"])
    assert caught.value.code == 2
    assert "expected FRAMES,HEIGHT,WIDTH such as 12,256,256, found '6,64'" in capsys.readouterr().err
