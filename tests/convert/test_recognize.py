"""Which network a state dict is of: all published ones, their parts, and what is none of them."""

import math

import pytest

from convert.recognize import recognize
from convert.transfer import check_fit
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
    network, told = recognize(arrays, any_architecture=False)
    assert told == PUBLISHED[name]
    check_fit(network.counterparts, arrays, buffers=network.buffers, network=name)
    ours = {own.parameter: own.parameter_shape for own in network.counterparts.values()}
    assert sum(math.prod(shape) for shape in ours.values()) == manifest["params"]


def test_networks_that_are_none_or_another() -> None:
    """Catches foreign, mixed and half-empty files that are taken for a network, or reported only in part."""
    with pytest.raises(
        InputError, match=r"expected the arrays of one of 001, .*, found 1 of no known network \(conv1.weight ...\)"
    ):
        recognize(broadcast_zeros({"conv1.weight": [64, 3, 7, 7]}), any_architecture=True)
    with pytest.raises(InputError, match="linear heads as well"):
        recognize(broadcast_zeros({"features.0.weight": [64, 3, 11, 11]}), any_architecture=True)
    arrays = broadcast_zeros(read_manifest("006_videodeblurring_GoPro")["shapes"])
    mixed = arrays | broadcast_zeros({"features.0.weight": [64, 3, 3, 3], "features.0.bias": [64]})
    with pytest.raises(MismatchError, match="expected the weights of 005, found 2 unexpected") as caught:
        network, _ = recognize(mixed, any_architecture=False)
        network.from_torch(mixed)
    assert [problem.name for problem in caught.value.problems] == ["features.0.weight", "features.0.bias"]
    half = dict(list(arrays.items())[::2])
    with pytest.raises(MismatchError, match="found 705 missing") as caught:
        network, _ = recognize(half, any_architecture=False)
        network.from_torch(half)
    assert len(caught.value.problems) == 705
    assert caught.value.details[-1] == "and 685 more"
    smaller = {key: array for key, array in arrays.items() if not key.startswith("stage8.4.")}
    with pytest.raises(
        MismatchError,
        match="the nearest is 005, from which differ: vrt.depths, vrt.dims, .*; --network any takes it",
    ):
        recognize(smaller, any_architecture=False)
