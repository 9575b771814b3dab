"""The first half of a block by kernels, interpreted here, against the layers that define it."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import Array

from spikejax.models import blocks
from spikejax.models.attention import Window
from spikejax.models.blocks import BlockOptions, TMSABlock
from tests.kernels.comparison import times_chosen
from tests.models.parameters import build_random, normal


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The plain form is exact."""
    with jax.enable_x64(True):
        yield


class FirstHalf(nnx.Module):
    """A block without its MLP."""

    def __init__(
        self, features: int, window: Window, *, mutual: bool, shifted: bool, drops: bool = False, rngs: nnx.Rngs
    ):
        self.block = TMSABlock(features, BlockOptions(heads=2, window=window), mutual=mutual, rngs=rngs)
        del self.block.norm2, self.block.mlp
        self.shifted, self.drops = shifted, drops

    def __call__(self, x: Array) -> Array:
        """X and its attention."""
        key = jax.random.key(1) if self.drops else None
        return self.block.add_attention(x, jnp.asarray(self.shifted), jnp.float32(0.5), key)


@pytest.mark.parametrize(
    ("window", "mutual", "shape", "shifted", "dtype"),
    [
        ((2, 8, 8), True, (1, 5, 16, 16, 16), True, "float32"),
        pytest.param((2, 8, 8), True, (1, 4, 16, 32, 16), False, "bfloat16", marks=pytest.mark.slow),
        pytest.param((6, 8, 8), False, (2, 3, 24, 32, 12), True, "float32", marks=pytest.mark.slow),
        pytest.param((1, 8, 8), False, (1, 2, 8, 16, 16), True, "float32", marks=pytest.mark.slow),
        pytest.param((2, 8, 8), False, (1, 3, 16, 16, 132), True, "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_any_window(
    window: Window,
    mutual: bool,
    shape: tuple[int, ...],
    shifted: bool,
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches tokens of another place, region or frame, parameters that are left out, and frames behind the clip."""
    module = build_random(
        lambda rngs: FirstHalf(shape[-1], window, mutual=mutual, shifted=shifted, rngs=rngs), size=shape[-1] ** -0.5
    )
    assert times_chosen(monkeypatch, blocks, module, jnp.asarray(normal(*shape)), dtype=dtype) == 1


@pytest.mark.slow
def test_clips_that_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches clips that are scaled by another one's number."""
    module = build_random(
        lambda rngs: FirstHalf(8, (1, 8, 8), mutual=False, shifted=True, drops=True, rngs=rngs), size=0.3
    )
    assert times_chosen(monkeypatch, blocks, module, jnp.asarray(normal(6, 1, 16, 16, 8)), dtype="float32") == 1
