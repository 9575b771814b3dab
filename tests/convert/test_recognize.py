"""Which network a state dict is of: all published ones, their parts, and what is none of them."""

import math
from typing import Any

import numpy as np
import pytest

from convert.convertible_networks import restorer_network
from convert.recognize import recognize
from convert.transfer import check_fit
from spikejax.config import defaults
from spikejax.errors import InputError
from spikejax.io.weights import MismatchError
from tests.convert.arrays import broadcast_zeros
from tests.models.conftest import read_manifest

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


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_recognized_and_complete(name: str) -> None:
    """Catches a key without a place, a place without a key, and an architecture taken for another, at full size."""
    manifest = read_manifest(name)
    arrays = broadcast_zeros(manifest["shapes"])
    network, told = recognize(arrays)
    assert told == PUBLISHED[name]
    check_fit(network.counterparts, arrays, buffers=network.buffers, network=name)
    ours = {own.parameter: own.parameter_shape for own in network.counterparts.values()}
    assert sum(math.prod(shape) for shape in ours.values()) == manifest["params"]


def with_spikes_in_the_picture(bins: int, published: str = "006_videodeblurring_GoPro") -> dict[str, list[int]]:
    """The shapes of a published network whose picture has so many channels more."""
    shapes = read_manifest(published)["shapes"]
    out, _, *taps = shapes["conv_first.weight"]
    return {**shapes, "conv_first.weight": [out, 9 * (3 + bins), *taps]}


def test_spikes_as_channels_of_the_picture() -> None:
    """Catches a network with a picture of 7 channels that is refused, or taken for one without spikes."""
    network, told = recognize(broadcast_zeros(with_spikes_in_the_picture(4)))
    # Windows of 6 frames, as the published backbone has; the variant itself has 5.
    assert told == "a VRT of its own (window (6, 8, 8)); the nearest is spike:early_concat"
    assert network.model is not None and network.model["spike"]["bins"] == 4
    assert network.counterparts["conv_first.weight"].shape == (96, 63, 1, 3, 3)
    network, told = recognize(broadcast_zeros(with_spikes_in_the_picture(6)))
    assert told == "a VRT of its own (bins 6, window (6, 8, 8)); the nearest is spike:early_concat"
    denoising = read_manifest("008_videodenoising_DAVIS")["shapes"]
    assert denoising["conv_first.weight"][1] == 28 and recognize(broadcast_zeros(denoising))[1] == "008"


def test_the_files_name_says_which_of_several_alike() -> None:
    """Catches 006 with the tiles of 005, whose architecture it has, and a name that only begins like a network's."""
    arrays = broadcast_zeros(read_manifest("006_videodeblurring_GoPro")["shapes"])
    network, told = recognize(arrays, file_name="006_VRT_videodeblurring_GoPro.pth")
    assert (network.name, told.partition("; ")[2]) == ("006", "taken as 006, as the file's name says")
    assert network.restore == {"tile": (18, 192, 192), "overlap": (2, 20, 20)}
    for name in ("0061.pth", "008_VRT.pth", "mine.pth"):
        assert recognize(arrays, file_name=name)[1].endswith("; taken as 005")


def test_networks_that_are_none_or_another() -> None:
    """Catches foreign, mixed and half-empty files that are taken for a network, or reported only in part."""
    with pytest.raises(
        InputError, match=r"expected the arrays of one of 001, .*, found 1 of no known network \(conv1.weight ...\)"
    ):
        recognize(broadcast_zeros({"conv1.weight": [64, 3, 7, 7]}))
    with pytest.raises(InputError, match="linear heads as well"):
        recognize(broadcast_zeros({"features.0.weight": [64, 3, 11, 11]}))
    arrays = broadcast_zeros(read_manifest("006_videodeblurring_GoPro")["shapes"])
    mixed = arrays | broadcast_zeros({"features.0.weight": [64, 3, 3, 3], "features.0.bias": [64]})
    with pytest.raises(MismatchError, match="expected the weights of 005, found 2 unexpected") as caught:
        network, _ = recognize(mixed)
        network.from_torch(mixed)
    assert [problem.name for problem in caught.value.problems] == ["features.0.weight", "features.0.bias"]
    half = dict(list(arrays.items())[::2])
    with pytest.raises(MismatchError, match="found 705 missing") as caught:
        network, _ = recognize(half)
        network.from_torch(half)
    assert len(caught.value.problems) == 705
    assert len(caught.value.details) == 18


def architecture(**fields: Any) -> dict[str, np.ndarray]:
    """The state dict of a VRT of other sizes than any that has a name, its arrays empty of memory."""
    model = defaults.get_config().model.to_dict()
    small = dict(depths=(2,) * 9, dims=(24,) * 9, heads=(2,) * 9, independent=(8,), deformable_groups=4)
    model["vrt"] |= small | fields
    model["spike"]["fusion"] = "none"
    network = restorer_network(model, "a test's")
    return broadcast_zeros({key: list(own.shape) for key, own in network.counterparts.items()})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "depths 9x2, dims 9x24, heads 9x2, independent (8,), deformable_groups 4"),
        # No mutual attention, and in each group a block.
        ({"depths": (1,) * 9}, "depths 9x1, dims 9x24"),
        ({"depths": (1,) * 9, "mutual_ratio": 1.0}, "depths 9x1, dims 9x24"),
        ({"window": (4, 4, 4), "mlp_ratio": 3}, "window (4, 4, 4), depths"),
        ({"upscale": 2}, "upscale 2"),
    ],
    ids=["small", "one", "mutual", "window", "twice"],
)
def test_a_vrt_of_another_size(fields: dict[str, Any], told: str) -> None:
    """Catches a network of somebody's own that is refused, taken for another, or ends in a traceback."""
    arrays = architecture(**fields)
    network, description = recognize(arrays)
    assert description.startswith("a VRT of its own (")
    assert told in description
    assert network.model is not None
    vrt = network.model["vrt"]
    assert vrt["dims"] == (24,) * 9
    assert vrt["window"] == fields.get("window", (6, 8, 8))
    assert network.counterparts.keys() == arrays.keys()


@pytest.mark.slow
def test_a_vrt_of_another_size_with_a_fault() -> None:
    """Catches a list of a thousand differences from a named network where one key of somebody's own is missing."""
    arrays = architecture()
    del arrays["norm.weight"]
    with pytest.raises(MismatchError, match=r"the VRT that its shapes tell \(.*dims 9x24.*\), found 1 missing"):
        recognize(arrays)


@pytest.mark.slow
def test_a_published_network_without_a_group() -> None:
    """Catches the rest of a published file that is not taken for the smaller network that it is as well."""
    arrays = broadcast_zeros(read_manifest("006_videodeblurring_GoPro")["shapes"])
    smaller = {key: array for key, array in arrays.items() if not key.startswith("stage8.4.")}
    assert recognize(smaller)[1].startswith("a VRT of its own (depths 7x8+3x4, dims 7x96+3x120")
