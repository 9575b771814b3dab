"""Window attention: self-attention and mutual attention within windows of a clip (docs/vrt.md, section 6).

A window is (frames, rows, columns) of tokens, in this order; arrays of windows are [b, nw, n, c], of nw windows of each
clip. Logits, softmax and positions are float32 at least.
"""

from dataclasses import replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Int, Num

from spikejax.kernels import window_attention as kernel
from spikejax.kernels.choice import Choice, Form, choose
from spikejax.kernels.window_layout import Heads, Projections
from spikejax.models.attend import attend
from spikejax.models.layers import Linear

Window = tuple[int, ...]  # frames, rows, columns


def shrink_window(size: Window, window: Window) -> tuple[Window, Window]:
    """The window for a clip of `size`, and how far it is shifted in every second block: half of it (integer division).

    An axis that is not larger than its window has one window and no shift.
    """
    fits = [length <= extent for length, extent in zip(size, window, strict=True)]
    shrunk = [length if fit else extent for length, extent, fit in zip(size, window, fits, strict=True)]
    shift = [0 if fit else extent // 2 for extent, fit in zip(window, fits, strict=True)]
    return (shrunk[0], shrunk[1], shrunk[2]), (shift[0], shift[1], shift[2])


def partition(x: Num[Array, "b t h w c"], window: Window) -> Num[Array, "b nw n c"]:
    """The windows of a clip whose sizes are multiples of the window's.

    Rows are outermost, so that they may be split over devices.
    """
    wt, wh, ww = window
    return rearrange(x, "b (t wt) (h wh) (w ww) c -> b (h t w) (wt wh ww) c", wt=wt, wh=wh, ww=ww)


def merge(windows: Float[Array, "b nw n c"], window: Window, size: Window) -> Float[Array, "b t h w c"]:
    """The clip of `size` (t, h, w) that `partition` cut into `windows`."""
    (wt, wh, ww), (t, h, w) = window, size
    return rearrange(
        windows, "b (h t w) (wt wh ww) c -> b (t wt) (h wh) (w ww) c",
        t=t // wt, h=h // wh, w=w // ww, wt=wt, wh=wh, ww=ww,
    )  # fmt: skip


def window_regions(size: Window, window: Window, shift: Window) -> Int[Array, "nw n"] | None:
    """The region, 0 to 7, of every token of the shifted windows of a clip; tokens attend within their region.

    Of an axis that is shifted, the last `shift` positions came from its other end. The published network cuts it at the
    last window's start as well; no window has tokens on both sides of that.

    Args:
        size: (t, h, w) after padding.
        window: extent of a window on each axis.
        shift: see `shrink_window`.

    Returns:
        The regions, None if nothing is shifted.
    """
    if not any(shift):
        return None
    region = np.zeros((1, 1, 1), np.int32)
    for axis, (length, step) in enumerate(zip(size, shift, strict=True)):
        came_round = np.arange(length) >= length - step if step else np.zeros(length, bool)
        region = 2 * region + np.expand_dims(came_round, [other for other in range(3) if other != axis])
    return partition(jnp.asarray(region[None, ..., None], jnp.int32), window)[0, ..., 0]


@lru_cache
def relative_position_index(window: Window) -> np.ndarray:
    """Row of the relative position table for (query, key), [n, n], of the configured window."""
    wt, wh, ww = window
    positions = np.stack(np.meshgrid(range(wt), range(wh), range(ww), indexing="ij"), axis=-1).reshape(-1, 3)
    distance = positions[:, None] - positions[None] + np.array(window) - 1
    return ((distance[..., 0] * (2 * wh - 1) + distance[..., 1]) * (2 * ww - 1) + distance[..., 2]).astype(np.int32)


def bias_by_shifts(table: Float[Array, "rows heads"], window: Window) -> Float[Array, "heads n n"]:
    """What `relative_position_index` takes out of the table, for each head, (query, key), without gathering.

    Nor does the gradient scatter: TPUs would take 3.3 ms for it in a window of 320 tokens.
    """
    x = table.T.reshape(-1, *(2 * extent - 1 for extent in window))  # heads, distances in frames, rows, columns
    for axis, extent in ((3, window[2]), (2, window[1]), (1, window[0])):
        x = _pairs_by_shifts(jnp.moveaxis(x, axis, -1), extent)
    return rearrange(x, "heads iw jw ih jh it jt -> heads (it ih iw) (jt jh jw)")


def _pairs_by_shifts(x: Float[Array, "*axes _distances"], extent: int) -> Float[Array, "*axes {extent} {extent}"]:
    """For (query, key) of one axis, what `x` has for the distance query - key, which it begins with 1 - extent."""
    distances = 2 * extent - 1
    again = jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], extent + 1, distances)).reshape(*x.shape[:-1], -1)
    # In rows that are one longer than the distances, each row begins one distance later: row i has at j that of i + j.
    rows = again[..., : 2 * extent * extent].reshape(*x.shape[:-1], extent, 2 * extent)
    return rows[..., extent - 1 :: -1]


