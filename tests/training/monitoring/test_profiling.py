"""When the profiler records."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from spikejax.training.monitoring.profiling import Profiler


@pytest.mark.parametrize(("at", "updates", "recorded"), [(0, 3, []), (2, 1, [2]), (2, 3, [2, 3, 4]), (4, 9, [4, 5])])
def test_the_updates_that_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, updates: int, recorded: list[int]
) -> None:
    """Catches an update too many or too few, and a recording that the end of the run leaves open."""
    running: list[str] = []
    monkeypatch.setattr("jax.profiler.start_trace", running.append)
    monkeypatch.setattr("jax.profiler.stop_trace", running.clear)
    profiler, during = Profiler(tmp_path, at=at, updates=updates), []
    for step in range(1, 6):
        profiler.before_update(step)
        during += [step] if running else []
        profiler.after_update(step, jnp.zeros(()))
    profiler.close()
    assert during == recorded and running == []
