"""Stacked blocks."""

import numpy as np

from spikejax.models.layers import Linear
from spikejax.models.rngs import make_rngs
from spikejax.models.scan import stack_blocks


def test_stacked_blocks_are_separate_blocks() -> None:
    """Catches blocks that begin with the same weights, and a stacked axis without its name."""
    blocks = stack_blocks(3, lambda rngs: Linear(2, 4, rngs=rngs), rngs=make_rngs(0))
    assert blocks.kernel.shape == (3, 2, 4)
    assert blocks.kernel.get_metadata("axes") == ("layers", "embed", "mlp")
    assert blocks.bias.get_metadata("axes") == ("layers", "mlp")
    kernels = np.asarray(blocks.kernel[...])
    assert all(np.abs(kernels[i] - kernels[j]).min() > 1e-6 for i, j in ((0, 1), (0, 2), (1, 2)))
