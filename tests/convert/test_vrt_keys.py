"""What VRTs keep beside their parameters."""

import zlib
from typing import Any

import numpy as np
import pytest

from convert.recognize import recognize
from spikejax.models.attention import relative_position_index
from tests.convert.arrays import broadcast_zeros
from tests.models.conftest import read_manifest


@pytest.mark.slow
def test_buffers_of_the_original() -> None:
    """Catches a buffer that the original's strict loading would miss, or of another shape, dtype or content."""
    arrays = broadcast_zeros(read_manifest("tiny_spike")["shapes"])
    network, _ = recognize(arrays)
    buffers = network.buffers
    attentions = [key for key in arrays if key.endswith(".relative_position_bias_table")]
    mutual = [key for key in arrays if key.endswith(".qkv_mut.weight")]
    assert len(buffers) == len(attentions) + len(mutual) + 2
    index = buffers["vrt.stage1.residual_group2.blocks.0.attn.relative_position_index"]
    assert (index.shape, index.dtype) == ((320, 320), np.int64)
    np.testing.assert_array_equal(index.make(), relative_position_index((5, 8, 8)))
    bias = buffers["vrt.stage1.residual_group1.blocks.0.attn.position_bias"]
    assert (bias.shape, bias.dtype) == ((1, 64, 24), np.float32)
    encoding = bias.make()
    # Row 1 of 8 and column 1 of 8: sines first, then cosines of the next frequency's pair.
    angle = 2 * np.pi / (8 + 1e-6)
    np.testing.assert_allclose(encoding[0, 0, :2], [np.sin(angle), np.cos(angle)], rtol=1e-6)
    np.testing.assert_allclose(encoding[0, 0, 12:14], [np.sin(angle), np.cos(angle)], rtol=1e-6)
    for key, buffer in buffers.items():
        made = buffer.make()
        assert (made.shape, made.dtype) == (buffer.shape, buffer.dtype), key
    np.testing.assert_allclose(buffers["vrt.spynet.mean"].make().ravel(), [0.485, 0.456, 0.406])
    np.testing.assert_allclose(buffers["vrt.spynet.std"].make().ravel(), [0.229, 0.224, 0.225])


BUFFERS: dict[str, list[dict[str, Any]]] = read_manifest("buffers")


@pytest.mark.slow
@pytest.mark.parametrize("name", BUFFERS)
def test_all_buffers_of_the_published_networks(name: str) -> None:
    """Catches a file that the original does not load strictly: a buffer too many, too few, or of another content."""
    network, _ = recognize(broadcast_zeros(read_manifest(name)["shapes"]))
    expected = {key: entry for entry in BUFFERS[name] for key in entry["keys"]}
    assert network.buffers.keys() == expected.keys()
    for entry in BUFFERS[name]:
        for key in entry["keys"]:
            buffer = network.buffers[key]
            assert (list(buffer.shape), str(buffer.dtype)) == (entry["shape"], entry["dtype"]), key
        made = network.buffers[entry["keys"][0]].make()
        assert (list(made.shape), str(made.dtype)) == (entry["shape"], entry["dtype"])
        # Every number of one differs from PyTorch's sine by less than 2.4e-7, with either sign.
        np.testing.assert_allclose(made.sum(dtype=np.float64), entry["sum"], rtol=0, atol=1e-5)
        if not entry["keys"][0].endswith(".position_bias"):
            assert zlib.crc32(made.tobytes()) == entry["crc32"]
