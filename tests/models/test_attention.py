"""Windows, their regions and the attention within them, against loops over tokens."""

import math
from collections.abc import Iterator
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.models.attend import MAX_REGIONS
from spikejax.models.attention import (
    Window,
    WindowAttention,
    merge,
    partition,
    relative_position_index,
    shrink_window,
    sine_position_encoding,
    window_regions,
)
from tests.models import loops
from tests.models.parameters import build_random, linear, normal, values


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def test_windows_shrink_to_the_clip() -> None:
    """Catches a shift on an axis that is one window: its tokens would be masked from each other."""
    assert shrink_window((6, 16, 16), (6, 8, 8)) == ((6, 8, 8), (0, 4, 4))
    assert shrink_window((5, 8, 4), (6, 8, 8)) == ((5, 8, 4), (0, 0, 0))
    assert shrink_window((7, 9, 17), (6, 7, 8)) == ((6, 7, 8), (3, 3, 4))
    assert shrink_window((7, 9, 17), (1, 8, 8)) == ((1, 8, 8), (0, 4, 4))


def test_windows_hold_frames_rows_and_columns_in_order() -> None:
    """Catches windows or tokens in another order, clips of a batch that are mixed, a merge that is not the way back."""
    clip = normal(2, 4, 6, 8, 3)
    window = (2, 3, 4)
    windows = partition(jnp.asarray(clip), window)
    assert windows.shape == (2, 2 * 2 * 2, 24, 3)
    for b, (number, (h, t, w)) in product(range(2), enumerate(np.ndindex(2, 2, 2))):
        for token, (dt, dh, dw) in enumerate(np.ndindex(2, 3, 4)):
            np.testing.assert_array_equal(windows[b, number, token], clip[b, 2 * t + dt, 3 * h + dh, 4 * w + dw])
    np.testing.assert_array_equal(merge(windows, window, (4, 6, 8)), clip)


@pytest.mark.parametrize("shift", ((1, 2, 2), (0, 2, 2), (2, 0, 1)))
def test_regions_are_where_the_shifted_axis_is_cut(shift: Window) -> None:
    """Catches a region that is cut at another place, an axis without a shift that is cut, a number out of range."""
    size, window = (4, 8, 12), (4, 4, 4)

    def of_axis(position: int, axis: int) -> int:
        if not shift[axis]:
            return 0
        return int(position >= size[axis] - window[axis]) + int(position >= size[axis] - shift[axis])

    regions = window_regions(size, window, shift)
    assert regions is not None and regions.shape == (6, 64)
    of_token = {}
    for number, (t, h, w) in enumerate(np.ndindex(1, 2, 3)):
        for token, inside in enumerate(np.ndindex(4, 4, 4)):
            position = [4 * n + d for n, d in zip((t, h, w), inside, strict=True)]
            of_token[number, token] = tuple(of_axis(p, axis) for axis, p in enumerate(position))
    # The numbers themselves are free: within a window equal ones for equal regions, and others for others.
    for number in range(6):
        pairs = {(of_token[number, token], int(regions[number, token])) for token in range(64)}
        assert len(pairs) == len({region for region, _ in pairs}) == len({number for _, number in pairs})
    assert 0 <= int(regions.min()) and int(regions.max()) < MAX_REGIONS


def test_without_a_shift_there_are_no_regions() -> None:
    """Catches a mask that costs time and masks nothing."""
    assert window_regions((4, 8, 8), (2, 4, 4), (0, 0, 0)) is None


def test_relative_positions_index_the_published_table() -> None:
    """Catches key minus query for query minus key, and rows of the table in another order."""
    wt, wh, ww = window = (2, 3, 4)
    index = relative_position_index(window)
    tokens = list(np.ndindex(*window))
    for (i, query), (j, key) in product(enumerate(tokens), repeat=2):
        dt, dh, dw = (a - b for a, b in zip(query, key, strict=True))
        assert index[i, j] == ((dt + wt - 1) * (2 * wh - 1) + (dh + wh - 1)) * (2 * ww - 1) + (dw + ww - 1)
    assert index.min() == 0 and index.max() == 3 * 5 * 7 - 1


