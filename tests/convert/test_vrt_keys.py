"""What VRTs keep beside their parameters."""

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
