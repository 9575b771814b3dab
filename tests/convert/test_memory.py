"""How much memory a conversion of a full-size network takes, measured from outside of Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.array_files import read_arrays, write_arrays
from convert.convertible_networks import get_network
from convert.stored_arrays import StoredArray

pytestmark = pytest.mark.slow

# Prints by how many bytes the memory of the process (resident pages of all kinds, mapped files among them) has at most
# exceeded what it was after the imports.
PROGRAM = """
import sys
from pathlib import Path
import convert.__main__, spikejax.io.orbax_params, spikejax.training.trained_params

def kilobytes(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if field in line)

Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
imported = kilobytes("VmRSS")
convert.__main__.main(sys.argv[1:])
print((kilobytes("VmHWM") - imported) * 1024)
"""


def memory_of(*arguments: object) -> int:
    """Bytes above the imports of `python -m convert` with these arguments, in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").is_file(), reason="needs /proc")
def test_a_conversion_takes_less_than_twice_the_file(tmp_path: Path) -> None:
    """Catches copies of all weights that orbax, its store or we make, which tracemalloc partly does not see."""
    theirs, ours, again = tmp_path / "006.pth", tmp_path / "weights", tmp_path / "again.pth"
    random = np.random.default_rng(0)

    def make(shape: tuple[int, ...]) -> StoredArray:
        return StoredArray(shape, np.dtype(np.float32), lambda: random.random(shape, np.float32))

    write_arrays(theirs, {key: make(own.shape) for key, own in get_network("006").counterparts.items()})
    size = theirs.stat().st_size
    assert size > 70e6
    there = memory_of("to-jax", "--network", "006", "--input", theirs, "--output", ours)
    back = memory_of("to-torch", "--input", ours, "--output", again)
    assert 0.5 * size < there < 2 * size
    assert 0.5 * size < back < 2 * size
    found = read_arrays(again)
    for key, array in read_arrays(theirs).items():
        np.testing.assert_array_equal(np.asarray(found[key]).view(np.uint32), np.asarray(array).view(np.uint32))
