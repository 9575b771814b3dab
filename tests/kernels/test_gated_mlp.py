"""The second half of a block by a kernel, interpreted here, against the layers that define it."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import Array

from spikejax.kernels.choice import Form
from spikejax.models import blocks
from spikejax.models.blocks import BlockOptions, TMSABlock
from tests.kernels.comparison import times_chosen
from tests.models.parameters import build_random, normal

FORMS: tuple[Form, ...] = ("tpu", "gpu")


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The plain form is exact."""
    with jax.enable_x64(True):
        yield


class SecondHalf(nnx.Module):
    """A block without its attention."""

    def __init__(self, features: int, ratio: float, *, drops: bool = False, rngs: nnx.Rngs):
        options = BlockOptions(heads=1, window=(2, 4, 4), mlp_ratio=ratio)
        self.block = TMSABlock(features, options, mutual=False, rngs=rngs)
        del self.block.norm1, self.block.attention
        self.drops = drops

    def __call__(self, x: Array) -> Array:
        """X and its MLP."""
        return self.block.add_mlp(x, jnp.float32(0.5), jax.random.key(1) if self.drops else None)


@pytest.mark.parametrize(
    ("shape", "ratio", "dtype"),
    [
        ((2, 2, 4, 16, 16), 2, "float32"),
        ((2, 5, 7, 48, 12), 4, "bfloat16"),
        ((1, 2, 4, 16, 96), 2, "bfloat16"),
        ((1, 1, 3, 32, 180), 2, "float32"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_any_shape(
    form: Form, shape: tuple[int, ...], ratio: float, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a norm, bias, gate or residual that is left out, and a gradient of any of them."""
    module = build_random(lambda rngs: SecondHalf(shape[-1], ratio, rngs=rngs), size=shape[-1] ** -0.5)
    assert (
        times_chosen(monkeypatch, blocks, module, jnp.asarray(normal(*shape)), dtype=dtype, form=form, forms=FORMS) == 1
    )


@pytest.mark.parametrize("form", FORMS)
def test_clips_that_are_dropped(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches clips that are scaled by another one's number, and a drop of single pixels."""
    module = build_random(lambda rngs: SecondHalf(16, 2, drops=True, rngs=rngs))
    assert (
        times_chosen(
            monkeypatch, blocks, module, jnp.asarray(normal(6, 1, 2, 16, 16)), dtype="float32", form=form, forms=FORMS
        )
        == 1
    )
