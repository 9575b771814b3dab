"""Parallel warping against loops over pixels, taps, groups and frames."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spikejax.models.alignment import DeformableAlignment, ParallelWarping, WarpingOptions
from spikejax.models.flows import ClipFlows
from spikejax.models.rngs import make_rngs
from tests.models import loops
from tests.models.parameters import build_random, normal, values


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def make(features: int = 4, *, sources: int, groups: int, scale: int = 2) -> DeformableAlignment:
    """An alignment with random numbers in all its parameters."""
    return build_random(lambda rngs: DeformableAlignment(features, WarpingOptions(sources, groups, scale), rngs=rngs))


def aligned_by_loops(
    alignment: DeformableAlignment, sources: np.ndarray, target: np.ndarray, flows: np.ndarray
) -> np.ndarray:
    """What the module computes, one step of the paper after the other."""
    count, k, height, width, _ = sources.shape
    groups = alignment.groups
    features = np.concatenate(
        [
            *(loops.warp(sources[:, source], flows[:, source]) for source in range(k)),
            target,
            *(flows[:, source] for source in range(k)),
        ],
        axis=-1,
    )
    for layer in alignment.offset_convolutions:
        features = loops.convolution(features, *values(layer.kernel, layer.bias))
        features = np.where(features > 0, features, 0.1 * features)
    features = loops.convolution(
        features, *values(alignment.offset_projection.kernel, alignment.offset_projection.bias)
    )
    position = np.zeros((count, height, width, 9, groups, 2))
    mask = np.zeros((count, height, width, 9, groups))
    for n, row, column, tap, group in np.ndindex(count, height, width, 9, groups):
        channels = features[n, row, column]
        dy, dx = 10 / alignment.scale * np.tanh(channels[2 * (9 * group + tap) :][:2])
        flow = flows[n, group // (groups // k), row, column]
        position[n, row, column, tap, group] = (
            column + tap % 3 - 1 + dx + flow[0],
            row + tap // 3 - 1 + dy + flow[1],
        )
        mask[n, row, column, tap, group] = 1 / (1 + np.exp(-channels[18 * groups + 9 * group + tap]))
    return loops.deformable_convolution(sources, position, mask, *values(alignment.kernel, alignment.bias))


@pytest.mark.parametrize(("sources", "groups"), ((1, 1), (1, 2), (2, 2), (2, 4), (3, 3)))
def test_deformable_sampling_is_a_sum_over_taps_and_groups(sources: int, groups: int) -> None:
    """Catches channels of the wrong group, outputs of the wrong source, a transposed kernel, no zeros outside."""
    channels = 12
    alignment = make(channels, sources=sources, groups=groups)
    images = normal(2, sources, 3, 4, channels)
    position = np.random.default_rng(1).uniform(-1.5, 4.5, (2, 3, 4, 9, groups, 2))
    mask = np.random.default_rng(2).uniform(size=(2, 3, 4, 9, groups))
    (merged,) = jax.jit(alignment._sample)(*(jnp.asarray(x[np.newaxis]) for x in (images, position, mask)))
    expected = loops.deformable_convolution(images, position, mask, *values(alignment.kernel, alignment.bias))
    np.testing.assert_allclose(merged, expected, atol=1e-12)


@pytest.mark.parametrize(("sources", "groups"), ((1, 2), (2, 4)))
def test_alignment_is_its_formula(sources: int, groups: int) -> None:
    """Catches (dx, dy) for (dy, dx), another source's flow, offsets and masks in another order, a wrong reach."""
    alignment = make(4, sources=sources, groups=groups)
    images, target, flows = normal(1, sources, 4, 5, 4), normal(1, 4, 5, 4, seed=1), normal(1, sources, 4, 5, 2, seed=2)
    (merged,) = jax.jit(alignment)(*(jnp.asarray(x[np.newaxis]) for x in (images, target, flows)))
    np.testing.assert_allclose(merged, aligned_by_loops(alignment, images, target, flows), atol=1e-11)


@pytest.mark.slow
def test_alignment_begins_at_the_flow() -> None:
    """Catches random offsets at the start: an integer flow must give the shifted source, half of it by the mask."""
    alignment = DeformableAlignment(4, WarpingOptions(sources=1, groups=2, scale=1), rngs=make_rngs(0))
    alignment.kernel[...] = jnp.zeros((3, 3, 4, 4), jnp.float32).at[1, 1].set(jnp.eye(4, dtype=jnp.float32))
    source, target = normal(1, 1, 5, 6, 4), normal(1, 5, 6, 4, seed=1)
    flow = np.broadcast_to([1.0, -2.0], (1, 1, 5, 6, 2))
    (aligned,) = jax.jit(alignment)(*(jnp.asarray(x[np.newaxis]) for x in (source, target, flow)))
    shifted = np.zeros((1, 5, 6, 4))
    shifted[:, 2:, :-1] = source[:, 0, :-2, 1:]
    np.testing.assert_allclose(aligned, shifted / 2, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("sources", "frames"), ((1, 2), (1, 4), (2, 4), (2, 2)))
def test_every_target_is_aligned_by_itself(sources: int, frames: int) -> None:
    """Catches another frame's source or flow, ends of the clip that are not zero, a clip shorter than the reach."""
    warping = build_random(lambda rngs: ParallelWarping(4, WarpingOptions(sources, 2, 1), rngs=rngs))
    x = normal(2, frames, 3, 4, 4)
    backward, forward = (
        tuple(normal(2, frames - span, 3, 4, 2, seed=seed + span) for span in range(1, min(sources, frames - 1) + 1))
        for seed in (10, 20)
    )
    align = jax.jit(warping.alignment)

    def aligned(target: int, direction: int) -> np.ndarray:
        """The neighbours of one frame, nearest first, on one side."""
        images, flows = [], []
        for span in range(1, sources + 1):
            source = target + direction * span
            if 0 <= source < frames:
                images.append(x[:, source])
                flows.append(backward[span - 1][:, target] if direction > 0 else forward[span - 1][:, source])
            elif span == 1:
                return np.zeros((2, 3, 4, 4))
            else:
                images.append(np.zeros((2, 3, 4, 4)))
                flows.append(np.zeros((2, 3, 4, 2)))
        stacked = [jnp.asarray(np.stack(arrays, axis=1)) for arrays in (images, flows)]
        # Of one target of each clip.
        one = (stacked[0][:, None], jnp.asarray(x[:, target])[:, None], stacked[1][:, None])
        return np.asarray(align(*one))[:, 0]

    joined = [np.concatenate([x[:, t], aligned(t, 1), aligned(t, -1)], axis=-1) for t in range(frames)]
    expected = jax.jit(warping.fuse)(jnp.asarray(np.stack(joined, axis=1)))
    flows = ClipFlows(tuple(map(jnp.asarray, backward)), tuple(map(jnp.asarray, forward)))
    np.testing.assert_allclose(jax.jit(warping)(jnp.asarray(x), flows), expected, atol=1e-12)


@pytest.mark.parametrize(("sources", "groups"), ((2, 3), (1, 3)))
def test_groups_that_do_not_fit_are_refused(sources: int, groups: int) -> None:
    """Catches groups that would split a source's flow or its channels unevenly, with no word."""
    with pytest.raises(ValueError, match=f"deformable_groups = {groups} must be a multiple of the {sources} sources"):
        DeformableAlignment(4, WarpingOptions(sources, groups, 1), rngs=make_rngs(0))
