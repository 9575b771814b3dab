"""The spike branch: where its features enter, and what does not fit."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.models.fusion import SpikeBranch, SpikeBranchConfig, SpikeFusion, encoder_scale
from spikejax.models.rngs import make_rngs
from spikejax.models.vrt import STAGE_SCALES, Fusion, VRTConfig
from tests.models.parameters import build_random, normal
from tests.models.quick import quick_build, quick_jit

VRT = VRTConfig(window=(2, 4, 4), depths=(1,) * 8, dims=(8,) * 8, heads=(2,) * 8, independent=(), deformable_groups=2)
CROSS = SpikeBranchConfig(bins=3, channels=(8,) * 4, heads=2)
CONCAT = replace(CROSS, fusion="concat")
FUSED = pytest.mark.parametrize(
    "config",
    (
        CROSS,
        replace(CROSS, time="relative"),
        replace(CROSS, fusion="early_cross_attention", time="local", time_reach=1),
        CONCAT,
        replace(CROSS, fusion="concat_over_time"),
    ),
    ids=lambda config: f"{config.fusion}_{config.time}",
)


def make_branch(config: SpikeBranchConfig) -> SpikeBranch:
    """A branch as it begins."""
    return quick_build(lambda: SpikeBranch(config, VRT, rngs=make_rngs(0)))


def clip_at(stage: int, *, seed: int) -> Array:
    """Features at a stage's resolution, of a clip of 2 frames of 16 x 24."""
    scale = STAGE_SCALES[stage - 1]
    return jnp.asarray(normal(1, 2, 16 // scale, 24 // scale, 8, seed=seed), jnp.float32)


def voxels() -> Array:
    """The clip's voxels."""
    return jnp.asarray(normal(1, 2, 16, 24, 3), jnp.float32)


@pytest.mark.slow
@FUSED
def test_a_fusion_that_begins_as_zero_changes_no_stage(config: SpikeBranchConfig) -> None:
    """Catches a network that begins as something else than its VRT: features come out bitwise as they went in."""
    config = replace(config, channels=(8,) * 7, fused_stages=(1, 2, 3, 4, 5, 6, 7), zero_init=True)
    branch = make_branch(config)
    clips = {stage: clip_at(stage, seed=stage) for stage in range(1, 8)}

    @quick_jit
    def fused(clips: dict[int, Array], voxels: Array) -> dict[int, tuple[Array, Array]]:
        fusion = branch(voxels)
        return {stage: (fusion.before_attention(stage, x), fusion.after_stage(stage, x)) for stage, x in clips.items()}

    for stage, answers in fused(clips, voxels()).items():
        for answer in answers:
            assert jnp.array_equal(answer, clips[stage])


def test_stages_meet_the_scale_of_their_resolution() -> None:
    """Catches stages 5 to 7 that meet the encoder's scales in the encoder's order."""
    assert [encoder_scale(stage) for stage in range(1, 8)] == [0, 1, 2, 3, 2, 1, 0]


@pytest.mark.slow
@FUSED
def test_every_stage_has_a_block_of_its_own(config: SpikeBranchConfig) -> None:
    """Catches a fusion at the wrong moment of a stage, another stage's block or spikes, and stages fused unasked."""
    config = replace(config, channels=(8,) * 5, fused_stages=(1, 2, 3, 4, 5))
    branch = build_random(lambda rngs: SpikeBranch(config, VRT, rngs=rngs))
    clips = {stage: clip_at(stage, seed=stage) for stage in range(1, 8)}

    @quick_jit
    def run(clips: dict[int, Array], voxels: Array) -> tuple:
        fusion = branch(voxels)
        assert isinstance(fusion, Fusion)
        encoded = branch.encoder(voxels)
        before = {stage: fusion.before_attention(stage, x) for stage, x in clips.items()}
        after = {stage: fusion.after_stage(stage, x) for stage, x in clips.items()}
        expected = {}
        for stage, x in clips.items():
            if stage > 5:
                expected[stage] = x
                continue
            spikes = encoded[(0, 1, 2, 3, 2)[stage - 1]]
            if branch.temporal_attention is not None:
                spikes = branch.temporal_attention[stage - 1](spikes)
            expected[stage] = branch.fuse_blocks[stage - 1](x, spikes)
        return before, after, expected

    before, after, expected = run(clips, voxels())
    untouched, fused = (before, after) if branch.kind.acts == "after_stage" else (after, before)
    for stage, x in clips.items():
        np.testing.assert_array_equal(untouched[stage], x)
        np.testing.assert_allclose(fused[stage], expected[stage], rtol=1e-5, atol=1e-5)
        assert (stage > 5) == bool(jnp.array_equal(fused[stage], x))


@pytest.mark.slow
@FUSED
def test_a_gradient_reaches_every_parameter(config: SpikeBranchConfig) -> None:
    """Catches a parameter of the branch that training would never change."""
    definition, parameters = nnx.split(build_random(lambda rngs: SpikeBranch(config, VRT, rngs=rngs)))

    def loss(parameters: nnx.State, clips: dict[int, Array], voxels: Array) -> Array:
        fusion = nnx.merge(definition, parameters)(voxels)
        fused = [fusion.after_stage(stage, fusion.before_attention(stage, x)) for stage, x in clips.items()]
        return sum(jnp.square(x).sum() for x in fused)

    clips = {stage: clip_at(stage, seed=stage) for stage in range(1, 5)}
    gradients = quick_jit(jax.grad(loss))(parameters, clips, voxels())
    dead = [jax.tree_util.keystr(path) for path, x in jax.tree.leaves_with_path(gradients) if not np.any(x)]
    assert not dead


@pytest.mark.slow
def test_channels_that_do_not_fit_are_refused() -> None:
    """Catches a branch that is built and fails at its first clip, or a message that does not say where."""
    with pytest.raises(ValueError, match=re.escape("scale 1/4 (stage 3): the spike branch has 12 channels, VRT has 8")):
        SpikeBranch(replace(CROSS, channels=(8, 8, 12, 8)), VRT, rngs=make_rngs(0))
    # Fits VRT, but stage 5 would meet 8 channels of the encoder with 12 of its own.
    vrt = replace(VRT, dims=(8, 8, 8, 8, 12, 8, 8, 8))
    config = replace(CROSS, channels=(8, 8, 8, 8, 12), fused_stages=(1, 2, 3, 4, 5))
    with pytest.raises(ValueError, match=re.escape("scale 1/4 (stage 5): the fusion expects 12 channels")):
        SpikeBranch(config, vrt, rngs=make_rngs(0))


@pytest.mark.slow
def test_spikes_of_another_size_are_refused() -> None:
    """Catches spike features that would be broadcast, or an error that does not name the scale and both sizes."""
    branch = nnx.eval_shape(lambda: SpikeBranch(CROSS, VRT, rngs=make_rngs(0)))
    fusion = SpikeFusion(branch, {2: jnp.zeros((1, 2, 8, 12, 8))})
    message = "scale 1/2 (stage 2): spike features are (1, 2, 8, 12, 8), VRT's (1, 2, 8, 10, 8)"
    with pytest.raises(ValueError, match=re.escape(message)):
        fusion.after_stage(2, jnp.zeros((1, 2, 8, 10, 8)))


@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"fused_stages": (1, 2)}, "spike.fused_stages must be 1 to 4, or on to 7 at most, not (1, 2)"),
        ({"fused_stages": (2, 3, 4, 5)}, "spike.fused_stages must be 1 to 4, or on to 7 at most, not (2, 3, 4, 5)"),
        ({"channels": (8, 8, 8)}, "spike.channels needs an entry for each of the stages (1, 2, 3, 4), not 3"),
    ),
)
def test_configurations_that_mean_nothing_are_refused(options: dict, message: str) -> None:
    """Catches a branch that would be built otherwise than its configuration says."""
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(CROSS, **options)
