"""The voxels that belong to the frames of an input, read one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Real

from spikejax.data.dat import count_frames, read_config
from spikejax.data.spike_files import FrameSpikes
from spikejax.data.statistics import SpikeStatistics
from spikejax.data.video import FrameSource, natural_key
from spikejax.data.voxels import standardise
from spikejax.errors import InputError

_CountReader = Callable[[], Real[np.ndarray, "h w k"]]


class VoxelSource:
    """The standardised voxels [h',w',k] of every frame, in order.

    Attributes:
        shape: (h', w', k) of each frame's voxels.
        notes: what the user should know about these spikes.
    """

    def __init__(
        self,
        path: str | Path,
        frames: FrameSource,
        *,
        statistics: SpikeStatistics,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Finds the spikes of all frames and checks the files' sizes, without reading what is in them.

        Args:
            path: a folder with a `.dat` per frame, a folder with an `.npy` (K,H,W) of counts per frame, or one `.dat`
                for all frames, which is cut into windows of equal length.
            frames: the frames that the spikes belong to.
            statistics: of the training set; its bins are the network's.
            size: (height, width) of the spike camera; None = as config.yaml beside the spikes says, else the frames'.

        Raises:
            InputError: a file is missing, damaged, or of another size or length than the frames.
        """
        self._statistics = statistics
        self._readers: Sequence[_CountReader]
        self.notes: list[str] = []
        path = Path(path)
        if not path.exists():
            raise InputError(f"expected a folder or a file of spikes, found nothing at {path}")
        if path.is_dir() and not any(path.glob("[!.]*.dat")):
            files = _file_per_frame(path, ".npy", frames)
            height, width = _size_of_counts(files, statistics.bins)
            self._readers = [partial(_read_counts, file) for file in files]
        else:
            folder = path if path.is_dir() else path.parent
            height, width = size or _size_beside(folder, (frames.height, frames.width))
            self._readers = self._read_windows(path, frames, height, width)
        _check_resolution(path, (height, width), (frames.height, frames.width))
        self.shape = (height, width, statistics.bins)

    def __iter__(self) -> Iterator[Float32[np.ndarray, "h w k"]]:
        for read in self._readers:
            yield standardise(read(), mean=self._statistics.mean, std=self._statistics.std)

    def _read_windows(self, path: Path, frames: FrameSource, height: int, width: int) -> list[_CountReader]:
        bins = self._statistics.bins
        if path.is_dir():
            files = _file_per_frame(path, ".dat", frames)
            steps = _equal_lengths(files, height, width)
            spikes = [FrameSpikes(file, (0, steps), height, width) for file in files]
        else:
            steps = _equal_window(path, frames.count, height, width)
            starts = (frame * steps for frame in range(frames.count))
            spikes = [FrameSpikes(path, (start, start + steps), height, width) for start in starts]
        if steps < bins:
            self.notes.append(f"{steps} spike frames a window fill at most {steps} of the {bins} time bins")
        return [partial(window.counts, bins) for window in spikes]


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
    except (OSError, ValueError, EOFError) as error:
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


def _size_beside(folder: Path, default: tuple[int, int]) -> tuple[int, int]:
    if not (folder / "config.yaml").exists():
        return default
    config = read_config(folder)
    return config.height, config.width


def _check_resolution(path: Path, size: tuple[int, int], frame: tuple[int, int]) -> None:
    """Raises InputError unless the spikes have the frames' size divided by a whole number."""
    ratio = frame[0] // size[0]
    if (size[0] * ratio, size[1] * ratio) != frame:
        raise InputError(
            f"expected spikes of the frames' size {frame[0]}x{frame[1]} (height x width) or a whole part of it, "
            f"found {size[0]}x{size[1]}: {path}"
        )