@lru_cache
def sine_position_encoding(height: int, width: int, features: int) -> np.ndarray:
    """The encoding of one frame's window, float64 [height * width, features]: rows first, then columns."""
    half = features // 2
    frequency = 10000.0 ** (-2 * (np.arange(half) // 2) / half)
    parts = []
    for axis, length in enumerate((height, width)):
        angle = np.arange(1, length + 1) / (length + 1e-6) * 2 * np.pi
        angle = angle[:, None] * frequency
        encoding = np.where(np.arange(half) % 2 == 0, np.sin(angle), np.cos(angle))
        encoding = np.expand_dims(encoding, 1 - axis)
        parts.append(np.broadcast_to(encoding, (height, width, half)))
    return np.concatenate(parts, axis=-1).reshape(height * width, features)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def split_heads(projected: Float[Array, "b nw n qkv"], heads: int) -> tuple[Float[Array, "b nw heads n d"], ...]:
    """Queries, keys and values by heads, which lie side by side in `projected`; on CPUs, with a gradient of its own."""
    q, k, v = rearrange(projected, "b w n (three heads d) -> three b w heads n d", three=3, heads=heads)
    return q, k, v


def _split_and_save(projected: Array, heads: int) -> tuple[tuple[Array, ...], None]:
    return split_heads(projected, heads), None


def _join_heads(heads: int, saved: None, gradients: tuple[Array, ...]) -> tuple[Array]:
    def on_cpus(*parts: Array) -> Array:
        # Unpacking a stacked axis would make three arrays of the size of all, mostly zeros, and add them up.
        return jnp.concatenate([rearrange(x, "b w heads n d -> b w n (heads d)") for x in parts], axis=-1)

    def on_accelerators(*parts: Array) -> Array:
        return rearrange(jnp.stack(parts), "three b w heads n d -> b w n (three heads d)")

    return (lax.platform_dependent(*gradients, cpu=on_cpus, default=on_accelerators),)


split_heads.defvjp(_split_and_save, _join_heads)


class WindowAttention(nnx.Module):
    """Multi-head attention among the tokens of a window; with `mutual`, also between the two frames of a window."""

    def __init__(self, features: int, *, heads: int, window: Window, mutual: bool, rngs: nnx.Rngs):
        self.heads, self.window = heads, window
        self.qkv_self = Linear(features, 3 * features, axes=("embed", "heads"), rngs=rngs)
        self.qkv_mutual = Linear(features, 3 * features, axes=("embed", "heads"), rngs=rngs) if mutual else None
        self.projection = Linear(features * (2 if mutual else 1), features, axes=("heads", "embed"), rngs=rngs)
        rows = int(np.prod([2 * extent - 1 for extent in window]))
        self.relative_bias = nnx.Param(
            0.02 * jax.random.truncated_normal(rngs.params(), -2, 2, (rows, heads)), axes=("offsets", None)
        )

    def __call__(
        self,
        windows: Float[Array, "b nw n c"],
        window: Window,
        regions: Int[Array, "nw n"] | None,
    ) -> Float[Array, "b nw n c"]:
        """Attention within `windows`.

        Args:
            windows: the tokens.
            window: their extent, no larger than the configured one.
            regions: see `window_regions`.
        """
        tokens, features = windows.shape[2:]
        depth = features // self.heads
        choice = choose(
            lambda form: kernel.fits(form, dtype=windows.dtype, tokens=tokens, heads=self.heads, depth=depth)
        )
        if choice.form != "plain":
            return self._by_kernel(windows, window, regions, choice)
        q, k, v = self._heads(self.qkv_self, windows)
        attended = rearrange(attend(q, k, v, self._bias(tokens), regions), "b w heads n d -> b w n (heads d)")
        if self.qkv_mutual is not None:
            mutual = self._mutual(self.qkv_mutual, windows, window, regions)
            attended = jnp.concatenate([mutual, attended], axis=-1)
        return self.projection(attended)

    def _by_kernel(self, windows: Array, window: Window, regions: Array | None, choice: Choice) -> Array:
        """The same by kernels, for which no head is brought apart."""
        heads = self.heads_of(choice.form)

        def projected(layer: Linear, of: Heads) -> Array:
            x = windows + self._encoding(window, windows.dtype) if of.mutual else windows
            return layer.in_parts(x, 3, width=of.lanes)

        parts = self.attend_in(tuple(map(projected, self._projections(), heads)), regions, heads, choice)
        return self.projection.of_parts(parts, narrow=choice.form == "gpu", interpret=choice.interpret)

    def heads_of(self, form: Form, *, masked: bool = False) -> tuple[Heads, ...]:
        """How the heads lie for kernels: of attention to a window itself, and of mutual attention if there is any."""
        features = self.qkv_self.kernel.shape[0]
        own = Heads(self.heads, features // self.heads, kernel.lanes_of(form, features), masked=masked)
        return (own,) if self.qkv_mutual is None else (own, replace(own, mutual=True))

    def attend_in(
        self,
        qkv: tuple[Float[Array, "b nw n _lanes3"], ...],
        regions: Int[Array, "nw n"] | None,
        heads: tuple[Heads, ...],
        choice: Choice,
    ) -> tuple[Float[Array, "b nw n _lanes"], ...]:
        """What goes into the last projection, one behind the other, of `qkv` and `heads` in the order of `heads_of`."""
        tokens = qkv[0].shape[2]
        bias = bias_by_shifts(self.relative_bias[...], self.window)[:, :tokens, :tokens]
        parts = (
            kernel.window_attention(x, None if of.mutual else bias, regions, of, choice)
            for x, of in zip(qkv, heads, strict=True)
        )
        return tuple(parts)[::-1]

    def padded_projections(self, window: Window, heads: tuple[Heads, ...]) -> Projections:
        """For `spikejax.kernels.windows.into_windows`."""
        return tuple(
            (*layer.padded(3, of.lanes), self._encoding(window, jnp.float32)[0, 0] if of.mutual else None)
            for layer, of in zip(self._projections(), heads, strict=True)
        )

    def _projections(self) -> tuple[Linear, ...]:
        return (self.qkv_self,) if self.qkv_mutual is None else (self.qkv_self, self.qkv_mutual)

    def _heads(self, projection: Linear, x: Array) -> tuple[Array, Array, Array]:
        q, k, v = split_heads(projection(x), self.heads)
        return q * q.shape[-1] ** -0.5, k, v

    def _bias(self, tokens: int) -> Float[Array, "heads n n"]:
        # A shrunk window takes the first rows and columns of the whole one's index, as the published network does.
        index = relative_position_index(self.window)[:tokens, :tokens]
        return jnp.moveaxis(self.relative_bias[...][index], -1, 0)

    def _encoding(self, window: Window, dtype: DTypeLike) -> Float[Array, "1 1 n c"]:
        """The encoding of positions in one frame, for each of the window's two."""
        encoding = sine_position_encoding(*window[1:], self.qkv_self.kernel.shape[0])
        return jnp.asarray(np.tile(encoding, (2, 1)), dtype)[None, None]

    def _mutual(self, projection: Linear, windows: Array, window: Window, regions: Array | None) -> Array:
        """Each frame of the window is asked by the queries of the other one."""
        q, k, v = (
            rearrange(x, "b w heads (frame n) d -> b w frame heads n d", frame=2)
            for x in self._heads(projection, windows + self._encoding(window, windows.dtype))
        )
        q, k, v = (rearrange(x, "b w frame heads n d -> b (w frame) heads n d") for x in (q[:, :, ::-1], k, v))
        if regions is not None:  # those of the first frame serve both
            regions = jnp.repeat(regions[:, : regions.shape[1] // 2], 2, axis=0)
        attended = attend(q, k, v, None, regions)
        return rearrange(attended, "b (w frame) heads n d -> b w (frame n) (heads d)", frame=2)
