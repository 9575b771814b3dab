"""Tiles, patches, bands and parts of a deformable convolution on TPUs, and arrays cut into them.

See `spikejax.kernels.sampling_tpu` for what they are.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from einops import rearrange
from jax import Array

from spikejax.kernels.products import product
from spikejax.kernels.sampling_layout import Sampling, row_step
from spikejax.kernels.window_layout import largest_divisor

LANES = 128
SUBLANES = 8
# Pixels of a tile, and its columns: cycles for each pixel, tap and group are 1.00 with 128, 0.77 with 256, 0.65 with
# 512 pixels, but a tile of 8 rows needs two patches where one of 4 rows needs one.
_PIXELS = 256
_TILE_COLUMNS = 64
# Of a part of one picture, in the vector memory; it is there twice, while the next one is fetched, and so is its
# gradient.
_BAND_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Frame:
    """Tiles of the pixels that sample, and patches of the pictures that are sampled.

    Attributes:
        sampling: what is sampled.
        height: of the pixels that sample.
        width: of both.
        source_height: of the pictures.
        dtype: of the pictures and of the products.
        interpret: without a TPU.
    """

    sampling: Sampling
    height: int
    width: int
    source_height: int
    dtype: jnp.dtype
    interpret: bool

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        columns = next(size for size in (_TILE_COLUMNS, 32, 16, 8) if self.width % size == 0)
        return largest_divisor(self.height, _PIXELS // columns), columns

    @property
    def pixels(self) -> int:
        """Of a tile."""
        return self.tile[0] * self.tile[1]

    @property
    def tiles(self) -> int:
        """Of a picture."""
        return self.height * self.width // self.pixels

    @property
    def patch_rows(self) -> int:
        """Rows of a patch, whose channels fill the matrix unit's 128 rows as far as whole registers can."""
        step = row_step(self.sampling.channels)
        return max(LANES // self.sampling.channels // step, 1) * step

    @property
    def patch_height(self) -> int:
        """The rows of all channels of a patch."""
        return max(self.patch_rows * self.sampling.channels, LANES)

    @property
    def band_rows(self) -> int:
        """Rows of a picture that are in the vector memory at once."""
        step = row_step(self.sampling.channels)
        bytes_of_row = self.sampling.at_once * self.sampling.channels * self.padded_width * 4
        rows = min(_BAND_BYTES // bytes_of_row, -(-self.source_height // step) * step)
        return max(rows // step * step, self.patch_rows)

    @property
    def bands(self) -> int:
        """Bands of a picture."""
        return -(-self.source_height // self.band_rows)

    @property
    def band_height(self) -> int:
        """The rows of all channels of a band, and behind them those that the last patch reads without using them."""
        missing = self.patch_height - self.patch_rows * self.sampling.channels
        return self.band_rows * self.sampling.channels + -(-missing // SUBLANES) * SUBLANES

    @property
    def padded_width(self) -> int:
        """Columns of a picture in whole registers."""
        return -(-self.width // LANES) * LANES

    @property
    def outputs(self) -> int:
        """Channels that a part makes."""
        sampling = self.sampling
        return sampling.at_once * sampling.channels if sampling.scale is None else sampling.outputs

    def times(self, a: Array, b: Array, axis_a: int = 1, axis_b: int = 0) -> Array:
        """The product of two matrices; samples of float32 are as exact as those that were gathered."""
        return product(a, b, axis_a, axis_b, exact=True, interpret=self.interpret)


def make_frame(image: Array, base: Array, sampling: Sampling, interpret: bool) -> Frame:
    """How `image` [n, rows, w, group, c] is sampled at `base` [n, sources, h, w, 2]."""
    height, width = base.shape[2:4]
    return Frame(sampling, height, width, image.shape[1], jnp.dtype(image.dtype), interpret)


def to_bands(image: Array, frame: Frame) -> Array:
    """[bands, n, parts, slots, (rows c), columns] float32, each band with the rows behind it that patches read."""
    channels = frame.sampling.channels
    missing = frame.bands * frame.band_rows - frame.source_height, frame.padded_width - frame.width
    image = jnp.pad(image.astype(jnp.float32), ((0, 0), *((0, size) for size in missing), (0, 0), (0, 0)))
    bands = rearrange(
        image, "n (band y) w (part slot) c -> band n part slot (y c) w",
        band=frame.bands, slot=frame.sampling.at_once,
    )  # fmt: skip
    behind = frame.band_height - frame.band_rows * channels
    return jnp.pad(bands, ((0, 0),) * 4 + ((0, behind), (0, 0)))


def from_bands(bands: Array, frame: Frame) -> Array:
    """The image [n, h, w, (source group), c] of `_to_bands`."""
    bands = bands[..., : frame.band_rows * frame.sampling.channels, : frame.width]
    image = rearrange(
        bands, "band n part slot (y c) w -> n (band y) w (part slot) c", c=frame.sampling.channels
    )  # fmt: skip
    return image[:, : frame.source_height]


def first_rows(frame: Frame) -> Array:
    """The first row of every band."""
    return jnp.arange(frame.bands, dtype=jnp.float32) * frame.band_rows


def to_tiles(base: Array, frame: Frame) -> Array:
    """[n, sources, tiles, 2, pixels]: numbers of a pixel along the lanes."""
    rows, columns = frame.tile
    return rearrange(base, "n k (y a) (x b) xy -> n k (y x) xy (a b)", a=rows, b=columns)


def from_tiles(tiles: Array, frame: Frame) -> Array:
    """[n, sources, h, w, 2] of `to_tiles`."""
    rows, columns = frame.tile
    return rearrange(
        tiles, "n k (y x) xy (a b) -> n k (y a) (x b) xy", a=rows, b=columns, x=frame.width // columns
    )  # fmt: skip


def join_parts(results: Array, frame: Frame) -> Array:
    """The result of parts' results [parts, n, h, w, o]: side by side, or added up if they are of one source."""
    if frame.sampling.scale is None:
        return rearrange(results, "part n h w o -> n h w (part o)")
    return rearrange(results, "(k part) n h w o -> part n h w (k o)", k=frame.sampling.sources).sum(0)


def split_parts(dy: Array, frame: Frame) -> Array:
    """The gradients of what the parts make; parts of one source have one."""
    return rearrange(dy, "n h w (part o) -> part n h w o", o=frame.outputs)
