"""How far two pictures show the same light, whatever the brightness and contrast of each: for streams without a truth.

    --metrics psnr spikejax.quality.correlation:CORRELATION

What spikes say of an instant (TFI) is noisy, and as bright as somebody guessed the camera's threshold to be. PSNR is of
little use then; a correlation that is higher than the blurry picture's says that blur was taken away.
"""

from __future__ import annotations

import numpy as np

from spikejax.quality.metrics import Metric, Picture, luma


def correlation(picture: Picture, sharp: Picture) -> float:
    """Pearson's correlation of the pictures' luma; 0 if one of the two is even."""
    one, other = luma(picture), luma(sharp)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / np.sqrt(np.square(one).sum() * np.square(other).sum()))


CORRELATION = Metric("correlation", better="higher", digits=4, distance=correlation)
