"""Reads many mutated pickles and says what came of them: python -m tests.convert.fuzz_pickles FOLDER COUNT.

FOLDER holds the pickles that are mutated. The seed is fixed. While one is read, every event is noted by which Python
says that something is imported, compiled, run or opened.
"""

import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convert.pickles import Storage, StorageType, load_pickle
from spikejax.errors import InputError

WATCHED = ("import", "exec", "compile", "open", "os.", "subprocess.", "socket.", "pickle.", "shutil.", "ctypes.")


def mutations(samples: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Pickles with some bytes changed, left out, repeated or joined with another's."""
    random = np.random.default_rng(seed)
    for number in range(count):
        data = bytearray(samples[number % len(samples)])
        for _ in range(random.integers(1, 4)):
            at, length = int(random.integers(len(data))), int(random.integers(1, 9))
            kind = random.integers(5)
            if kind == 0:
                data[at] = int(random.integers(256))
            elif kind == 1:
                data[at : at + length] = random.bytes(length)
            elif kind == 2:
                del data[at : at + length]
            elif kind == 3:
                data[at:at] = data[at : at + length]
            else:
                other = samples[random.integers(len(samples))]
                start = int(random.integers(len(other)))
                data[at:at] = other[start : start + length * 4]
            data = data or bytearray(b".")
        yield bytes(data)


def find_storage(pid: tuple) -> Storage:
    """A storage of a thousand numbers for every tensor."""
    if not isinstance(pid[1], StorageType):
        raise ValueError("it holds a storage of no type")
    dtype = pid[1].dtype
    return Storage(dtype, 1000, lambda start, stop: np.zeros(stop - start, dtype))


def main(folder: Path, count: int) -> None:
    """Reads them and prints the counts."""
    samples = [path.read_bytes() for path in sorted(folder.glob("*.pkl"))]
    for sample in samples:  # what is imported late, such as codecs, is imported here
        load_pickle(io.BytesIO(sample), "weights.pth", find_storage)
    events: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple) -> None:
        if watching and event.startswith(WATCHED):
            events.append(f"{event} {arguments}"[:200])

    sys.addaudithook(watch)
    outcomes: Counter[str] = Counter()
    for data in mutations(samples, count, seed=0):
        watching = True
        try:
            load_pickle(io.BytesIO(data), "weights.pth", find_storage)
            outcomes["read"] += 1
        except InputError as error:
            assert str(error).startswith("expected a whole file of weights, found damage ("), error
            outcomes["refused"] += 1
        finally:
            watching = False
    print(json.dumps({"events": events[:20], **outcomes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
