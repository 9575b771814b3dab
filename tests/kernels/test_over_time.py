"""Attention over time by a kernel, interpreted here, against the layers that define it."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from spikejax.kernels.choice import Choice
from spikejax.models import temporal
from spikejax.models.rngs import make_rngs
from spikejax.models.temporal import SpikeTemporalSA, TemporalCrossAttnFuse
from spikejax.models.time_positions import TimePositions
from tests.kernels.comparison import times_chosen
from tests.models.parameters import build_random, normal


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The plain form is exact."""
    with jax.enable_x64(True):
        yield


def compare(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[nnx.Rngs], nnx.Module],
    shape: tuple[int, ...],
    *,
    clips: int,
    dtype: str = "float32",
) -> None:
    """Compares a layer by the kernel with the plain one, its gradients by all parameters included."""
    module = build_random(make, size=shape[-1] ** -0.5)
    inputs = [jnp.asarray(normal(*shape, seed=seed)) for seed in range(clips)]
    assert times_chosen(monkeypatch, temporal, module, *inputs, dtype=dtype)


def test_attention_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches heads or frames that mix, a norm, bias or residual that is left out, and a gradient of any of them."""
    compare(monkeypatch, lambda rngs: SpikeTemporalSA(16, heads=2, rngs=rngs), (1, 3, 2, 16, 16), clips=1)


@pytest.mark.slow
@pytest.mark.parametrize("residual", ("features", "normalized_query"))
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_fusion(residual: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches queries of the spikes, keys of the features, and another residual."""
    compare(
        monkeypatch, lambda rngs: TemporalCrossAttnFuse(96, heads=4, residual=residual, rngs=rngs), (2, 5, 3, 16, 96),
        clips=2, dtype=dtype,
    )  # fmt: skip


def test_what_is_told_of_time_is_plain() -> None:
    """Catches a bias or an encoding of time that the kernel would leave out."""
    x = jnp.zeros((1, 2, 4, 16, 16), jnp.float32)
    for kind in ("relative", "local", "sine"):
        layer = SpikeTemporalSA(16, heads=2, time=TimePositions(kind), rngs=make_rngs(0))
        asked = []

        def choose(fits: Any, asked: list[bool] = asked) -> Choice:
            asked.append(fits("tpu"))
            return Choice("plain")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(temporal, "choose", choose)
            nnx.eval_shape(layer, x)
        assert asked == [False]
