"""PSNR and SSIM of pictures, as the evaluation published with VRT computes them, and a place for a learned distance.

Pictures are uint8 RGB [h,w,3]: what is compared is what a file would hold. The `_y` variants compare the luma of YCbCr
(BT.601, 16 to 235, not rounded) on the same scale of 255. Of a clip one reports the mean over its frames.

References:
    Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

# A learned distance of two pictures, such as LPIPS (spikejax.quality.perceptual.lpips_distance).
Distance = Callable[[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]], float]

_PEAK = 255.0
_WINDOW = 11
_SIGMA = 1.5
# The two constants that keep SSIM finite in flat regions (K1 = 0.01, K2 = 0.03).
_C1 = (0.01 * _PEAK) ** 2
_C2 = (0.03 * _PEAK) ** 2
_LUMA = np.array([65.481, 128.553, 24.966]) / 255.0


def to_uint8(picture: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """A picture or clip in [0, 1] as 8 bits; what lies outside is clipped."""
    return np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)


def luma(picture: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, "h w"]:
    """The Y of YCbCr, in [16, 235], as MATLAB's rgb2ycbcr defines it but not rounded."""
    return picture @ _LUMA + 16.0


def psnr(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> float:
    """Peak signal-to-noise ratio in dB over all channels at once; infinite for equal pictures."""
    return _psnr(a.astype(np.float64), b.astype(np.float64))


def psnr_y(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> float:
    """Peak signal-to-noise ratio in dB of the luma; infinite for equal pictures."""
    return _psnr(luma(a), luma(b))


def ssim(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> float:
    """Structural similarity: 11x11 Gaussian window (sigma 1.5) where it lies inside, mean over places and channels.

    Raises:
        ValueError: a side is shorter than the window.
    """
    return _ssim(a.astype(np.float64), b.astype(np.float64))


def ssim_y(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> float:
    """Structural similarity of the luma, see `ssim`."""
    return _ssim(luma(a), luma(b))


def measure(
    picture: UInt8[np.ndarray, "h w 3"], reference: UInt8[np.ndarray, "h w 3"], *, lpips: Distance | None = None
) -> dict[str, float]:
    """All figures of a picture: psnr, psnr_y (dB), ssim, ssim_y, and lpips where the distance is given."""
    luma_picture, luma_reference = luma(picture), luma(reference)
    return {
        "psnr": psnr(picture, reference),
        "psnr_y": _psnr(luma_picture, luma_reference),
        "ssim": ssim(picture, reference),
        "ssim_y": _ssim(luma_picture, luma_reference),
    } | ({} if lpips is None else {"lpips": lpips(picture, reference)})


def compare(
    blur: UInt8[np.ndarray, "h w 3"],
    recon: UInt8[np.ndarray, "h w 3"],
    sharp: UInt8[np.ndarray, "h w 3"],
    *,
    lpips: Distance | None = None,
) -> dict[str, float]:
    """The figures of a frame before and after restoring: psnr_blur, ..., psnr_recon, ..., against the sharp frame."""
    return {
        f"{name}_{of}": value
        for of, picture in (("blur", blur), ("recon", recon))
        for name, value in measure(picture, sharp, lpips=lpips).items()
    }


def _check_same_shape(a: np.ndarray, b: np.ndarray) -> None:
    # Broadcasting would give a figure that looks like one.
    if a.shape != b.shape:
        raise ValueError(f"expected two pictures of one shape, got {a.shape} and {b.shape}")


def _psnr(a: Float64[np.ndarray, "*shape"], b: Float64[np.ndarray, "*shape"]) -> float:
    _check_same_shape(a, b)
    mean_square = float(np.mean(np.square(a - b)))
    return 10.0 * math.log10(_PEAK**2 / mean_square) if mean_square else math.inf


def _ssim(a: Float64[np.ndarray, "h w *c"], b: Float64[np.ndarray, "h w *c"]) -> float:
    _check_same_shape(a, b)
    if min(a.shape[:2]) < _WINDOW:
        raise ValueError(f"expected pictures of at least {_WINDOW}x{_WINDOW} for SSIM, got {a.shape[0]}x{a.shape[1]}")
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variance_a = _window_mean(a * a) - mean_a**2
    variance_b = _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)) / (
        (mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2)
    )
    return float(np.mean(similarity))


def _window_mean(values: Float64[np.ndarray, "h w *c"]) -> Float64[np.ndarray, "h2 w2 *c"]:
    """The Gaussian-weighted mean around every place whose window lies inside."""
    kernel = cv2.getGaussianKernel(_WINDOW, _SIGMA, cv2.CV_64F)
    border = _WINDOW // 2
    return cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel)[border:-border, border:-border]
