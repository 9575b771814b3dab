import math
import subprocess
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from skimage import color, data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from spikejax.errors import InputError
from spikejax.quality import metrics

# Both are computed in float64, in another order; the largest difference measured is 6e-15.
_NEAR = 1e-12


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A photograph of an odd, not square size, and the same with noise of about 24 dB."""
    sharp = np.ascontiguousarray(data.astronaut()[:101, :147])
    noise = np.random.default_rng(0).normal(scale=16, size=sharp.shape)
    return sharp, np.clip(sharp + noise, 0, 255).astype(np.uint8)


def reference_ssim(a: np.ndarray, b: np.ndarray, channel_axis: int | None) -> float:
    """SSIM by scikit-image with the published settings."""
    return structural_similarity(
        a,
        b,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=channel_axis,
    )


def test_rgb_metrics_equal_scikit_image(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Catches another window, border, constant, order of averaging or range than the published ones."""
    sharp, noisy = pictures
    assert metrics.psnr(noisy, sharp) == pytest.approx(peak_signal_noise_ratio(sharp, noisy), abs=_NEAR)
    assert metrics.ssim(noisy, sharp) == pytest.approx(reference_ssim(sharp, noisy, 2), abs=_NEAR)


def test_luma_metrics_equal_scikit_image(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Catches full-range or BT.709 luma, and a rounded one (0.01 dB off)."""
    sharp, noisy = (color.rgb2ycbcr(picture)[..., 0] for picture in pictures)
    expected = peak_signal_noise_ratio(sharp, noisy, data_range=255)
    assert metrics.psnr_y(pictures[1], pictures[0]) == pytest.approx(expected, abs=_NEAR)
    assert metrics.ssim_y(pictures[1], pictures[0]) == pytest.approx(reference_ssim(sharp, noisy, None), abs=_NEAR)


def test_measure_names_every_metric(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Catches a figure written under another's name."""
    sharp, noisy = pictures
    expected = {name: getattr(metrics, name)(noisy, sharp) for name in ("psnr", "psnr_y", "ssim", "ssim_y")}
    assert metrics.measure(noisy, sharp, metrics.STANDARD) == expected


def test_compare_tells_before_from_after(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Catches the blurred frame's figures under the restored one's name."""
    sharp, noisy = pictures
    scores = metrics.scores_of_frame(noisy, sharp, sharp, metrics.STANDARD)
    assert scores["psnr_recon"] == math.inf
    assert scores["psnr_blur"] == metrics.psnr(noisy, sharp)
    assert list(scores) == metrics.score_names(["psnr", "psnr_y", "ssim", "ssim_y"])
    assert metrics.measured_metrics(scores | {"frames": 3}) == ["psnr", "psnr_y", "ssim", "ssim_y"]


def test_equal_pictures(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Catches a division by zero, and an SSIM that is not 1 at its maximum."""
    sharp, _ = pictures
    assert metrics.psnr(sharp, sharp) == math.inf
    assert metrics.ssim(sharp, sharp) == pytest.approx(1.0, abs=1e-12)


def test_uint8_differences_do_not_wrap() -> None:
    """Catches a difference taken in uint8, where 0 - 255 is 1."""
    black = np.zeros((16, 16, 3), np.uint8)
    assert metrics.psnr(black, black + np.uint8(255)) == 0.0


def test_to_uint8_rounds_and_clips() -> None:
    """Catches truncation, which darkens every picture by half a level, and values that wrap around."""
    values = np.array([-0.2, 0.0, 0.6 / 255, 254.4 / 255, 1.0, 1.7], np.float32)
    np.testing.assert_array_equal(metrics.to_uint8(values), np.array([0, 0, 1, 254, 255, 255], np.uint8))


def test_pictures_of_different_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches broadcasting, which would give a plausible figure, where nobody has switched shape checks on."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="one shape"):
        metrics.psnr(np.zeros((16, 16, 3), np.uint8), np.zeros((1, 16, 3), np.uint8))


def test_pictures_smaller_than_the_window_are_refused() -> None:
    """Catches an SSIM of nothing, which would be NaN."""
    small = np.zeros((10, 20, 3), np.uint8)
    with pytest.raises(InputError, match="at least 11x11"):
        metrics.ssim(small, small)


MINE = """
from spikejax.quality.metrics import Metric

def of_green(a, b):
    return float(abs(a[..., 1] * 1.0 - b[..., 1]).mean())

GREEN = Metric("Green", better="lower", unit="levels", distance=of_green)
PSNR = psnr = Metric("another", distance=lambda a, b: 0.0)
EMPTY = Metric("no way to compute it")
WEIGHED = Metric("weighed", load=lambda path: lambda a, b: float(len(path)))
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A user's file of metrics."""
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def test_metrics_are_opened_by_name(mine: str, pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Catches a user's metric under its file's name, in another order than asked for, or left in the table."""
    sharp, noisy = pictures
    opened = metrics.open_metrics([f"{mine}:GREEN", "ssim"], key="--metrics")
    scores = metrics.scores_of_frame(noisy, sharp, sharp, opened)
    assert list(scores) == ["GREEN_blur", "ssim_blur", "GREEN_recon", "ssim_recon"]
    assert scores["GREEN_blur"] == np.abs(noisy[..., 1].astype(float) - sharp[..., 1]).mean()
    assert metrics.metric_named("GREEN").title == "GREEN" and "GREEN" not in metrics.METRICS


def test_metrics_with_weights(mine: str) -> None:
    """Catches a metric that is dropped without a word, and weights that are given to another one."""
    left_out: list[str] = []
    names = ["lpips", f"{mine}:WEIGHED"]
    opened = metrics.open_metrics(
        names, key="k", weights={"lpips": "", "WEIGHED": "1234"}, without_weights=left_out.append
    )
    assert list(opened) == ["WEIGHED"] and left_out == ["LPIPS"]
    assert opened["WEIGHED"](np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)) == 4.0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["psnr", "sim"], "--metrics: expected one of psnr, .*found 'sim'; did you mean 'ssim'"),
        (["psnr", "psnr"], "--metrics: expected different names, found psnr twice"),
        (["MINE:psnr"], "--metrics: expected different names, found psnr twice"),
        (["MINE:EMPTY"], "--metrics: expected a metric with `distance` or `load`, found neither"),
        (["MINE:MINE"], "--metrics: expected MINE to be defined"),
    ],
)
def test_metrics_that_cannot_be(names: list[str], message: str, mine: str) -> None:
    """Catches a score of one metric under another's name, and a table with an empty column."""
    with pytest.raises(InputError, match=message):
        metrics.open_metrics([name.replace("MINE:", f"{mine}:") for name in names], key="--metrics")


def test_naming_metrics_imports_nothing_heavy() -> None:
    """Catches `--help`, reports and configurations that wait for OpenCV or JAX because they name metrics."""
    program = "import sys, spikejax.quality.metrics; print({'cv2', 'jax', 'flax'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
