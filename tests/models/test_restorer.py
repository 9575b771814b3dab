"""The restorer: VRT with and without spikes, clips of any size, reduced precision, what it refuses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.errors import InputError
from spikejax.models.fusion import SpikeBranchConfig
from spikejax.models.restorer import Restorer, build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.vrt import VRTConfig
from tests.models.parameters import build_random
from tests.models.quick import quick_build, quick_jit

pytestmark = pytest.mark.slow

VRT = VRTConfig(
    window=(2, 2, 2), depths=(1,) * 8, dims=(8,) * 8, heads=(2,) * 8, independent=(), deformable_groups=2,
    mutual_ratio=1.0,
)  # fmt: skip
SPIKES = SpikeBranchConfig(bins=3, channels=(8,) * 4, heads=2)


def clip(frames: int = 2, height: int = 16, width: int = 16, channels: int = 3, seed: int = 0) -> Array:
    """A smooth random clip in [0, 1]; voxels have other numbers of channels."""
    coarse = np.random.default_rng(seed).random((1, frames, 5, 5, channels), np.float32)
    return jax.image.resize(jnp.asarray(coarse), (1, frames, height, width, channels), "linear")


def restore(model: Restorer, *inputs: Array) -> np.ndarray:
    """The restored clip, compiled."""
    definition, parameters = nnx.split(model)
    run = quick_jit(lambda parameters, *inputs: nnx.merge(definition, parameters)(*inputs))
    return np.asarray(run(parameters, *inputs))


@pytest.fixture(scope="module")
def vrt() -> Restorer:
    """A backbone alone with random numbers in all its parameters."""
    return build_random(lambda rngs: Restorer(VRT, None, rngs=rngs), size=0.1)


@pytest.fixture(scope="module")
def restored_16(vrt: Restorer) -> np.ndarray:
    """What the backbone makes of a clip of the smallest size."""
    return restore(vrt, clip())


def test_zero_initialised_fusion_begins_as_exactly_vrt(vrt: Restorer, restored_16: np.ndarray) -> None:
    """Catches a spike branch that disturbs a network started from trained VRT weights before it has learnt anything."""
    config = replace(SPIKES, zero_init=True)
    with_spikes = quick_build(lambda: Restorer(VRT, config, rngs=make_rngs(1)))
    nnx.update(with_spikes.vrt, nnx.state(vrt.vrt))
    voxels = clip(channels=3, seed=1) * 4
    np.testing.assert_allclose(restore(with_spikes, clip(), voxels), restored_16, atol=1e-6)
    # It is the zeros that hide the spikes, not a branch that is left out.
    others = build_random(lambda rngs: Restorer(VRT, config, rngs=rngs))
    nnx.update(others.vrt, nnx.state(vrt.vrt))
    assert np.abs(restore(others, clip(), voxels) - restored_16).max() > 1e-3


def test_the_network_says_how_it_wants_spikes() -> None:
    """Catches a configuration whose way of normalising counts reaches nobody who makes the voxels."""
    for way in ("statistics", "clip"):
        config = replace(SPIKES, normalise=way)
        network = nnx.eval_shape(lambda config=config: Restorer(VRT, config, rngs=make_rngs(0)))
        assert network.traits.spike_normalise == way


def test_a_clip_of_any_size_is_padded_by_reflection_and_cropped(vrt: Restorer) -> None:
    """Catches padding at the wrong side or with other pixels, and a result of another size."""
    odd = clip(3, 17, 21)
    padded = jnp.pad(odd, ((0, 0), (0, 0), (0, 7), (0, 3), (0, 0)), mode="reflect")
    restored = restore(vrt, odd)
    assert restored.shape == (1, 3, 17, 21, 3)
    np.testing.assert_allclose(restored, restore(vrt, padded)[:, :, :17, :21], atol=1e-6)


def test_nothing_is_padded_where_nothing_has_to_be(vrt: Restorer, restored_16: np.ndarray) -> None:
    """Catches a clip of a fitting size that goes through the network larger than it is."""
    definition, parameters = nnx.split(vrt.vrt)
    backbone = quick_jit(lambda parameters, clip: nnx.merge(definition, parameters)(clip))
    np.testing.assert_allclose(restored_16, backbone(parameters, clip()), atol=1e-6)


def test_spikes_at_half_the_size_are_repeated(vrt: Restorer) -> None:
    """Catches spikes of a smaller camera that are interpolated, or land at other pixels."""
    model = build_random(lambda rngs: Restorer(VRT, SPIKES, rngs=rngs), size=0.1)
    small = clip(height=8, width=8, seed=1)
    large = small.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_allclose(restore(model, clip(), small), restore(model, clip(), large), atol=1e-6)


def test_bfloat16_is_close_and_gives_float32(vrt: Restorer, restored_16: np.ndarray) -> None:
    """Catches flows or positions in bfloat16, which would sample other pixels, and a picture rounded to 8 bits."""
    model = quick_build(lambda: Restorer(VRT, None, compute_dtype="bfloat16", rngs=make_rngs(0)))
    nnx.update(model.vrt, nnx.state(vrt.vrt))
    restored = restore(model, clip())
    assert restored.dtype == np.float32
    change = np.abs(restored_16 - np.asarray(clip())).mean()
    # bfloat16 has 8 bits: what the network adds to the clip is right within a few parts in a hundred.
    assert 0 < np.abs(restored - restored_16).mean() < 0.05 * change


@pytest.mark.parametrize(
    ("size", "voxels", "message"),
    (
        ((1, 16, 16), (1, 16, 16, 3), "at least 2 frames of 16 x 16 pixels, found 1 of 16 x 16"),
        ((2, 15, 16), (2, 15, 16, 3), "found 2 of 15 x 16"),
        ((2, 16, 16), None, "expected voxels of 3 bins for each of the 2 frames, found none"),
        ((2, 16, 16), (2, 16, 16, 4), "expected voxels .1, 2, 16, 16, 3., .* found .1, 2, 16, 16, 4."),
        ((2, 16, 16), (2, 8, 16, 3), "smaller than the clip by a whole factor"),
    ),
)
def test_clips_that_do_not_fit_are_refused(size: tuple, voxels: tuple | None, message: str) -> None:
    """Catches a clip that fails deep inside the network, or is restored without its spikes."""
    model = nnx.eval_shape(lambda: Restorer(VRT, SPIKES, rngs=make_rngs(0)))
    with pytest.raises(InputError, match=message):
        model(jnp.zeros((1, *size, 3)), None if voxels is None else jnp.zeros((1, *voxels)))


def test_spikes_that_nobody_asked_for_are_refused(vrt: Restorer) -> None:
    """Catches spikes that a backbone alone silently leaves out."""
    with pytest.raises(InputError, match="takes no spikes"):
        vrt(clip(), clip())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    (
        ("spike.channels", (96, 96, 96, 32), "scale 1/8 .stage 4.: the spike branch has 32 channels, VRT has 96"),
        # What type checking refuses first in the tests is named as well.
        ("spike.fusion", "addition", "addition"),
        ("vrt.warp_frames", 0, "a network that interpolates .vrt.warp_frames = 0. takes no spikes"),
        ("vrt.output_channels", 1, "output_channels must be input_channels, 3, not 1"),
        ("vrt.warp_frames", 3, "warp_frames must be 0, 2, 4 or 6, not 3"),
        ("compute_dtype", "float16", "float16"),
        ("remat", "some", "some"),
    ),
)
def test_a_network_that_does_not_exist_is_an_input_error(key: str, value: object, message: str) -> None:
    """Catches a mistake in a configuration that ends in a traceback, or in another network than was asked for."""
    config: ConfigDict = defaults.get_config().model
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=message):
        nnx.eval_shape(lambda: build_restorer(config, rngs=make_rngs(0)))
