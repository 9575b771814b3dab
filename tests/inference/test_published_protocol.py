"""The published protocol against the answers of the authors' evaluation (tests/golden/README.md)."""

import jax
import numpy as np
import pytest

from convert.vrt_keys import published_encoding
from spikejax.models import attention
from spikejax.quality import metrics
from tests.golden.evaluation import CASES, answers_of, input_of, restore_published, restorer_of, truth_of

# Of super-resolution the answers hold this part of every frame.
MIDDLE = slice(104, 152)


def counted(name: str, restored: np.ndarray) -> np.ndarray:
    """The restored frames that count: one of super-resolution's, and the one in the middle where it is made up."""
    return restored[3:4] if name in ("sr_vimeo", "interp_tiles") else restored


def scores(restored: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """PSNR, SSIM, PSNR_Y and SSIM_Y of each frame."""
    measures = (metrics.psnr, metrics.ssim, metrics.psnr_y, metrics.ssim_y)
    pairs = list(zip(metrics.to_uint8(restored), metrics.to_uint8(truth), strict=True))
    return np.array([[measure(*pair) for measure in measures] for pair in pairs])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_float64_answers_and_figures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches any other way to cut, lengthen or average than the published one, and figures of other pictures.

    The answers are those of a network in float64 whose encodings of positions are float32, as the original's buffers
    are: by exact ones the answers differ by up to 1.7e-6 of their range.
    """
    monkeypatch.setattr(attention, "sine_position_encoding", published_encoding)
    answers = answers_of(name)
    with jax.enable_x64(True):
        restored = counted(name, restore_published(name, restorer_of(name, double=True)))
    output = answers["output"]
    shown = restored[:, MIDDLE, MIDDLE] if name == "sr_vimeo" else restored
    difference = np.abs(shown - output) / np.ptp(output)
    figures = np.abs(scores(restored, truth_of(name)) - answers["per_frame"]).max(axis=0)
    print(f"{name}: of its range {difference.max():.1e} (mean {difference.mean():.1e}), figures {figures}")
    # The answers are kept in float32. Another way to blend differs by 1e-2.
    assert difference.max() <= 1e-6
    assert difference.mean() <= 5e-8
    assert figures[[0, 2]].max() <= 0.002
    assert figures[[1, 3]].max() <= 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_float32_figures(name: str) -> None:
    """Catches precision that costs a digit of what is printed."""
    restored = restorer_of(name, double=False).restore(input_of(name), sigma=CASES[name].sigma, protocol="published")
    own = scores(counted(name, restored), truth_of(name)).mean(axis=0)
    theirs = answers_of(name)["per_frame"].mean(axis=0)
    print(f"{name}: {own - theirs}")
    assert np.abs(own - theirs)[[0, 2]].max() <= 0.01
    assert np.abs(own - theirs)[[1, 3]].max() <= 1e-4
