"""Window attention by kernels, interpreted here, against the attention that all of it is defined by."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.kernels import window_attention as kernel
from spikejax.kernels.choice import Choice, Form
from spikejax.models import attention
from spikejax.models.attention import Window, WindowAttention, bias_by_shifts, relative_position_index
from spikejax.planning.compilers import quiet
from spikejax.planning.topology import open_topology
from tests.kernels.comparison import assert_close, cast, with_gradients
from tests.models.parameters import build_random, normal

FORMS = ("tpu", "gpu")


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The plain form is exact."""
    with jax.enable_x64(True):
        yield


def compare(
    monkeypatch: pytest.MonkeyPatch,
    form: Form,
    *,
    features: int,
    heads: int,
    window: Window,
    within: Window | None = None,
    mutual: bool,
    regions: Array | None,
    windows: int,
    clips: int = 1,
    dtype: str = "float32",
) -> None:
    """Compares a layer of attention by kernels with the plain one, its gradients by all parameters included."""
    # Queries and keys of variance 1: with much larger logits, bfloat16 would be as wrong in the plain form.
    module = build_random(
        lambda rngs: WindowAttention(features, heads=heads, window=window, mutual=mutual, rngs=rngs),
        size=features**-0.5,
    )
    definition, parameters = nnx.split(module)
    within = within or window
    x = jnp.asarray(normal(clips, windows, int(np.prod(within)), features))

    def attended(parameters: Any, x: Array) -> Array:
        return nnx.merge(definition, parameters)(x, within, regions)

    plain = with_gradients(attended, cast(parameters, "float64"), x)
    used = []

    def choose(fits: Any) -> Choice:
        assert fits(form)
        used.append(form)
        return Choice(form, interpret=True)

    monkeypatch.setattr(attention, "choose", choose)
    assert_close(with_gradients(attended, cast(parameters, "float32"), x.astype(dtype)), plain, dtype)
    assert used


def random_regions(windows: int, tokens: int, numbers: int, *, seed: int = 3) -> Array:
    """Regions 0 to `numbers` - 1 of every token."""
    return jnp.asarray(np.random.default_rng(seed).integers(0, numbers, (windows, tokens)), jnp.int32)


