"""Attention of many windows: values by loops over tokens, gradients by differentiating the plain formula."""

import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from spikejax.models import attend as module
from spikejax.models.attend import attend
from tests.models import loops
from tests.models.parameters import normal


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def plain(q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None) -> Array:
    """The formula, all windows at once; XLA's own gradients."""
    logits = q @ k.mT
    if bias is not None:
        logits = logits + bias[None, None]
    if regions is not None:
        same = regions[:, None, :, None] == regions[:, None, None, :]
        logits = jnp.where(same[None], logits, logits - 100)
    return jax.nn.softmax(logits) @ v


def arguments(biased: bool, masked: bool) -> tuple[Array | None, ...]:
    """2 clips of 6 windows, 2 heads, 4 tokens: q, k, v, bias, regions."""
    q, k, v = (jnp.asarray(normal(2, 6, 2, 4, 3, seed=seed)) for seed in range(3))
    bias = jnp.asarray(normal(2, 4, 4, seed=3)) if biased else None
    regions = jnp.asarray(np.random.default_rng(4).integers(0, 2, (6, 4)), jnp.int32) if masked else None
    return q, k, v, bias, regions


def with_gradients(function: Callable[..., Array], *args: Array | None) -> tuple[Array, tuple]:
    """What `function` returns, and the gradients of all but the regions."""
    argnums = tuple(number for number in range(4) if args[number] is not None)

    def loss(*args: Array | None) -> tuple[Array, Array]:
        attended = function(*args)
        return jnp.sin(attended).sum(), attended

    gradients, attended = jax.jit(jax.grad(loss, argnums=argnums, has_aux=True))(*args)
    return attended, gradients


def assert_equal(ours: tuple, theirs: tuple) -> None:
    """Equal but for rounding in float64."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_every_token_sees_its_region_of_its_window() -> None:
    """Catches a mask of another window, an additive bias that is transposed, a softmax over the wrong axis."""
    q, k, v, bias, regions = args = arguments(True, True)
    assert bias is not None and regions is not None
    attended = jax.jit(attend)(*args)
    numbers = [np.asarray(x) for x in (q, k, v, bias, regions)]
    for clip, window, head, i in np.ndindex(2, 6, 2, 4):
        qs, ks, vs, biases, of_tokens = numbers
        at = clip, window, head
        logits = np.array([qs[at][i] @ ks[at][j] + biases[head, i, j] for j in range(4)])
        logits -= 100.0 * (of_tokens[window] != of_tokens[window, i])
        np.testing.assert_allclose(attended[at][i], loops.softmax(logits) @ vs[at], atol=1e-12)


@pytest.mark.parametrize("masked", (False, True))
@pytest.mark.parametrize("biased", (False, True))
def test_gradients_are_those_of_the_formula(biased: bool, masked: bool) -> None:
    """Catches a backward pass, written by hand, that forgets a term, a mask, or the sum of the bias over windows."""
    args = arguments(biased, masked)
    assert_equal(with_gradients(attend, *args), with_gradients(plain, *args))


@pytest.mark.parametrize("platform", ("cpu", "elsewhere"))
@pytest.mark.parametrize("given", (False, True))
@pytest.mark.parametrize("chunks", (5, 11))
def test_chunks_are_the_whole(monkeypatch: pytest.MonkeyPatch, platform: str, given: bool, chunks: int) -> None:
    """Catches chunks with another chunk's mask, in the wrong order, without gradients or with those of one chunk."""
    args = arguments(given, given)
    logits = 12 * 2 * 4 * 4
    for name in ("_LOGITS_OF_KERNEL", "_LOGITS_OF_CLIP", "_LOGITS_IN_CACHE"):
        # Five chunks do not divide the six windows of a clip: six are taken. Eleven are more than those, and do not
        # divide the twelve of both clips. Elsewhere, three of both clips' windows, or six.
        monkeypatch.setattr(module, name, logits // chunks)
    if platform == "elsewhere":
        monkeypatch.setattr(module.lax, "platform_dependent", lambda *args, cpu, default: default(*args))
    assert_equal(with_gradients(attend, *args), with_gradients(plain, *args))
    assert_equal((jax.jit(lambda *args: attend(*args))(*args),), (plain(*args),))


@pytest.mark.parametrize("given", (False, True))
@pytest.mark.parametrize(("limit", "blocks"), ((2, 2), (3, 2), (1, 4)))
def test_blocks_of_queries_are_the_whole(monkeypatch: pytest.MonkeyPatch, limit: int, blocks: int, given: bool) -> None:
    """Catches blocks with another block's bias, joined in another order, or of a size that does not divide."""
    monkeypatch.setattr(module, "_QUERIES_OF_KERNEL", limit)
    args = arguments(given, given)
    text = jax.jit(lambda *args: attend(*args)).lower(*args).as_text()
    assert f"12x2x{blocks}x{4 // blocks}x4xf64" in text
    assert_equal((jax.jit(lambda *args: attend(*args))(*args),), (plain(*args),))


@pytest.mark.parametrize("tokens", (64, 128, 384))
def test_logits_never_reach_the_memory_of_a_cpu(tokens: int) -> None:
    """Catches a second result or an axis of size 1, with which XLA makes several kernels of one, without a word."""
    windows, heads = 24, 6  # of few windows XLA makes several kernels, which small logits do not mind
    q = jax.ShapeDtypeStruct((1, windows, heads, tokens, 16), jnp.float32)
    bias = jax.ShapeDtypeStruct((heads, tokens, tokens), jnp.float32)
    compiled = jax.jit(lambda *args: attend(*args, None)).lower(q, q, q, bias).compile()
    # Keys and values are written for each of two blocks of 192 queries: a sixth of the logits of 384 tokens.
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * windows * heads * tokens**2 / 4


def test_logits_are_float32() -> None:
    """Catches logits in bfloat16, where 256 and 257 are the same number and attention could not tell them apart."""
    q = jnp.asarray([[[[[16, 1]] * 2]]], jnp.bfloat16)
    k = jnp.asarray([[[[[16, 0], [16, 1]]]]], jnp.bfloat16)
    v = jnp.asarray([[[[[0, 0], [1, 1]]]]], jnp.bfloat16)
    attended = jax.jit(attend)(q, k, v, None, None)
    assert attended.dtype == jnp.bfloat16
    # The weights are rounded to bfloat16 before the product with v, and the result is: 8 bits each.
    np.testing.assert_allclose(np.asarray(attended, np.float64), 1 / (1 + math.exp(-1)), rtol=2**-7)


def test_large_logits_do_not_overflow() -> None:
    """Catches an exponential of the logits themselves, and NaN in the gradient where the others' weights vanish."""
    q, k = (jnp.asarray([[[[[60.0, 0.0], [0.0, 60.0]]]]], jnp.float32) for _ in range(2))
    v = jnp.asarray([[[[[1.0, 2.0], [3.0, 4.0]]]]], jnp.float32)
    attended, gradients = with_gradients(attend, q, k, v, None, None)
    np.testing.assert_array_equal(attended, v)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
