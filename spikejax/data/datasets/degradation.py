"""The input that a network restores, where it is made of the sharp frames: super-resolution, denoising, interpolation.

    none           nothing is made: the input is read from blur/, pictures as large as the sharp ones or smaller
    bicubic        smaller pictures as MATLAB's imresize makes them, antialiased ("BI")
    gaussian       smaller pictures: blurred by a Gaussian, of which every n-th pixel is kept ("BD")
    noise          Gaussian noise is added, and its standard deviation comes as a fourth channel
    interpolation  every second frame; what is sought is the frame in the middle, which is left out

Clips are as stored (see `clip_dataset`): pictures of whole numbers up to 255, noisy ones as float32 on the same scale.
Smaller pictures are whole numbers again, as the published ones, which are files.

References:
    Liang et al., VRT: A Video Restoration Transformer, 2022; the recipes of its published models.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int, Num, UInt8

from spikejax.io.box import Box

DEGRADATIONS = ("none", "bicubic", "gaussian", "noise", "interpolation")
_SHRINKING = ("bicubic", "gaussian")
# Of the Gaussian per unit of the factor: 1.6 pixels for x4.
_SIGMA_PER_SCALE = 0.4

PictureClip = Num[np.ndarray, "_t _h _w _c"]


@dataclass(frozen=True)
class Degradation:
    """How the input of a network is made, or that it is read.

    Attributes:
        kind: one of `DEGRADATIONS`, see above.
        scale: size of the sharp pictures / size of the input.
        sigma: least and largest standard deviation of the noise, of 255; uniform between them.
    """

    kind: str = "none"
    scale: int = 1
    sigma: tuple[float, float] = (0.0, 0.0)

    @property
    def reads_input(self) -> bool:
        """Whether blurry frames are needed besides the sharp ones."""
        return self.kind == "none"

    def span(self, frames: int) -> int:
        """The consecutive frames that a clip of `frames` is made of."""
        return 2 * frames - 1 if self.kind == "interpolation" else frames

    def shapes(self, frames: int, height: int, width: int) -> dict[str, tuple[int, int, int, int]]:
        """The shapes of "input" and "sharp" for an input of this size."""
        return {
            "input": (frames, height, width, 4 if self.kind == "noise" else 3),
            "sharp": (1 if self.kind == "interpolation" else frames, height * self.scale, width * self.scale, 3),
        }

    def surroundings(self, box: Box, height: int, width: int) -> Box:
        """The part of a sharp picture (`height` x `width`) that the input within `box` is made of."""
        if self.kind not in _SHRINKING:
            return box
        margin = 2 * self.scale  # as far as either kernel reaches
        top, left = max(box.top - margin, 0), max(box.left - margin, 0)
        bottom = min(box.top + box.height + margin, height)
        right = min(box.left + box.width + margin, width)
        return Box(top, left, bottom - top, right - left)

    def apply(
        self, stored: Mapping[str, PictureClip], *, inner: Box, generators: Sequence[np.random.Generator]
    ) -> dict[str, PictureClip]:
        """The clip with its "input", made of "sharp" unless it was read.

        Args:
            stored: the clip as stored; the sharp pictures with their `surroundings`.
            inner: the part of those that is asked for.
            generators: of each frame's noise.
        """
        if self.kind == "none":
            return dict(stored)
        sharp = stored["sharp"]
        clip = {**stored, "sharp": sharp[(slice(None), *inner.slices)]}
        if self.kind in _SHRINKING:
            clip["input"] = shrink(sharp, self.scale, kind=self.kind)[(slice(None), *(inner // self.scale).slices)]
        elif self.kind == "noise":
            low, high = self.sigma
            sigma = low if low == high else generators[0].uniform(low, high)
            clip["input"] = add_noise(sharp, sigma, generators)
        else:
            middle = len(sharp) // 2
            clip |= {"input": sharp[::2], "sharp": sharp[middle : middle + 1]}
        return clip


# The input is read from blur/.
AS_READ = Degradation()


def shrink(clip: UInt8[np.ndarray, "t h w c"], scale: int, *, kind: str) -> UInt8[np.ndarray, "t h2 w2 c"]:
    """The clip `scale` times smaller, which divides its sides, by "bicubic" or "gaussian" (see above)."""
    weights: Callable[[int], Float64[np.ndarray, "after before"]] = {
        "bicubic": lambda size: _bicubic(size, size // scale),
        "gaussian": lambda size: _gaussian(size, scale),
    }[kind]
    return _to_uint8(_along_both(clip, weights))


def add_noise(
    clip: UInt8[np.ndarray, "t h w c"], sigma: float, generators: Sequence[np.random.Generator]
) -> Float32[np.ndarray, "t h w c2"]:
    """The clip with Gaussian noise of standard deviation `sigma` (of 255), not clipped, and `sigma` behind it.

    Args:
        clip: the clip.
        sigma: in the clip's own units.
        generators: of each frame's noise.
    """
    noisy = [
        frame + np.float32(sigma) * generator.standard_normal(frame.shape, np.float32)
        for frame, generator in zip(clip, generators, strict=True)
    ]
    level = np.full((*clip.shape[:3], 1), sigma, np.float32)
    return np.concatenate([np.stack(noisy), level], axis=-1)


def without_network(
    pictures: Num[np.ndarray, "t h w c"], height: int, width: int
) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """The picture that one sees without a network where a restored one is, to compare the network with.

    Small pictures enlarged (bicubic, as MATLAB's imresize), noisy ones without the noise level, of the frames about a
    missing one the mean.

    Args:
        pictures: the input of the restored picture, of 0 to 255: one, or an even number of them around the missing one.
        height: of the restored picture.
        width: of the restored picture.
    """
    middle = len(pictures) // 2
    picture = pictures[max(0, middle - 1) : middle + 1, ..., :3].astype(np.float64).mean(axis=0)
    if picture.shape[:2] != (height, width):
        rows, columns = _bicubic(picture.shape[0], height), _bicubic(picture.shape[1], width)
        picture = _weighted(picture[None], rows, columns)[0]
    return _to_uint8(picture)


def _along_both(
    clip: PictureClip, weights: Callable[[int], Float64[np.ndarray, "after before"]]
) -> Float64[np.ndarray, "t h2 w2 c"]:
    rows, columns = (weights(size) for size in clip.shape[1:3])
    return _weighted(clip, rows, columns)


def _weighted(
    clip: PictureClip, rows: Float64[np.ndarray, "h2 h"], columns: Float64[np.ndarray, "w2 w"]
) -> Float64[np.ndarray, "t h2 w2 c"]:
    return np.einsum("ah,bw,thwc->tabc", rows, columns, clip.astype(np.float64), optimize=True)


@functools.lru_cache(maxsize=16)
def _bicubic(before: int, after: int) -> Float64[np.ndarray, "after before"]:
    """The weights of MATLAB's imresize along one axis: the kernel is as much wider as the picture gets smaller."""
    scale = after / before
    stretch = min(scale, 1.0)
    centres = (np.arange(after) + 0.5) / scale - 0.5
    first = np.floor(centres - 2 / stretch).astype(int)
    places = first[:, None] + np.arange(math.ceil(4 / stretch) + 2)
    x = np.abs(centres[:, None] - places) * stretch
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
    inside = places % (2 * before)
    return _matrix(weights, np.minimum(inside, 2 * before - 1 - inside), before)  # the edge is mirrored


@functools.lru_cache(maxsize=16)
def _gaussian(before: int, scale: int) -> Float64[np.ndarray, "after before"]:
    """The weights of a Gaussian (sigma 0.4 `scale`, cut off at 4 sigma) around every `scale`-th pixel, the first on."""
    sigma = _SIGMA_PER_SCALE * scale
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    places = np.arange(0, before, scale)[:, None] + offsets
    weights = np.broadcast_to(np.exp(-0.5 * (offsets / sigma) ** 2), places.shape)
    period = max(2 * (before - 1), 1)
    inside = places % period
    return _matrix(weights, np.minimum(inside, period - inside), before)  # mirrored, the edge itself once


def _matrix(
    weights: Float64[np.ndarray, "after n"], places: Int[np.ndarray, "after n"], before: int
) -> Float64[np.ndarray, "after before"]:
    matrix = np.zeros((len(weights), before))
    np.add.at(matrix, (np.arange(len(weights))[:, None], places), weights)
    matrix /= matrix.sum(axis=1, keepdims=True)
    matrix.flags.writeable = False  # it is kept
    return matrix


def _to_uint8(clip: Float64[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    return np.clip(np.rint(clip), 0, 255).astype(np.uint8)
