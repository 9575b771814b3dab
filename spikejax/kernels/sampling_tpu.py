"""Deformable convolution for TPUs (Pallas, Mosaic), without gathering or scattering.

A TPU takes 3 ns to gather a pixel and 30 to add to one. Instead, a bilinear sample is a product: with the hat
h(d) = max(0, 1 - |d|), the sample at (x, y) is the sum over rows i and columns j of h(i - y) h(j - x) image[i, j]. A
tile of pixels looks at a patch of R rows and 128 columns of its source, all channels of a group below each other:

    sampled = patch [R c, 128] @ h(column - x) [128, pixels]      the matrix unit
    weighted = sampled * h(row - y) * mask                        [R c, pixels]
    result += kernel, repeated R times [o, R c] @ weighted        sums over rows, and is the convolution

What a tile's positions span decides which patches it looks at, one after the other: usually one, and as many as it
takes where neighbours look far apart. So any displacement is exact, and wide ones cost time. What lies outside the
picture has no row or column there, and adds nothing. The gradient of the patch is a product as well, (kernel.T @ dy *
h(row - y) * mask) @ h(column - x).T, and is added to the picture's in the vector memory.

Positions and masks are computed inside from what the offset convolution gave, and their gradients end there.

A grid goes over parts (some groups of a source), images and tiles, in this order; a part of one picture, and of its
gradient, stay in the vector memory for all tiles. Pictures too large for that come in bands of rows, one after the
other, with positions counted from the band's first row.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from spikejax.kernels.cycles import cycles_of_sampling, in_metadata
from spikejax.kernels.sampling_layout import PART, TAPS, Sampling
from spikejax.kernels.sampling_tpu_frame import (
    SUBLANES,
    Frame,
    first_rows,
    from_bands,
    from_tiles,
    join_parts,
    make_frame,
    split_parts,
    to_bands,
    to_tiles,
)
from spikejax.kernels.sampling_tpu_kernels import backward_kernel, forward_kernel, position_scratch

_VMEM_BYTES = 100 * 2**20
_MAX_CHANNELS = 32


def fits(sampling: Sampling, *, rows: int, columns: int) -> bool:
    """Whether there are tiles of pictures of that size, and patches with so many channels."""
    return columns % SUBLANES == 0 and sampling.channels <= _MAX_CHANNELS


def forward(
    image: Array, offsets: Array | None, base: Array, kernel: Array | None, sampling: Sampling, *, interpret: bool
) -> Array:
    """The convolution [n, h, w, o] of what every pixel of n targets looks at.

    Args:
        image: [n, source rows, w, (source group), c].
        offsets: [n, h, w, columns] in the order of `arrange_offsets`, float32.
        base: (column, row) that the flows point to, [n, sources, h, w, 2], float32.
        kernel: [sources, (tap group c), o].
        sampling: how.
        interpret: without a TPU.
    """
    frame = make_frame(image, base, sampling, interpret)
    arguments = _Arguments(frame, offsets, base, kernel)
    bands = to_bands(image, frame)

    def of_band(total: Array, band: tuple[Array, Array]) -> tuple[Array, None]:
        picture, first = band
        return total + _forward_of_band(frame, arguments, picture, first), None

    if frame.bands == 1:
        return join_parts(_forward_of_band(frame, arguments, bands[0], jnp.float32(0)), frame).astype(image.dtype)
    total = jnp.zeros((sampling.parts, len(image), *base.shape[2:4], frame.outputs), jnp.float32)
    total, _ = lax.scan(of_band, total, (bands, first_rows(frame)))
    return join_parts(total, frame).astype(image.dtype)


def backward(
    image: Array,
    offsets: Array | None,
    base: Array,
    kernel: Array | None,
    dy: Array,
    sampling: Sampling,
    *,
    interpret: bool,
) -> tuple[Array, Array | None, Array, Array | None]:
    """The gradients of image, offsets, base and kernel, all float32, of that of the result, `dy`."""
    frame = make_frame(image, base, sampling, interpret)
    arguments = _Arguments(frame, offsets, base, kernel)
    dy = split_parts(dy.astype(image.dtype), frame)

    def of_band(total: tuple[Array, ...], band: tuple[Array, Array]) -> tuple[tuple[Array, ...], Array]:
        dpicture, *others = _backward_of_band(frame, arguments, *band, dy)
        return tuple(a + b for a, b in zip(total, others, strict=True)), dpicture

    bands = to_bands(image, frame)
    if frame.bands == 1:
        dpicture, *of_one = _backward_of_band(frame, arguments, bands[0], jnp.float32(0), dy)
        others, dbands = tuple(of_one), dpicture[None]
    else:
        gradients = jax.eval_shape(partial(_backward_of_band, frame, arguments), bands[0], jnp.float32(0), dy)
        zeros = tuple(jnp.zeros(gradient.shape, gradient.dtype) for gradient in gradients[1:])
        others, dbands = lax.scan(of_band, zeros, (bands, first_rows(frame)))
    dbase, *rest = others
    dbase = rearrange(dbase, "(k part) n tile xy p -> part n k tile xy p", k=sampling.sources).sum(0)
    doffsets, dkernel = rest or (None, None)
    if dkernel is not None:
        dkernel = dkernel[..., : frame.patch_rows * sampling.channels, :]
        dkernel = rearrange(
            dkernel, "(k part) slot tap (y c) o -> k y (tap part slot c) o", k=sampling.sources, c=sampling.channels
        ).sum(1)
    return from_bands(dbands, frame), doffsets, from_tiles(dbase, frame), dkernel


class _Arguments:
    """What every band is sampled with, as the kernels take it."""

    def __init__(self, frame: Frame, offsets: Array | None, base: Array, kernel: Array | None):
        self.offsets, self.base = offsets, to_tiles(base.astype(jnp.float32), frame)
        sampling, channels = frame.sampling, frame.sampling.channels
        if kernel is None:
            own = np.eye(frame.outputs).reshape(1, frame.outputs, sampling.at_once, 1, channels)
            kernel = jnp.asarray(np.tile(own, (sampling.parts, 1, 1, 1, 1)), frame.dtype)
            kernel = rearrange(kernel, "part o slot tap c -> part slot tap o c")
        else:
            kernel = rearrange(
                kernel.astype(frame.dtype), "k (tap part slot c) o -> (k part) slot tap o c",
                tap=TAPS, slot=sampling.at_once, c=channels,
            )  # fmt: skip
        # Repeated for every row of a patch.
        kernel = jnp.tile(kernel, (1, 1, 1, 1, frame.patch_rows))
        self.kernel = jnp.pad(kernel, ((0, 0),) * 4 + ((0, frame.patch_height - kernel.shape[-1]),))


def _forward_of_band(frame: Frame, arguments: _Arguments, picture: Array, first: Array) -> Array:
    """The results of all parts, [parts, n, h, w, o], float32, for one band of the pictures."""
    specs = _Specs(frame)
    images = len(picture)
    given = [] if arguments.offsets is None else [arguments.offsets]
    rows, columns = frame.tile
    across = frame.width // columns
    dtype = frame.dtype if frame.sampling.scale is None and frame.bands == 1 else jnp.dtype(jnp.float32)
    return pl.pallas_call(
        partial(forward_kernel, frame),
        grid=(frame.sampling.parts, images, frame.tiles),
        in_specs=[specs.picture, specs.base, specs.kernel(arguments.kernel), *(specs.offsets for _ in given)],
        out_specs=pl.BlockSpec(
            (1, 1, rows, columns, frame.outputs),
            lambda part, n, tile: (part, n, *_divided(tile, across), 0),
        ),
        out_shape=jax.ShapeDtypeStruct((frame.sampling.parts, images, frame.height, frame.width, frame.outputs), dtype),
        scratch_shapes=[*position_scratch(frame), pltpu.VMEM((frame.outputs, frame.pixels), jnp.float32)],
        compiler_params=_compiler_params(),
        interpret=frame.interpret,
        name="deformable_convolution",
        metadata=_cycles(frame, images, gradient=False),
    )(picture, arguments.base - _rows_of(first), arguments.kernel, *given)


def _backward_of_band(
    frame: Frame, arguments: _Arguments, picture: Array, first: Array, dy: Array
) -> tuple[Array, ...]:
    """The gradients of the band's pictures and of base; with offsets, of these and the kernel, too."""
    specs = _Specs(frame)
    images, parts = len(picture), frame.sampling.parts
    given = [] if arguments.offsets is None else [arguments.offsets]
    kernel_turned = arguments.kernel.swapaxes(3, 4)
    sources = len(dy)
    rows, columns = frame.tile
    across = frame.width // columns
    dy_spec = pl.BlockSpec(
        (1, 1, rows, columns, frame.outputs),
        lambda part, n, tile: (lax.div(part, np.int32(parts // sources)), n, *_divided(tile, across), 0),
    )
    dbase = jax.ShapeDtypeStruct((parts, images, frame.tiles, 2, frame.pixels), jnp.float32)
    dbase_spec = pl.BlockSpec((1, 1, 1, 2, frame.pixels), lambda part, n, tile: (part, n, tile, 0, 0))
    out_shape = [jax.ShapeDtypeStruct(picture.shape, jnp.float32), dbase]
    out_specs = [specs.picture, dbase_spec]
    if given:
        out_shape += [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in (given[0], kernel_turned)]
        out_specs += [specs.offsets, specs.kernel(kernel_turned)]
    return pl.pallas_call(
        partial(backward_kernel, frame),
        grid=(parts, images, frame.tiles),
        in_specs=[
            specs.picture, specs.base, specs.kernel(kernel_turned), dy_spec, *(specs.offsets for _ in given),
        ],
        out_specs=out_specs,
        out_shape=out_shape,
        scratch_shapes=[*position_scratch(frame), *position_scratch(frame)[:1]],
        compiler_params=_compiler_params(),
        interpret=frame.interpret,
        name="deformable_convolution_gradient",
        metadata=_cycles(frame, images, gradient=True),
    )(picture, arguments.base - _rows_of(first), kernel_turned, dy, *given)  # fmt: skip


class _Specs:
    """Blocks of the arguments that forward and backward have in common."""

    def __init__(self, frame: Frame):
        sampling = frame.sampling
        rows, columns = frame.tile
        across = frame.width // columns
        parts_of_source = np.int32(sampling.parts // sampling.sources)
        shape = (1, 1, sampling.at_once, frame.band_height, frame.padded_width)
        self.picture = pl.BlockSpec(shape, lambda part, n, tile: (n, part, 0, 0, 0))
        self.base = pl.BlockSpec(
            (1, 1, 1, 2, frame.pixels), lambda part, n, tile: (n, lax.div(part, parts_of_source), tile, 0, 0)
        )
        self.offsets = pl.BlockSpec((1, rows, columns, PART), lambda part, n, tile: (n, *_divided(tile, across), part))

    def kernel(self, kernel: Array) -> pl.BlockSpec:
        """All of a part's."""
        return pl.BlockSpec((1, *kernel.shape[1:]), lambda part, n, tile: (part, 0, 0, 0, 0))


def _divided(tile: Array, across: int) -> tuple[Array, Array]:
    return lax.div(tile, np.int32(across)), lax.rem(tile, np.int32(across))


def _cycles(frame: Frame, images: int, *, gradient: bool) -> dict[str, str]:
    sampling = frame.sampling
    tiles = sampling.parts * images * frame.tiles * frame.pixels / 256
    return in_metadata(cycles_of_sampling(tiles, sampling.at_once, sampling.taps, gradient=gradient))


def _rows_of(first: Array) -> Array:
    return jnp.stack([jnp.zeros_like(first), first]).reshape(1, 1, 1, 2, 1)


def _compiler_params() -> Any:
    return pltpu.CompilerParams(dimension_semantics=("arbitrary",) * 3, vmem_limit_bytes=_VMEM_BYTES)
