"""VRT's body: who gets what from whom. Its parts have tests of their own, the goldens compare the whole."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.models.flows import ClipFlows
from spikejax.models.heads import InterpolationHead, PictureHead, UpscalingHead
from spikejax.models.rngs import make_rngs
from spikejax.models.stage import DOWN, SAME, UP
from spikejax.models.vrt import VRT, VRTConfig, _make_head, _neighbour_pictures
from tests.models import loops
from tests.models.parameters import normal

TINY = VRTConfig(window=(2, 2, 2), depths=(1,) * 8, dims=(8,) * 8, heads=(2,) * 8, independent=(), deformable_groups=2)
RESOLUTIONS = (SAME, DOWN, DOWN, DOWN, UP, UP, UP)
FACTORS = (2, 3, 5, 7, 11, 13, 17)


class KnownStage(nnx.Module):
    """Multiplies by a number of its own, at its own resolution, and writes down which flows it was given."""

    def __init__(self, number: int, given: list[tuple[int, Any]]):
        self.number, self.given = number, nnx.static(given)

    def __call__(self, x: Array, flows: Any, *, before_attention: Any, key: Any) -> Array:
        """The stage's features."""
        self.given.append((self.number, flows))
        if before_attention is not None:
            x = before_attention(x)
        resolution = RESOLUTIONS[self.number - 1]
        if resolution == DOWN:
            x = x[:, :, ::2, ::2]
        elif resolution == UP:
            x = x.repeat(2, axis=2).repeat(2, axis=3)
        return FACTORS[self.number - 1] * x


class Same(nnx.Module):
    """Gives back what it is given."""

    def __call__(self, x: Array, *, key: Any = None) -> Array:
        """`x`."""
        return x


class KnownFusion:
    """Adds a number of the stage's own, another one before its attention than after it."""

    def before_attention(self, stage: int, x: Array) -> Array:
        """See `spikejax.models.vrt.Fusion`."""
        return x + stage

    def after_stage(self, stage: int, x: Array) -> Array:
        """See `spikejax.models.vrt.Fusion`."""
        return x + 100 * stage


@pytest.fixture(scope="module")
def abstract() -> VRT:
    """A VRT, as shapes alone."""
    return nnx.eval_shape(lambda: VRT(TINY, rngs=make_rngs(0)))


def known_body(vrt: VRT) -> list[tuple[int, Any]]:
    """Puts known parts into the body of a VRT; what its stages will be given."""
    given: list[tuple[int, Any]] = []
    vrt.stages = nnx.List(KnownStage(number, given) for number in range(1, 8))
    vrt.reconstruction_groups = nnx.List([Same()])
    for name in ("reconstruction_norm", "reconstruction_linear", "norm", "linear_after_body"):
        setattr(vrt, name, Same())
    return given


@pytest.mark.parametrize("fused", (False, True))
def test_stages_are_a_u_with_skips(abstract: VRT, fused: bool) -> None:
    """Catches a skip from another stage, one that is added after instead of before, flows of another scale."""
    given = known_body(abstract)
    flows = tuple(ClipFlows((jnp.zeros((1, 1, side, side, 2)),), ()) for side in (16, 8, 4, 2))
    answer = abstract._features(jnp.ones((1, 2, 16, 16, 1)), flows, KnownFusion() if fused else None, None)

    def stage(number: int, x: float) -> float:
        if fused:
            return FACTORS[number - 1] * (x + number) + 100 * number
        return FACTORS[number - 1] * x

    x1 = stage(1, 1)
    x2 = stage(2, x1)
    x3 = stage(3, x2)
    x4 = stage(4, x3)
    y = stage(7, stage(6, stage(5, x4) + x3) + x2) + x1
    np.testing.assert_allclose(answer, np.full((1, 2, 16, 16, 1), 1 + y), rtol=1e-6)
    assert [number for number, _ in given] == list(range(1, 8))
    assert [flows.backward[0].shape[2] for _, flows in given] == [16, 8, 4, 2, 4, 8, 16]


def test_neighbour_pictures_stand_at_their_target() -> None:
    """Catches later and earlier exchanged, flows of the other direction, an end of the clip that is not black."""
    picture, backward, forward = normal(2, 3, 4, 5, 3), normal(2, 2, 4, 5, 2, seed=1), normal(2, 2, 4, 5, 2, seed=2)
    with jax.enable_x64(True):
        flows = ClipFlows((jnp.asarray(backward),), (jnp.asarray(forward),))
        later, earlier = jax.jit(_neighbour_pictures)(jnp.asarray(picture), flows)
    for t in range(3):
        after = loops.nearest4(picture[:, t + 1], backward[:, t]) if t < 2 else np.zeros((2, 4, 5, 12))
        before = loops.nearest4(picture[:, t - 1], forward[:, t - 1]) if t > 0 else np.zeros((2, 4, 5, 12))
        np.testing.assert_allclose(later[:, t], after, atol=1e-12)
        np.testing.assert_allclose(earlier[:, t], before, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "head"),
    [
        ({}, PictureHead),
        ({"noise_map": True}, PictureHead),
        ({"upscale": 4}, UpscalingHead),
        ({"warp_frames": 0}, InterpolationHead),
    ],
)
def test_the_task_decides_what_comes_out(changes: dict[str, Any], head: type) -> None:
    """Catches another task's head."""
    config = replace(TINY, **changes)
    assert isinstance(nnx.eval_shape(lambda: _make_head(config, make_rngs(0))), head)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": (8, 8)}, r"window must be \(frames, rows, columns\), not \(8, 8\)"),
        ({"depths": (1,) * 9}, "there are 9, 8 and 8"),
        ({"depths": (1,) * 7, "dims": (8,) * 7, "heads": (2,) * 7}, "at least one more for stage 8"),
        ({"warp_frames": 8}, "warp_frames must be 0, 2, 4 or 6, not 8"),
        ({"depths": (10**9,) * 8}, "depths must be at most 1000 blocks each, not 1000000000"),
        ({"dims": (8,) * 7 + (10,)}, "dims of stage 8, 10, must be a multiple of 4 and of its 2 heads"),
        ({"output_channels": 1}, "output_channels must be input_channels, 3, not 1"),
    ],
)
def test_networks_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    """Catches a configuration that fails at its first clip, or with a message of einops."""
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