@pytest.mark.parametrize("form", FORMS)
def test_attention_and_its_gradients(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a head that sees another's columns, a mask, bias or scale that is lost, frames that are not exchanged."""
    compare(
        monkeypatch, form, features=20, heads=2, window=(2, 4, 4), mutual=True,
        regions=random_regions(2, 32, 4), windows=2,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("features", "heads", "window", "mutual", "windows"),
    [
        (96, 6, (2, 8, 8), True, 2),
        (120, 6, (2, 8, 8), True, 2),
        (96, 6, (5, 8, 8), False, 1),
        (120, 6, (1, 8, 8), False, 3),
        (180, 6, (3, 8, 8), False, 1),
    ],
)
def test_windows_of_the_networks(
    dtype: str, form: Form, features: int, heads: int, window: Window, mutual: bool, windows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Catches masks that do not fit behind the heads, heads of 20 or 30 features, sums rounded to bfloat16."""
    regions = random_regions(windows, int(np.prod(window)), 4 if mutual else 8)
    compare(
        monkeypatch, form, features=features, heads=heads, window=window, mutual=mutual, regions=regions,
        windows=windows, dtype=dtype,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(6))
def test_windows_of_any_shape(form: Form, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches what holds for round numbers alone: odd heads and depths, shrunk windows, one clip or two, no regions."""
    random = np.random.default_rng(seed)
    heads = int(random.integers(1, 6))
    depth = int(random.choice([4, 8, 12, 20]))
    mutual = bool(random.integers(2))
    window = (2 if mutual else int(random.integers(2, 5)), 4, int(random.choice([4, 8])))
    within = window if mutual else (2, 4, window[2])
    windows = int(random.integers(1, 4))
    regions = random_regions(windows, int(np.prod(within)), 4, seed=seed) if random.integers(2) else None
    compare(
        monkeypatch, form, features=heads * depth, heads=heads, window=window, within=within, mutual=mutual,
        regions=regions, windows=windows, clips=int(random.integers(1, 3)),
    )  # fmt: skip


def test_full_and_empty_masks() -> None:
    """Catches tokens of one region that are masked from each other, and tokens of eight regions that are not."""
    heads = kernel.Heads(1, 8, kernel.lanes_of("tpu", 8))
    qkv = np.zeros((1, 2, 32, 3, heads.lanes), np.float32)
    qkv[..., :8] = normal(1, 2, 32, 3, 8)
    alone = np.arange(32)[None] % 8
    regions = jnp.asarray(np.concatenate([np.zeros((1, 32)), alone]), jnp.int32)
    arguments = jnp.asarray(qkv.reshape(1, 2, 32, -1)), None
    choice = Choice("tpu", interpret=True)
    masked = kernel.window_attention(*arguments, regions, heads, choice)
    free = kernel.window_attention(*arguments, None, heads, choice)
    np.testing.assert_allclose(masked[0, 0], free[0, 0], atol=1e-6)
    # Of a token's region are those 8, 16 and 24 tokens away; what is left of all others is exp(-100).
    q, k, v = np.moveaxis(qkv[0, 1, :, :, :8].astype(np.float64), 1, 0)
    same = alone.T == alone
    logits = np.where(same, q @ k.T * 8**-0.5, -np.inf)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(masked[0, 1, :, :8], weights @ v / weights.sum(1, keepdims=True), atol=2e-6)


@pytest.mark.parametrize("window", ((2, 3, 4), (5, 8, 8), (1, 8, 8), (1, 1, 2)))
def test_bias_by_shifts_is_that_by_index(window: Window) -> None:
    """Catches distances that are turned round or of another axis, and a gradient that is not their sum."""
    table = jnp.asarray(normal(int(np.prod([2 * extent - 1 for extent in window])), 3))

    def by_index(table: Array) -> Array:
        return jnp.moveaxis(table[relative_position_index(window)], -1, 0)

    plain = with_gradients(by_index, table)
    ours = with_gradients(lambda table: bias_by_shifts(table, window), table)
    np.testing.assert_array_equal(ours[0], plain[0])
    np.testing.assert_allclose(ours[1][0], plain[1][0], atol=1e-12)


@pytest.mark.parametrize(
    ("form", "topology"),
    [
        pytest.param("tpu", "v5e:1x1", marks=pytest.mark.needs("plan-tpu")),
        pytest.param("gpu", "h100:1", marks=pytest.mark.needs("plan-gpu")),
    ],
)
@pytest.mark.parametrize(
    ("heads", "depth", "tokens", "mutual"),
    [(6, 16, 320, False), (6, 16, 128, True), (6, 20, 192, False), (6, 20, 64, False), (6, 30, 512, False)],
)
def test_kernels_compile(form: Form, topology: str, heads: int, depth: int, tokens: int, mutual: bool) -> None:
    """Catches what the interpreter lets pass: blocks, slices and types that no such chip has."""
    layout = kernel.Heads(heads, depth, kernel.lanes_of(form, heads * depth), mutual)

    def forward_and_backward(qkv: Array, bias: Array | None, regions: Array, dy: Array) -> tuple:
        attended, pull = jax.vjp(
            lambda qkv, bias: kernel.window_attention(qkv, bias, regions, layout, Choice(form)), qkv, bias
        )
        return attended, pull(dy)

    with jax.enable_x64(False), quiet():
        place = jax.sharding.SingleDeviceSharding(open_topology(topology).devices[0])

        def array(*shape: int, dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

        bias = None if mutual else array(heads, tokens, tokens, dtype=jnp.float32)
        arguments = array(1, 16, tokens, 3 * layout.lanes), bias, array(16, tokens, dtype=jnp.int32)
        compiled = jax.jit(forward_and_backward).lower(*arguments, array(1, 16, tokens, layout.lanes)).compile()
    assert compiled.as_text().count("custom-call") >= 2
