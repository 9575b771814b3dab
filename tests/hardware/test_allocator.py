"""How the allocator keeps memory, in processes of their own, since it cannot be undone."""

import subprocess
import sys

import pytest

from spikejax.hardware.allocator import VARIABLE

# Page faults of arrays of 40 MB that are made and freed by a thread; the first ones are not counted.
_FAULTS = """
import resource, threading
import numpy as np
from spikejax.hardware.allocator import keep_freed_memory
kept = keep_freed_memory()
def work(times):
    for _ in range(times):
        np.ones(10_000_000, np.float32)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for times in (2, 10):
    before = faults()
    thread = threading.Thread(target=work, args=(times,))
    thread.start()
    thread.join()
    counts.append(faults() - before)
print(kept, counts[1])
"""


def run_faults(monkeypatch: pytest.MonkeyPatch, **environment: str) -> tuple[bool, int]:
    """Whether memory is kept, and how many page faults came, in a process with this environment."""
    for name in (VARIABLE, "GLIBC_TUNABLES", "LD_PRELOAD", "JAX_PLATFORMS", "MALLOC_ARENA_MAX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    process = subprocess.run([sys.executable, "-c", _FAULTS], check=True, capture_output=True, text=True)
    kept, count = process.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts faults as Linux does")
def test_freed_memory_serves_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a setting that the C library does not take, or that threads' own heaps undo."""
    kept, faults = run_faults(monkeypatch, JAX_PLATFORMS="cpu")
    if not kept:
        pytest.skip("not glibc's allocator")
    _, usual = run_faults(monkeypatch, JAX_PLATFORMS="cpu", **{VARIABLE: "0"})
    assert faults < usual / 10


@pytest.mark.parametrize(
    "environment",
    (
        {VARIABLE: "0"},
        {"JAX_PLATFORMS": "cuda"},
        {"JAX_PLATFORMS": "cpu", "MALLOC_ARENA_MAX": "4"},
        {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1000000"},
    ),
    ids=lambda environment: "_".join(environment),
)
def test_it_is_left_alone(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches what somebody has set that is overridden, and host memory tuned where an accelerator computes."""
    kept, _ = run_faults(monkeypatch, **environment)
    assert not kept
