"""What restored pictures are measured by: a table of metrics, and PSNR and SSIM as the published evaluation has them.

Pictures are uint8 RGB [h,w,3]: what is compared is what a file would hold. The `_y` variants compare the luma of YCbCr
(BT.601, 16 to 235, not rounded) on the same scale of 255. Of a clip one reports the mean over its frames.

To add a metric: an entry of METRICS, which validation, evaluating, restoring and reports take all names from; or one of
your own without touching this file, `validation.metrics = ("psnr", "my_metrics.py:CONTRAST")` or `--metrics`.

References:
    Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, UInt8

from spikejax.errors import InputError
from spikejax.extensions import find_entries
from spikejax.io.pixel_depth import to_uint8 as to_uint8
from spikejax.quality.flow_metrics import FlowDifference, WarpingError

Picture = UInt8[np.ndarray, "h w 3"]
# (a picture, the true one) -> how near they are
Distance = Callable[[Picture, Picture], float]


@runtime_checkable
class OverTime(Protocol):
    """How near the change from one picture to the next is to that of the true ones: frames that flicker show in it."""

    def compare(self, earlier: Picture, later: Picture, true_earlier: Picture, true_later: Picture) -> float:
        """The distance of two pictures that follow each other, and the true ones."""


Measure = Distance | OverTime

# How the name of a score ends in every file: the metric of the frame before restoring ("psnr_blur"), and after.
BEFORE, AFTER = "blur", "recon"

_PEAK = 255.0
_WINDOW = 11
_SIGMA = 1.5
# The two constants that keep SSIM finite in flat regions (K1 = 0.01, K2 = 0.03).
_C1 = (0.01 * _PEAK) ** 2
_C2 = (0.03 * _PEAK) ** 2
_LUMA = np.array([65.481, 128.553, 24.966]) / 255.0


def luma(picture: Picture) -> Float64[np.ndarray, "h w"]:
    """The Y of YCbCr, in [16, 235], as MATLAB's rgb2ycbcr defines it but not rounded."""
    return picture @ _LUMA + 16.0


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio in dB over all channels at once; infinite for equal pictures."""
    return _psnr(a.astype(np.float64), b.astype(np.float64))


def psnr_y(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio in dB of the luma; infinite for equal pictures."""
    return _psnr(luma(a), luma(b))


def ssim(a: Picture, b: Picture) -> float:
    """Structural similarity: 11x11 Gaussian window (sigma 1.5) where it lies inside, mean over positions and channels.

    Raises:
        InputError: a side is shorter than the window.
    """
    return _ssim(a.astype(np.float64), b.astype(np.float64))


def ssim_y(a: Picture, b: Picture) -> float:
    """Structural similarity of the luma, see `ssim`."""
    return _ssim(luma(a), luma(b))


@dataclasses.dataclass(frozen=True)
class Metric:
    """One way of saying how near a picture is to the true one.

    Attributes:
        title: what papers call it.
        better: which values are better.
        digits: decimals that are worth stating.
        unit: of the values; "" = none.
        headline: whether summaries of one line and charts show it.
        distance: computes it.
        load: for a metric with weights, in place of `distance`: the path of their file -> what computes it.
        over_time: for a metric of neighbouring frames, in place of `distance`; evaluating alone measures those.
    """

    title: str
    better: Literal["higher", "lower"] = "higher"
    digits: int = 4
    unit: str = ""
    headline: bool = True
    distance: Distance | None = None
    load: Callable[[str], Distance] | None = None
    over_time: OverTime | None = None

    def text(self, value: float | None) -> str:
        """A value as it is stated, without its unit; None, in files, is an infinite one."""
        return "infinite" if value is None else f"{value:.{self.digits}f}"

    @property
    def unit_text(self) -> str:
        """What follows the value: the unit behind a space, or nothing."""
        return f" {self.unit}" if self.unit else ""


def _load_lpips(path: str) -> Distance:
    # Only now: it imports JAX, which reading a report or a configuration need not wait for.
    from spikejax.quality.perceptual import load_lpips, lpips_distance

    return lpips_distance(load_lpips(path))


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", digits=2, unit="dB", distance=psnr),
    "psnr_y": Metric("PSNR Y", digits=2, unit="dB", headline=False, distance=psnr_y),
    "ssim": Metric("SSIM", distance=ssim),
    "ssim_y": Metric("SSIM Y", headline=False, distance=ssim_y),
    "lpips": Metric("LPIPS", better="lower", load=_load_lpips),
    "tof": Metric("tOF", better="lower", unit="px", headline=False, over_time=FlowDifference()),
    "warp_error": Metric("warping error", better="lower", digits=3, headline=False, over_time=WarpingError()),
}
# Those of single frames, which restoring and validation in training measure.
OF_FRAMES = tuple(name for name, entry in METRICS.items() if entry.over_time is None)
# What is measured where nobody says otherwise: all that takes no weights.
STANDARD: dict[str, Distance] = {name: entry.distance for name, entry in METRICS.items() if entry.distance}


