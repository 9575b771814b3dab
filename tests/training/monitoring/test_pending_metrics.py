"""Metrics that stay on the device until somebody reads them."""

import jax
import jax.numpy as jnp
import pytest

from spikejax.training.monitoring.pending_metrics import PendingMetrics


def measured(loss: float, *, norm: float = 1.0, skipped: int = 0, **terms: float) -> dict[str, jax.Array]:
    """What an update returns."""
    values = {"loss": loss, "gradient_norm": norm} | {f"loss/{name}": value for name, value in terms.items()}
    return {name: jnp.float32(value) for name, value in values.items()} | {"skipped": jnp.int32(skipped)}


def test_every_update_is_read_once_and_counts_to_the_means() -> None:
    """Catches a bad update that a save before the next log hides, or that is reported twice; means of half of them."""
    pending = PendingMetrics()
    for update, loss in ((1, 2.0), (2, float("inf")), (3, 4.0)):
        pending.add(update, measured(loss, skipped=update > 1), {"next": update})
    (failed,) = pending.read_not_finite()
    assert (failed.update, failed.skipped, failed.data_state) == (2, 1, {"next": 2})
    assert str(failed) == "the loss is inf, the gradient's norm 1.0 at step 2"
    assert pending.read_not_finite() == []
    pending.add(4, measured(6.0, norm=5.0, skipped=1), {})
    assert pending.read_not_finite() == []
    means = pending.pop_means()
    assert (means["gradient_norm"], means["skipped"]) == (2.0, 1)
    pending.add(5, measured(6.0, norm=5.0, skipped=1), {})
    pending.read_not_finite()
    assert pending.pop_means() == {"loss": pytest.approx(6.0), "gradient_norm": 5.0, "skipped": 1}


def test_the_term_that_is_not_finite_is_named() -> None:
    """Catches a TypeError at the first bad update of a loss of several terms, and a message that names none of them."""
    pending = PendingMetrics()
    pending.add(7, measured(float("nan"), norm=float("nan"), skipped=1, smooth=0.5, edges=float("nan")), b"where")
    (failed,) = pending.read_not_finite()
    assert str(failed) == "the loss is nan (edges nan), the gradient's norm nan at step 7"
    assert list(failed.terms) == ["edges"]
    assert failed.to_json() == {
        "update": 7,
        "loss": "nan",
        "gradient_norm": "nan",
        "loss/smooth": "0.5",
        "loss/edges": "nan",
    }
