"""The stages: their entries, the order of their parts, and what depth each of their blocks is dropped at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.models.alignment import WarpingOptions
from spikejax.models.attention import Window
from spikejax.models.blocks import BlockOptions
from spikejax.models.flows import ClipFlows
from spikejax.models.remat import Remat
from spikejax.models.rngs import make_rngs
from spikejax.models.stage import DOWN, SAME, UP, Reshape, ResidualGroup, Stage
from spikejax.models.vrt import VRT, VRTConfig
from tests.models import loops
from tests.models.parameters import build_random, linear, normal, values
from tests.models.quick import quick_jit


@pytest.mark.parametrize("resolution", (SAME, DOWN, UP))
def test_entries_unfold_column_before_row(resolution: str) -> None:
    """Catches pixels and channels exchanged in row-before-column order, or the norm applied before instead of after."""
    features_in, features = 8, 8 if resolution == SAME else 6
    x = normal(2, 3, 4, 6, features_in)
    with jax.enable_x64(True):
        entry = build_random(lambda rngs: Reshape(features_in, features, resolution, rngs=rngs))
        answer = np.asarray(jax.jit(entry)(jnp.asarray(x)))
    scale = {SAME: 1, DOWN: 0.5, UP: 2}[resolution]
    assert answer.shape == (2, 3, int(4 * scale), int(6 * scale), features)
    for b, t, row, column in np.ndindex(*answer.shape[:4]):
        if resolution == DOWN:
            pixels = [x[b, t, 2 * row + dy, 2 * column + dx] for dx in range(2) for dy in range(2)]
            channels = np.concatenate(pixels)
        elif resolution == UP:
            block = 2 * (column % 2) + row % 2
            channels = x[b, t, row // 2, column // 2, 2 * block : 2 * block + 2]
        else:
            channels = x[b, t, row, column]
        channels = loops.layer_norm(channels, *values(entry.norm.scale, entry.norm.bias))
        expected = channels if entry.linear is None else linear(entry.linear, channels)
        np.testing.assert_allclose(answer[b, t, row, column], expected, atol=1e-11)


def make_stage(
    *,
    window: Window = (2, 4, 4),
    warped: bool = True,
    drop_rates: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3),
    remat: Remat = "none",
) -> Stage:
    """A stage of half the resolution with random parameters."""
    blocks = BlockOptions(2, window, remat=remat)
    warping = WarpingOptions(sources=1, groups=2, scale=2) if warped else None
    return build_random(
        lambda rngs: Stage(
            4, 8, blocks, resolution=DOWN, mutual_ratio=0.75, warping=warping, drop_rates=drop_rates, rngs=rngs
        )
    )


@pytest.mark.slow
def test_a_stage_is_its_parts_in_turn() -> None:
    """Catches a missing residual, a fusion at the wrong place, alignment before the attention."""
    stage = make_stage()
    x = normal(1, 2, 8, 10, 4)
    flow = jnp.asarray(normal(1, 1, 4, 5, 2), jnp.float32)
    flows = ClipFlows((flow,), (-flow,))

    @jax.jit
    def both(x: Array) -> tuple[Array, Array]:
        answer = stage(x, flows, before_attention=lambda features: 2 * features + 1)
        y = 2 * stage.reshape(x) + 1
        y = y + stage.mutual_linear(stage.mutual_group(y))
        y = y + stage.self_linear(stage.self_group(y))
        return answer, stage.warping(y, flows)

    answer, expected = both(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_stage_that_is_computed_again_has_the_same_gradients() -> None:
    """Catches rematerialisation that leaves the alignment or its flows without a gradient."""
    x = jnp.asarray(normal(1, 2, 8, 10, 4), jnp.float32)
    flow = jnp.asarray(normal(1, 1, 4, 5, 2), jnp.float32)

    def gradients(remat: Remat) -> list[np.ndarray]:
        definition, parameters = nnx.split(make_stage(drop_rates=(0.0, 0.0), remat=remat))

        def loss(parameters: nnx.State, x: Array, flow: Array) -> Array:
            return jnp.square(nnx.merge(definition, parameters)(x, ClipFlows((flow,), (-flow,)))).mean()

        return jax.tree.leaves(quick_jit(jax.grad(loss, argnums=(0, 1, 2)))(parameters, x, flow))

    for again, kept in zip(gradients("everything"), gradients("none"), strict=True):
        # In float32 the sums are added up in another order.
        np.testing.assert_allclose(again, kept, rtol=1e-4, atol=1e-5)


def test_groups_of_a_stage() -> None:
    """Catches the division of a stage's blocks, their windows, and rates that go on from one group to the other."""
    stage = make_stage()
    assert (stage.mutual_group.depth, stage.self_group.depth) == (3, 1)
    # Both groups count from the stage's start.
    assert stage.mutual_group.drop_rates == (0.0, 0.1, 0.2)
    assert stage.self_group.drop_rates == (0.0,)
    assert stage.mutual_group.blocks.attention.window == (2, 4, 4)
    assert make_stage(window=(6, 4, 4)).self_group.blocks.attention.window == (6, 4, 4)
    assert stage.mutual_group.blocks.attention.qkv_mutual is not None
    assert stage.self_group.blocks.attention.qkv_mutual is None
    assert make_stage(warped=False).warping is None


@pytest.mark.slow
def test_rates_grow_over_the_whole_network() -> None:
    """Catches rates that begin anew in every stage, and windows of stage 8 that should be one frame."""
    config = VRTConfig(dims=(12,) * 11, heads=(2,) * 11, deformable_groups=2, drop_path=0.71)
    vrt = nnx.eval_shape(lambda: VRT(config, remat="blocks", rngs=make_rngs(0)))
    # 72 blocks: the rate of block number n is n / 100.
    rates = [stage.mutual_group.drop_rates for stage in vrt.stages]
    np.testing.assert_allclose(rates, 0.01 * (8 * np.arange(7)[:, None] + np.arange(6)))
    rates = [stage.self_group.drop_rates for stage in vrt.stages]
    np.testing.assert_allclose(rates, 0.01 * (8 * np.arange(7)[:, None] + np.arange(2)))
    rates = [residual.group.drop_rates for residual in vrt.reconstruction_groups]
    np.testing.assert_allclose(rates, 0.01 * (56 + 4 * np.arange(4)[:, None] + np.arange(4)))
    windows = [residual.group.blocks.window for residual in vrt.reconstruction_groups]
    assert windows == [(6, 8, 8), (6, 8, 8), (1, 8, 8), (1, 8, 8)]
    groups = [group for stage in vrt.stages for group in (stage.mutual_group, stage.self_group)]
    groups += [residual.group for residual in vrt.reconstruction_groups]
    assert {group.remat for group in groups} == {"blocks"}


def test_a_residual_group_adds_to_its_input() -> None:
    """Catches the residual around the linear layer alone, or none."""
    options = BlockOptions(2, (1, 4, 4))
    residual = build_random(lambda rngs: ResidualGroup(4, options, drop_rates=(0.0, 0.0), rngs=rngs))
    x = jnp.asarray(normal(1, 2, 4, 6, 4), jnp.float32)
    answer, expected = jax.jit(lambda x: (residual(x), x + residual.linear(residual.group(x))))(x)
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)
