"""The metric for streams without a truth."""

import numpy as np
import pytest

from spikejax.quality.correlation import correlation
from spikejax.quality.metrics import measure, open_metrics


def test_brightness_and_contrast_do_not_matter() -> None:
    """Catches a metric that is of brightness, of one channel, or turned round; and none of what is even."""
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 200, (12, 16, 3)).astype(np.uint8)
    metrics = open_metrics(("spikejax.quality.correlation:CORRELATION",), key="--metrics")
    assert measure(sharp // 2 + 20, sharp, metrics)["CORRELATION"] == pytest.approx(1, abs=1e-4)
    assert correlation(255 - sharp, sharp) == pytest.approx(-1)
    assert correlation(np.full_like(sharp, 7), sharp) == 0
    noisy = (sharp + rng.integers(0, 50, sharp.shape)).astype(np.uint8)
    assert 0.8 < correlation(noisy, sharp) < 0.999
    assert correlation(noisy, sharp) == pytest.approx(correlation(sharp, noisy))
