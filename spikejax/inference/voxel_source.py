"""The spikes that belong to the frames of an input, as counts per pixel and time bin, read one frame at a time.

Counts stay whole numbers until they are on the device, where they are standardised: a quarter of the memory.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Real

from spikejax.data.datasets.frame_spikes import FrameSpikes
from spikejax.data.spikes.resolution import spike_ratio
from spikejax.data.spikes.stream_files import count_frames
from spikejax.data.spikes.stream_size import StreamSize, find_stream_size
from spikejax.data.spikes.voxels import Counts, CountType, whole_counts
from spikejax.errors import InputError
from spikejax.io.damage import DAMAGED_ARRAY, DAMAGED_TABLE
from spikejax.io.frame_source import FrameSource, natural_key
from spikejax.io.paths import local_only
from spikejax.io.tiled_arrays import FrameArray, open_frames_array

_CountReader = Callable[[], Real[np.ndarray, "h w k"]]


class VoxelSource:
    """The counts [h',w',k] of every frame, in order: uint8 where a window's spikes fit, else uint16.

    Attributes:
        shape: (h', w', k) of each frame's counts.
        notes: what the user should know about these spikes.
    """

    def __init__(
        self,
        path: str | Path,
        frames: FrameSource,
        *,
        bins: int,
        size: tuple[int, int] | None = None,
        windows: str | Path | None = None,
        upside_down: bool = False,
    ) -> None:
        """Finds the spikes of all frames and checks the files' sizes, without reading what is in them.

        Args:
            path: a folder with a `.dat` per frame, a folder with an `.npy` (K,H,W) of counts per frame, a prepared
                array of counts (`.zarr`), or one `.dat` for all frames, which is cut into windows of equal length.
            frames: the frames that the spikes belong to.
            bins: of the network.
            size: (height, width) of the spike camera, where no config.yaml says it (see `stream_size`).
            windows: a CSV file with a line for each frame and its window of the one `.dat` in columns t0 and t1
                (such as a data set's alignment.csv).
            upside_down: whether the camera of the `.dat` files stored the top row first.

        Raises:
            InputError: a file is missing, damaged, or of another size or length than the frames; or nobody says the
                size of its spikes.
        """
        self._dtype: CountType = np.uint16
        # The spikes on the disk are those of all frames, whatever part of them is wanted.
        self._part = slice(frames.first, frames.first + frames.count if frames.whole is not frames else None)
        frames = frames.whole
        self._readers: Sequence[_CountReader]
        self.notes: list[str] = []
        path = local_only(path)
        if not path.exists():
            raise InputError(f"expected a folder or a file of spikes, found nothing at {path}")
        streams = not path.is_dir() or any(path.glob("[!.]*.dat"))
        if upside_down and not streams:
            raise InputError(f"expected .dat files with --flip-spikes, found counts: {path}")
        if windows is not None and path.is_dir():
            raise InputError(f"expected one .dat file to cut into the windows of {windows}, found a folder: {path}")
        if (path / "zarr.json").is_file():
            array = _array_of_counts(path, frames, bins)
            height, width = array.shape[1:3]
            self._dtype = np.uint8 if array.dtype == np.uint8 else np.uint16
            self._readers = [partial(_read_array, array, number) for number in range(frames.count)]
        elif not streams:
            files = _file_per_frame(path, ".npy", frames)
            height, width = _size_of_counts(files, bins)
            self._readers = [partial(_read_counts, file) for file in files]
        else:
            pictures = (frames.height, frames.width)
            found = find_stream_size(path, given=size, option="--spike-size", pictures=pictures)
            height, width = found.shape
            self.notes.append(found.note)
            spikes = _frame_spikes(path, frames, found, windows)
            self._readers = self._read_windows([replace(s, upside_down=upside_down) for s in spikes], bins)
        if size not in (None, (height, width)):
            raise InputError(f"expected counts of {size[0]}x{size[1]} (height x width), found {height}x{width}: {path}")
        spike_ratio((frames.height, frames.width), (height, width), source=path)
        self.shape = (height, width, bins)

    def __iter__(self) -> Iterator[Counts]:
        return self.read()

    def read(self, start: int = 0) -> Iterator[Counts]:
        """Yields the counts of the frames from number `start` on.

        Raises:
            InputError: a file is damaged, or holds no whole numbers of spikes.
        """
        for read in self._readers[self._part][start:]:
            yield whole_counts(read(), self._dtype)

    def _read_windows(self, spikes: Sequence[FrameSpikes], bins: int) -> list[_CountReader]:
        steps_of_windows = [window.steps for window in spikes]
        fewest = min(steps_of_windows)
        if fewest < bins:
            self.notes.append(f"{fewest} spike frames a window fill at most {fewest} of the {bins} time bins")
        self._dtype = np.uint8 if max(steps_of_windows) <= 255 else np.uint16
        return [partial(window.counts, bins) for window in spikes]


def _frame_spikes(path: Path, frames: FrameSource, size: StreamSize, windows: str | Path | None) -> list[FrameSpikes]:
    """Where the spikes of every frame are, in a file of its own or in one for all."""
    height, width = size.shape
    if path.is_dir():
        files = _file_per_frame(path, ".dat", frames)
        steps = _equal_lengths(files, height, width)
        return [FrameSpikes(file, (0, steps), height, width) for file in files]
    if windows is not None:
        total = count_frames(path, height=height, width=width)
        return [FrameSpikes(path, window, height, width) for window in _logged_windows(windows, path, frames, total)]
    steps = _equal_window(path, frames.count, height, width)
    starts = (frame * steps for frame in range(frames.count))
    return [FrameSpikes(path, (start, start + steps), height, width) for start in starts]


def _array_of_counts(path: Path, frames: FrameSource, bins: int) -> FrameArray:
    """The prepared counts; raises InputError unless there are as many as frames, of so many bins."""
    array = open_frames_array(path)
    if (array.shape[0], array.shape[3]) != (frames.count, bins):
        raise InputError(
            f"expected counts of {frames.count} frames in {bins} bins, "
            f"found {array.shape[0]} in {array.shape[3]}: {path}"
        )
    return array


def _read_array(array: FrameArray, number: int) -> Counts:
    return array.read(number, number + 1)[0]


def _logged_windows(log: str | Path, stream: Path, frames: FrameSource, total: int) -> list[tuple[int, int]]:
    """The window [t0, t1) of every frame, from a CSV file, within a stream of `total` spike frames."""
    try:
        with Path(log).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        named = [row for row in rows if row.get("sequence") in (None, *(part.name for part in stream.parents))]
        windows = [(int(row["t0"]), int(row["t1"])) for row in named]
    except DAMAGED_TABLE as error:
        raise InputError(
            f"expected a CSV file with whole numbers in columns t0 and t1, found {error!r}: {log}"
        ) from error
    if len(windows) != frames.count:
        raise InputError(f"expected a window for each of {frames.count} frames, found {len(windows)} in {log}")
    for start, stop in windows:
        if not 0 <= start < stop <= total:
            raise InputError(
                f"expected windows within the {total} spike frames of {stream.name}, found {start} to {stop} in {log}"
            )
    return windows


def _file_per_frame(folder: Path, suffix: str, frames: FrameSource) -> list[Path]:
    """The files for the frames: of the frames' names if they have names, else in natural order."""
    files = sorted(folder.glob(f"[!.]*{suffix}"), key=lambda file: natural_key(file.name))
    if not files:
        raise InputError(f"expected spike files (.dat or .npy), found none in folder {folder}")
    if frames.names is not None:
        for name in frames.names:
            file = (folder / name).with_suffix(suffix)
            if not file.is_file():
                raise InputError(f"expected a spike file for frame {name}, found no {file}")
    if len(files) != frames.count:
        raise InputError(
            f"expected as many spike files as frames ({frames.count}), found {len(files)} {suffix} in folder {folder}"
        )
    # As many as frames, and one for each frame's name: the natural order of both is the same.
    return files


def _equal_lengths(files: Sequence[Path], height: int, width: int) -> int:
    """The number of spike frames, which all files share."""
    lengths = [count_frames(file, height=height, width=width) for file in files]
    for file, length in zip(files, lengths, strict=True):
        if length != lengths[0]:
            raise InputError(
                f"expected windows of equal length, {files[0].name} has {lengths[0]} spike frames ({height}x{width}) "
                f"but {file.name} has {length} in folder {file.parent}"
            )
    return lengths[0]


def _equal_window(file: Path, windows: int, height: int, width: int) -> int:
    """The number of spike frames in each of so many windows of one file."""
    steps = count_frames(file, height=height, width=width)
    if steps % windows:
        raise InputError(
            f"expected a window of equal length for each of {windows} frames, "
            f"found {steps} spike frames ({height}x{width}): {file}"
        )
    return steps // windows


def _read_counts(file: Path) -> Float32[np.ndarray, "h w k"]:
    return np.ascontiguousarray(np.moveaxis(_load_counts(file), 0, -1), dtype=np.float32)


def _load_counts(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except DAMAGED_ARRAY as error:
        raise InputError(f"expected a whole .npy file of voxels, found a damaged one: {file}") from error


def _size_of_counts(files: Sequence[Path], bins: int) -> tuple[int, int]:
    """(height, width), which all files share."""
    expected: tuple[int, ...] | None = None
    for file in files:
        shape = _load_counts(file).shape
        expected = expected or (bins, *shape[1:])
        if len(shape) != 3 or shape != expected:
            raise InputError(f"expected voxels (bins, height, width) of shape {expected}, found {shape}: {file}")
    assert expected is not None
    return expected[1], expected[2]
