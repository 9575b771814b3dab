"""Metrics of neighbouring frames on clips whose motion is known."""

import cv2
import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.quality.flow_metrics import FlowDifference, WarpingError
from spikejax.quality.metrics import METRICS, open_all_metrics, open_metrics

RNG = np.random.default_rng(0)
SCENE = cv2.GaussianBlur(RNG.integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 3)
SCENE = cv2.normalize(SCENE, None, 0, 255, cv2.NORM_MINMAX)


def moved(pixels: int) -> np.ndarray:
    """The scene, moved to the right by so many pixels."""
    return np.ascontiguousarray(SCENE[16:80, 32 - pixels : 112 - pixels])


def test_flow_of_the_truth_costs_nothing_and_another_its_distance() -> None:
    """Catches a flow that is compared with itself, swapped pictures, and the sum for the mean of both axes."""
    metric = FlowDifference()
    assert metric.compare(moved(0), moved(2), moved(0), moved(2)) == 0
    still = metric.compare(moved(0), moved(0), moved(0), moved(2))
    assert 0.7 < still < 1.3  # two pixels along one axis of two


def test_flicker_shows_as_its_strength() -> None:
    """Catches a warp in the wrong direction, and changes of the scene that count as flicker."""
    metric = WarpingError()
    steady = metric.compare(moved(0), moved(3), moved(0), moved(3))
    brighter = cv2.add(moved(3), np.full_like(moved(3), 20))
    assert steady < 2
    assert 15 < metric.compare(moved(0), brighter, moved(0), moved(3)) < 22


def test_they_are_measured_by_evaluating_alone() -> None:
    """Catches a metric that restoring or a validation is asked for and leaves out without a word."""
    opened = open_all_metrics(["psnr", "tof", "warp_error"], key="--metrics")
    assert list(opened) == ["psnr", "tof", "warp_error"] and METRICS["tof"].distance is None
    with pytest.raises(InputError, match="--metrics: expected metrics of single frames, found tof, which compares"):
        open_metrics(["psnr", "tof"], key="--metrics")