def open_metrics(
    names: Iterable[str],
    *,
    key: str,
    weights: Mapping[str, str] | None = None,
    without_weights: Callable[[str], None] = lambda title: None,
) -> dict[str, Distance]:
    """What computes each metric, by the name that its scores have in files.

    Args:
        names: entries of METRICS, or `FILE.py:NAME`, which stands for a `Metric` and is called NAME in files.
        key: where the names were given, for messages.
        weights: files of those metrics that take weights, by name; "" = none.
        without_weights: told the title of a metric that is left out for want of weights.

    Raises:
        InputError: there is no such metric, two have one name, or the weights cannot be read.
    """
    opened: dict[str, Distance] = {}
    for name, metric in find_entries(METRICS, names, key=key, kind=Metric).items():
        if metric.over_time is not None:
            raise InputError(
                f"{key}: expected metrics of single frames, found {name}, which compares neighbouring frames and is "
                "measured by spikejax.evaluate alone"
            )
        if metric.distance is not None:
            opened[name] = metric.distance
        elif metric.load is None:
            raise InputError(f"{key}: expected a metric with `distance` or `load`, found neither: {name}")
        elif path := (weights or {}).get(name):
            opened[name] = metric.load(path)
        else:
            without_weights(metric.title)
    return opened


def open_all_metrics(names: Iterable[str], *, key: str, weights: Mapping[str, str] | None = None) -> dict[str, Measure]:
    """What computes each metric, those of neighbouring frames too; see `open_metrics`."""
    entries = find_entries(METRICS, names, key=key, kind=Metric)
    over_time: dict[str, Measure] = {name: entry.over_time for name, entry in entries.items() if entry.over_time}
    single = [name for name in names if name not in over_time]
    return open_metrics(single, key=key, weights=weights) | over_time


def metric_named(name: str) -> Metric:
    """The metric called `name` in a file; of one that is not in METRICS its name and values are all that is known."""
    return METRICS.get(name) or Metric(name.replace("_", " ").upper())


def score_names(metrics: Iterable[str]) -> list[str]:
    """The names of a frame's scores, in the order of every table: all metrics before restoring, then all after."""
    return [f"{name}_{when}" for when in (BEFORE, AFTER) for name in metrics]


def measured_metrics(scores: Mapping[str, Any]) -> list[str]:
    """The metrics that there are scores of, among whatever else `scores` holds, in their order."""
    split = (name.rpartition("_") for name in scores)
    return list(dict.fromkeys(metric for metric, _, when in split if metric and when in (BEFORE, AFTER)))


def measure(picture: Picture, reference: Picture, metrics: Mapping[str, Distance]) -> dict[str, float]:
    """Every metric of a picture, by its name."""
    return {name: distance(picture, reference) for name, distance in metrics.items()}


def scores_of_frame(
    before: Picture, restored: Picture, sharp: Picture, metrics: Mapping[str, Distance]
) -> dict[str, float]:
    """The scores of a frame before and after restoring: psnr_blur, ..., psnr_recon, ..., against the sharp frame."""
    return {
        f"{name}_{when}": value
        for when, picture in ((BEFORE, before), (AFTER, restored))
        for name, value in measure(picture, sharp, metrics).items()
    }


class FrameScores:
    """The scores of frames that come one after the other; those over time compare a frame with the one before."""

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        """Takes what is measured, by name."""
        self._distances = {name: item for name, item in measures.items() if not isinstance(item, OverTime)}
        self._over_time = {name: item for name, item in measures.items() if isinstance(item, OverTime)}
        self._earlier: tuple[Picture, Picture, Picture] | None = None

    def add(self, before: Picture, restored: Picture, sharp: Picture, *, measured: bool = True) -> dict[str, float]:
        """The scores of the next frame, see `scores_of_frame`; none unless it is `measured`."""
        scores: dict[str, float] = {}
        if measured:
            scores = scores_of_frame(before, restored, sharp, self._distances)
            if self._earlier is not None:
                *pictures, true = self._earlier
                for name, metric in self._over_time.items():
                    for when, earlier, later in zip((BEFORE, AFTER), pictures, (before, restored), strict=True):
                        scores[f"{name}_{when}"] = metric.compare(earlier, later, true, sharp)
        if self._over_time:
            self._earlier = (before, restored, sharp)
        return scores


def _check_same_shape(a: np.ndarray, b: np.ndarray) -> None:
    # Broadcasting would give a value that looks like a distance.
    if a.shape != b.shape:
        raise ValueError(f"expected two pictures of one shape, found {a.shape} and {b.shape}")


def _psnr(a: Float64[np.ndarray, "*shape"], b: Float64[np.ndarray, "*shape"]) -> float:
    _check_same_shape(a, b)
    mean_square = float(np.mean(np.square(a - b)))
    return 10.0 * math.log10(_PEAK**2 / mean_square) if mean_square else math.inf


def _ssim(a: Float64[np.ndarray, "h w *c"], b: Float64[np.ndarray, "h w *c"]) -> float:
    _check_same_shape(a, b)
    if min(a.shape[:2]) < _WINDOW:
        raise InputError(f"expected pictures of at least {_WINDOW}x{_WINDOW} for SSIM, found {a.shape[0]}x{a.shape[1]}")
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variance_a = _window_mean(a * a) - mean_a**2
    variance_b = _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)) / (
        (mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2)
    )
    return float(np.mean(similarity))


def _window_mean(values: Float64[np.ndarray, "h w *c"]) -> Float64[np.ndarray, "h2 w2 *c"]:
    """The Gaussian-weighted mean around every pixel whose window lies inside."""
    # Only now: names and units of metrics are wanted where nothing is measured.
    import cv2

    kernel = cv2.getGaussianKernel(_WINDOW, _SIGMA, cv2.CV_64F)
    border = _WINDOW // 2
    return cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel)[border:-border, border:-border]
