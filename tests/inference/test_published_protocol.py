"""The published protocol against the answers of the authors' evaluation (tests/golden/README.md)."""

import jax
import numpy as np
import pytest

from spikejax.quality import metrics
from tests.golden.evaluation import CASES, answers_of, input_of, restorer_of, truth_of

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
def test_float64_answers_and_figures(name: str) -> None:
    """Catches any other way to cut, lengthen or average than the published one, and figures of other pictures."""
    answers, case = answers_of(name), CASES[name]
    with jax.enable_x64(True):
        restorer = restorer_of(name, double=True)
        restored = counted(name, restorer.restore(input_of(name), sigma=case.sigma, protocol="published"))
    output = answers["output"]
    shown = restored[:, MIDDLE, MIDDLE] if name == "sr_vimeo" else restored
    difference = np.abs(shown - output) / np.ptp(output)
    figures = np.abs(scores(restored, truth_of(name)) - answers["per_frame"]).max(axis=0)
    print(f"{name}: of its range {difference.max():.1e} (mean {difference.mean():.1e}), figures {figures}")
    # Not within 1e-6, and why is not known: the network itself agrees within 1e-11, and so do cuts and weights. Another
    # way to blend differs by 1e-2.
    assert difference.max() <= 2e-6
    assert difference.mean() <= 1.5e-7
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
