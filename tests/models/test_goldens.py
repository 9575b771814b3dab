"""The networks against the published ones: float64 answers of the authors' code (tests/golden/README.md)."""

import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.models.flows import clip_flows
from spikejax.models.restorer import Restorer
from tests.models.conftest import Golden, abstract_model, read_manifest
from tests.models.parameters import restorer_from_torch
from tests.models.quick import quick_jit

pytestmark = pytest.mark.slow

NETWORKS = (
    "tiny_deblur",
    "tiny_deblur_padded_windows",
    "tiny_spike",
    "tiny_denoise",
    "tiny_interp",
    "tiny_sr_pa4",
    "tiny_sr_pa6",
)
# The goldens of super-resolution keep this part of every frame.
CROP = slice(104, 152)


def answer(golden: Golden, dtype: type) -> np.ndarray:
    """The network's answer in the golden's layout, computed in `dtype`."""
    inputs = [None if x is None else jnp.asarray(x, dtype) for x in (golden.clip, golden.voxels)]
    # The frames that super-resolution enlarges cost more than what an optimised program costs to compile.
    jit = jax.jit if golden.model.vrt.config.upscale > 1 else quick_jit
    run = jit(lambda parameters, *inputs: nnx.merge(golden.graphdef, parameters)(*inputs))
    restored = np.moveaxis(np.asarray(run(golden.parameters, *inputs)), -1, 2)
    assert restored.dtype == dtype
    return restored


def expected(golden: Golden) -> tuple[np.ndarray, np.ndarray]:
    """The published network's answers in float64, which are the truth, and in float32."""
    crop = "_crop" if "output_float64_crop" in golden.answers else ""
    return golden.answers[f"output_float64{crop}"], golden.answers[f"output_float32{crop}"]


def kept(golden: Golden, restored: np.ndarray) -> np.ndarray:
    """The part of our answer that the golden holds."""
    return restored[..., CROP, CROP] if "output_float64_crop" in golden.answers else restored


@pytest.mark.parametrize("name", NETWORKS)
def test_float64_answers_agree_within_1e_6_of_their_range(golden: Callable[[str], Golden], name: str) -> None:
    """Any difference from the published network: an axis order, a window rule, a flow's direction, a rounding."""
    network = golden(name)
    with jax.enable_x64(True):
        restored = answer(network, np.float64)
    if "output_mean" in network.answers:
        np.testing.assert_allclose(restored.mean((3, 4)), network.answers["output_mean"], rtol=1e-5)
        np.testing.assert_allclose(restored.std((3, 4)), network.answers["output_std"], rtol=1e-5)
    restored = kept(network, restored)
    truth, _ = expected(network)
    assert np.abs(restored - truth).max() <= 1e-6 * np.ptp(truth)


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_mean_error_is_at_most_twice_pytorchs(golden: Callable[[str], Golden], name: str) -> None:
    """Precision lost in float32: reduced-precision products, statistics or positions."""
    network = golden(name)
    truth, theirs = expected(network)
    ours = kept(network, answer(network, np.float32))
    assert np.abs(ours - truth).mean() <= 2 * np.abs(theirs - truth).mean()


@pytest.mark.parametrize("name", ("tiny_deblur", "tiny_deblur_padded_windows"))
def test_flows_agree(golden: Callable[[str], Golden], name: str) -> None:
    """A wrong flow hidden behind the rest: swapped components, scales or directions, sizes not multiples of 32."""
    network = golden(name)
    with jax.enable_x64(True):
        flows = jax.jit(lambda model, clip: clip_flows(model.vrt.spynet, clip, 1))(
            network.model, jnp.asarray(network.clip, np.float64)
        )
    # The goldens hold float32.
    backward, forward = (np.moveaxis(np.asarray(f), -1, 2) for f in (flows[0].backward[0], flows[3].forward[0]))
    np.testing.assert_allclose(backward, network.answers["flow_backward_0"], atol=1e-5)
    np.testing.assert_allclose(forward, network.answers["flow_forward_3"], atol=1e-5)


def test_spike_features_and_fusion_agree(golden: Callable[[str], Golden]) -> None:
    """An error in one part of the spike branch that another one covers."""
    network = golden("tiny_spike")

    def parts(model: Restorer, voxels: jax.Array, features: jax.Array, spikes: jax.Array) -> tuple:
        branch = model.spike_branch
        assert branch is not None and branch.temporal_attention is not None
        encoded = branch.encoder(voxels)
        attended = [attention(x) for attention, x in zip(branch.temporal_attention, encoded, strict=True)]
        return encoded, attended, branch.fuse_blocks[3](features, spikes)

    # (B, T, C, H, W) as in the golden, then channels last.
    query, keys = (
        np.moveaxis(np.random.Generator(np.random.PCG64(seed)).standard_normal((1, 5, 24, 8, 8)), 2, -1)
        for seed in (crc("fuse/q"), crc("fuse/kv"))
    )
    with jax.enable_x64(True):
        encoded, attended, fused = jax.jit(parts)(
            network.model, jnp.asarray(network.voxels, np.float64), jnp.asarray(query), jnp.asarray(keys)
        )
    for scale in range(4):
        for name, features in (("encoder", encoded[scale]), ("self_attention", attended[scale])):
            means = np.moveaxis(np.asarray(features).mean((2, 3)), -1, 1)
            np.testing.assert_allclose(means, network.answers[f"{name}_scale{scale}_mean"], atol=1e-5)
    for name, features in (("encoder", encoded[3]), ("self_attention", attended[3])):
        channels_first = np.moveaxis(np.asarray(features), -1, 1)
        np.testing.assert_allclose(channels_first, network.answers[f"{name}_scale3"], atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(np.asarray(fused), -1, 2), network.answers["fuse_scale3"], atol=1e-5)


def crc(text: str) -> int:
    """The seed that the goldens derive from a name."""
    return zlib.crc32(text.encode())


@pytest.mark.parametrize(("upscale", "shuffled"), [(2, 256), (3, 576)])
def test_super_resolution_by_other_factors_has_the_originals_keys(upscale: int, shuffled: int) -> None:
    """Catches a factor of 3 by doublings: one convolution to 9 * 64 channels comes before its shuffle."""
    manifest = read_manifest("tiny_sr_pa4")
    shapes = {key: shape for key, shape in manifest["shapes"].items() if not key.startswith("upsample.")}
    shapes |= {"upsample.0.weight": [shuffled, 64, 1, 3, 3], "upsample.0.bias": [shuffled]}
    # Four modules without parameters, the shuffle among them, come before the last convolution.
    shapes |= {"upsample.5.weight": [64, 64, 1, 3, 3], "upsample.5.bias": [64]}
    manifest = manifest | {"config": manifest["config"] | {"upscale": upscale}}
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    parameters = restorer_from_torch(abstract_model(manifest), arrays)
    assert sum(leaf.size for leaf in jax.tree.leaves(parameters)) == sum(array.size for array in arrays.values())
