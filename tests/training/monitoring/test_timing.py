"""Where the time goes, and operations counted by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from spikejax.hardware.chips import CHIPS
from spikejax.training.monitoring.provenance import versions
from spikejax.training.monitoring.timing import TimeSplit, Utilisation, flops_of_forward


def test_time_is_split_into_all_of_it() -> None:
    """Catches time that is counted twice or not at all, and parts that are not begun anew."""
    now = [0.0]
    times = TimeSplit(clock=lambda: now[0])
    with times.spent_on("data"):
        now[0] += 1.0
    now[0] += 6.0
    with times.spent_on("saving"):
        now[0] += 3.0
    for _ in range(2):
        times.count()
    assert times.pop_means() == {"data": 0.5, "saving": 1.5, "validation": 0.0, "computing": 3.0}
    for _ in range(4):
        times.count()
    now[0] += 4.0
    assert times.pop_means()["computing"] == 1.0
    assert times.pop_means() == {}


def test_another_account_is_told_every_part() -> None:
    """Catches an account of a whole run that misses what the curves of an update have."""
    now, told = [0.0], []
    times = TimeSplit(clock=lambda: now[0], also=lambda part, seconds: told.append((part, seconds)))
    for part, seconds in (("data", 1.0), ("saving", 2.0), ("data", 0.5)):
        with times.spent_on(part):
            now[0] += seconds
    assert told == [("data", 1.0), ("saving", 2.0), ("data", 0.5)]


def test_utilisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches the backward pass left out, and a peak of one device for all."""
    batch = {"input": jax.ShapeDtypeStruct((4, 4), jnp.float32)}

    def forward(params: Any, blur: Any, voxels: Any) -> Any:
        return blur @ params

    spent = {"data": 0.5, "computing": 1.5, "saving": 9.0}
    params = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    (device, *_) = jax.devices()
    assert flops_of_forward(forward, params, batch, device) is None
    assert Utilisation(128.0, [device])(spent) == {}
    monkeypatch.setattr("spikejax.training.monitoring.timing.chip_of", lambda _: CHIPS["v5e"])
    flops = flops_of_forward(forward, params, batch, device)
    assert flops == 128
    assert Utilisation(flops, [device])(spent) == {"model_flop_utilisation": pytest.approx(3 * 128 / (197e12 * 2))}
    assert Utilisation(None, [device])(spent) == {}


def test_versions_name_what_ran() -> None:
    """Catches a record that cannot tell which code made a run."""
    found = versions()
    assert found["jax"] == jax.__version__
    assert {"python", "devices", "numpy"} <= found.keys()
