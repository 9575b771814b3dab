"""Random keys."""

import jax
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.models.layers import Linear
from spikejax.models.rngs import make_rngs
from spikejax.models.scan import stack_blocks


def bits(key: Array) -> np.ndarray:
    """The numbers of a key."""
    return np.asarray(jax.random.key_data(key))


@pytest.mark.parametrize("seed", [0, 123, jax.random.key(5)], ids=str)
def test_the_keys_are_those_of_flax(seed: int | Array) -> None:
    """Catches networks that begin otherwise than those of earlier releases did, and keys that come twice."""
    ours, flax = make_rngs(seed), nnx.Rngs(seed)
    drawn = [bits(key) for key in (ours.params(), ours.dropout(), ours(), *ours.split(2).params.key[...])]
    expected = [bits(key) for key in (flax.params(), flax.dropout(), flax(), *flax.split(2).params.key[...])]
    np.testing.assert_array_equal(drawn, expected)
    assert len({key.tobytes() for key in drawn}) == 5


def test_stacked_blocks_begin_as_with_flax() -> None:
    """Catches blocks that begin as others than those of `nnx.vmap` over split keys, or all alike."""

    def make(rngs: nnx.Rngs) -> Linear:
        return Linear(3, 4, rngs=rngs)

    stacked = stack_blocks(3, make, rngs=make_rngs(7)).kernel[...]
    np.testing.assert_array_equal(stacked, nnx.vmap(make)(nnx.Rngs(7).split(3)).kernel[...])
    assert not np.array_equal(stacked[0], stacked[1])


def test_no_tracer_is_asked_for_its_sharding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches counts that are traced: each costs a walk through all that was traced before it."""
    asked = []

    def make() -> Linear:
        rngs = make_rngs(0)
        (owner,) = (kind for kind in type(rngs.params()).__mro__ if "sharding" in vars(kind) and kind is not jax.Array)
        monkeypatch.setattr(owner, "sharding", property(lambda self: asked.append(self)))
        return stack_blocks(2, lambda rngs: Linear(3, 4, rngs=rngs), rngs=rngs)

    nnx.eval_shape(make)
    assert asked == []
