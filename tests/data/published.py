"""Small imitations of published data sets: 16x24 pictures, spikes at half their size."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.io.pictures import write_picture

HEIGHT, WIDTH = 16, 24
GOPRO_STEPS = 16  # of sequences whose name says 2


def picture(seed: int) -> np.ndarray:
    """Random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def spikes(seed: int, steps: int, *, ratio: int = 2) -> np.ndarray:
    """A random stream."""
    rng = np.random.default_rng([seed, steps])
    return rng.integers(0, 2, (steps, HEIGHT // ratio, WIDTH // ratio)).astype(np.uint8)


def save(path: Path, content: np.ndarray) -> None:
    """Writes a picture or a stream into a folder that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (write_dat if path.suffix == ".dat" else write_picture)(path, content)


def write_gopro(
    source: Path, *, train: int = 4, test: int = 1, first: int = 0, blurs: Iterable[str] = ("blur_gamma",)
) -> Path:
    """A training sequence of `train` frames and a test sequence of `test`, numbered from `first`."""
    for part, name, length in (("train", "GOPR0001_02_00", train), ("test", "GOPR0002_02_01", test)):
        pictures = source / "GOPRO_Large" / part / name
        for number in range(first, first + length):
            for kind in (*blurs, "sharp"):
                save(pictures / kind / f"{number:06d}.png", picture(1000 * len(kind) + 10 * number + len(part)))
            stream = spikes(10 * number + len(part), GOPRO_STEPS)
            save(source / "GOPRO_Large_spike_seq" / part / name / "spike" / f"{number}.dat", stream)
    write_config(source / "GOPRO_Large_spike_seq", StreamConfig(HEIGHT // 2, WIDTH // 2))
    return source


def rename_gopro(source: Path) -> Path:
    """The same pictures as restoration frameworks rename them: {train,test}_{GT_blurred,GT}/SEQUENCE/N.png."""
    for sequence in sorted((source / "GOPRO_Large").glob("*/*")):
        for kind, renamed in (("blur_gamma", "GT_blurred"), ("sharp", "GT")):
            target = source / "GOPRO_Large" / f"{sequence.parent.name}_{renamed}" / sequence.name
            target.parent.mkdir(exist_ok=True)
            (sequence / kind).rename(target)
        sequence.rmdir()
        if not any(sequence.parent.iterdir()):
            sequence.parent.rmdir()
    return source


def write_x4k(source: Path, *, length: int = 3) -> Path:
    """A clip of `length` windows of 33 frames in either split."""
    for split, clip in (("train", "002/occ"), ("val", "Type1/TEST01")):
        for number in range(length):
            start = 33 * number
            save(source / f"{split}_blurry_33" / clip / f"{start:04d}_{start + 32:04d}.png", picture(number))
            save(source / split / clip / f"{start + 16:04d}.png", picture(100 + number))
        save(source / f"{split}_spike_2xds" / clip / "spike.dat", spikes(len(split), 33 * length))
    return source
