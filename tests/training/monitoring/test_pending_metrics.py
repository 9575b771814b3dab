"""Figures that stay on the device until somebody looks."""

import jax.numpy as jnp
import pytest

from spikejax.training.monitoring.pending_metrics import Figures


def test_every_update_is_looked_at_once_and_counts_to_the_means() -> None:
    """Catches a bad update that a save before the next log hides, or that is reported twice; means of half of them."""
    figures = Figures()
    for update, loss in ((1, 2.0), (2, jnp.inf), (3, 4.0)):
        found = {"loss": jnp.float32(loss), "gradient_norm": jnp.float32(1.0), "skipped": jnp.int32(update > 1)}
        figures.add(update, found, {"next": update})
    (bad,) = figures.look()
    assert (bad.update, bad.skipped, bad.data_state) == (2, 1, {"next": 2})
    assert str(bad) == "the loss is inf, the gradient's norm 1.0 at step 2"
    assert figures.look() == []
    figures.add(4, {"loss": jnp.float32(6.0), "gradient_norm": jnp.float32(5.0), "skipped": jnp.int32(1)}, {})
    assert figures.look() == []
    means = figures.take()
    assert (means["gradient_norm"], means["skipped"]) == (2.0, 1)
    figures.add(5, {"loss": jnp.float32(6.0), "gradient_norm": jnp.float32(5.0), "skipped": jnp.int32(1)}, {})
    figures.look()
    assert figures.take() == {"loss": pytest.approx(6.0), "gradient_norm": 5.0, "skipped": 1}