def test_sine_encoding_is_its_formula() -> None:
    """Catches numbers from 0 instead of 1, sine and cosine swapped, columns before rows."""
    height, width, features = 3, 4, 12
    encoding = sine_position_encoding(height, width, features)
    half = features // 2
    for row, column, i in np.ndindex(height, width, half):
        period = 10000 ** (2 * (i // 2) / half)
        wave = math.cos if i % 2 else math.sin
        for first, number, size in ((0, row + 1, height), (half, column + 1, width)):
            expected = wave(number / (size + 1e-6) * 2 * math.pi / period)
            assert encoding[row * width + column, first + i] == pytest.approx(expected, abs=1e-12)


def attended_by_loops(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None, regions: np.ndarray | None
) -> np.ndarray:
    """One window: q, k and v are [heads, n, d], q scaled already; bias [heads, n, n]; regions [n]."""
    heads, tokens, width = q.shape
    result = np.zeros((tokens, heads * width))
    for head, i in np.ndindex(heads, tokens):
        logits = np.zeros(tokens)
        for j in range(tokens):
            logits[j] = q[head, i] @ k[head, j]
            if bias is not None:
                logits[j] += bias[head, i, j]
            if regions is not None and regions[i] != regions[j]:
                logits[j] -= 100
        result[i, head * width : (head + 1) * width] = loops.softmax(logits) @ v[head]
    return result


def heads_of(x: np.ndarray, layer: nnx.Module, heads: int) -> list[np.ndarray]:
    """q, k and v [heads, n, d] of one window [n, c], q scaled."""
    tokens, channels = x.shape
    q, k, v = (
        part.reshape(tokens, heads, channels // heads).transpose(1, 0, 2) for part in np.split(linear(layer, x), 3, -1)
    )
    return [q * (channels // heads) ** -0.5, k, v]


@pytest.mark.parametrize("mutual", (False, True))
@pytest.mark.parametrize(("configured", "window"), (((2, 2, 3), (2, 2, 3)), ((2, 3, 4), (2, 3, 2))))
def test_one_window_by_loops(configured: Window, window: Window, mutual: bool) -> None:
    """Catches frames that ask themselves, the wrong frame's regions, mutual after self, a shrunk window's own table."""
    heads, channels = 2, 8
    layer = build_random(
        lambda rngs: WindowAttention(channels, heads=heads, window=configured, mutual=mutual, rngs=rngs)
    )
    tokens = math.prod(window)
    half = tokens // 2
    x = normal(2, 3, tokens, channels)
    regions = np.random.default_rng(1).integers(0, 2, (3, tokens))
    answer = jax.jit(layer, static_argnums=1)(jnp.asarray(x), window, jnp.asarray(regions, jnp.int32))
    (table,) = values(layer.relative_bias)
    bias = np.moveaxis(table[relative_position_index(configured)[:tokens, :tokens]], -1, 0)
    encoding = sine_position_encoding(*window[1:], channels)
    for clip, number in np.ndindex(2, 3):
        window_tokens = x[clip, number]
        attended = attended_by_loops(*heads_of(window_tokens, layer.qkv_self, heads), bias, regions[number])
        if mutual:
            q, k, v = heads_of(window_tokens + np.concatenate([encoding, encoding]), layer.qkv_mutual, heads)
            first, second = slice(0, half), slice(half, None)
            of_first_frame = regions[number, :half]
            mutually = [
                attended_by_loops(q[:, asking], k[:, asked], v[:, asked], None, of_first_frame)
                for asked, asking in ((first, second), (second, first))
            ]
            attended = np.concatenate([np.concatenate(mutually), attended], axis=-1)
        np.testing.assert_allclose(answer[clip, number], linear(layer.projection, attended), atol=1e-12)
