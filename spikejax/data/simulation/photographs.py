"""The real photographs that ship inside scikit-image, for those without a download, split into training and validation.

Sources and licences: see the docstrings in `skimage.data`; all may be used freely.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import skimage.data
import skimage.io  # noqa: F401  # what `skimage.data` would import at its first use, in several threads at once
from jaxtyping import Float32

from spikejax.data.light import picture_light

# A photograph belongs to one split, so that validation never sees a texture that training has seen. Colourful ones on
# both sides; the ones with little texture at any scale (retina, hubble_deep_field, moon) are left out.
PHOTOGRAPHS: Mapping[str, tuple[str, ...]] = {
    "train": ("astronaut", "stereo_motorcycle", "immunohistochemistry", "rocket", "camera", "gravel", "brick", "grass"),
    "val": ("chelsea", "coffee", "coins"),
}
# What the moving scenes are trained on besides: print, whose edges are the hardest there are. The picture is small, and
# mirrored at its edges where it is the background.
PAGES = ("page",)


def load_photograph(name: str) -> Float32[np.ndarray, "h w 3"]:
    """Linear light of one of scikit-image's photographs; grey ones get three equal channels.

    Args:
        name: a function of `skimage.data`.
    """
    loaded = getattr(skimage.data, name)()
    display = np.asarray(loaded[0] if isinstance(loaded, tuple) else loaded)  # a stereo pair: the left picture
    if display.ndim == 2:
        display = np.repeat(display[..., None], 3, axis=-1)
    return picture_light(np.ascontiguousarray(display[..., :3]))


def shrink_detail(linear: Float32[np.ndarray, "h w 3"], scale: float) -> Float32[np.ndarray, "h w 3"]:
    """The photograph without the detail that one sample every `scale` pixels would alias; same size."""
    # Half a sample's width: a compromise between stair steps on edges and needless softness.
    return cv2.GaussianBlur(linear, (0, 0), 0.45 * scale, borderType=cv2.BORDER_REFLECT_101)
