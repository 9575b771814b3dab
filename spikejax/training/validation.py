"""Validation: whole sequences at full size, on all hosts, measured on 8-bit frames as the published evaluation does.

A sequence longer than `frames` is cut into clips of that length; the last clip is moved back to end with the
sequence, so that all clips have one shape and one compiled program serves all sequences of a size. Frames that two
clips cover are those of the later clip. Every host restores and measures its share of each batch of clips and fills in
its rows of one table of frames; the sum over hosts has every frame exactly once.

Where the input is no clip of the sharp clip's shape, "blur" is what one would see without a network (see
`spikejax.data.datasets.degradation.without_network`).
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from spikejax.data.datasets.degradation import without_network
from spikejax.errors import InputError
from spikejax.progress import with_progress
from spikejax.quality import metrics

# (this host's rows of the batch: blur [b,t,h,w,3], voxels [b,t,h',w',k] or None) -> restored clips [t,h,w,3] by their
# row in the whole batch; over all hosts every row once
Restore = Callable[[np.ndarray, np.ndarray | None], Mapping[int, np.ndarray]]


@runtime_checkable
class Sequences(Protocol):
    """A data set that can say what it holds without reading it; `FolderDataset` is one."""

    def sequences(self) -> list[tuple[str, int]]:
        """Name and number of frames of every sequence."""

    def first_windows(self) -> list[int]:
        """The first window of every sequence."""

    def size(self, index: int) -> tuple[int, int, int]:
        """Height, width, and picture size over spike size of a window."""

    def read_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """Frames of a sequence: "input", "sharp" and, with spikes, "voxels"."""


@dataclasses.dataclass(frozen=True)
class Validation:
    """What a validation found."""

    scores: dict[str, float]  # psnr_blur, psnr_recon [dB], ssim_blur, ssim_recon and the same on Y (psnr_y_blur ...)
    frames: dict[str, list[dict[str, float]]]  # the same of every frame, by sequence
    pictures: dict[str, UInt8[np.ndarray, "h w3 3"]]  # by sequence: blur | recon | sharp of its middle frame


@dataclasses.dataclass(frozen=True)
class _Clip:
    """A part of a sequence that is restored at once."""

    name: str
    start: int  # its first frame
    stop: int
    counted: int  # frames that count; those after them are the next clip's
    row: int  # of the first frame in the table of all frames


def validate(
    restore: Restore,
    dataset: Sequences,
    *,
    frames: int,
    batch_size: int = 1,
    rows: range | None = None,
    most: int = 0,
    pictures: int = 0,
    measures: Mapping[str, metrics.Distance] = metrics.STANDARD,
    sum_over_hosts: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    stop: Callable[[], bool] = lambda: False,
    task: str = "",
) -> Validation | None:
    """Returns the scores over all sequences: the mean over each one's frames, then over the sequences.

    Args:
        restore: the network.
        dataset: the sequences; their sizes may differ.
        frames: frames the network sees at once.
        batch_size: clips at once over all hosts; short batches are filled up with repetitions, which do not count.
        rows: the rows of a batch that this host gives to `restore`; None = all.
        most: how many sequences are used, from the first; 0 = all.
        pictures: from how many sequences, the first ones, a picture is kept.
        measures: what is measured, by name.
        sum_over_hosts: adds up an array of every host.
        stop: asked before each batch, on all hosts alike; once it says so the validation ends and returns None.
        task: under which progress is shown on the terminal; "" = it is not.
    """
    sequences = dataset.sequences()[: most or None]
    if not sequences:
        raise ValueError("validation needs at least one sequence, got none")
    columns = metrics.score_names(measures)
    table = np.zeros((sum(length for _, length in sequences), len(columns) + 1))  # the last column counts
    kept = _blank_pictures(dataset, sequences[:pictures])
    middle = {name: length // 2 for name, length in sequences}
    own_rows = range(batch_size) if rows is None else rows
    batches = _batches(dataset, sequences, frames, batch_size)
    clips = sum(len(batch) for batch in batches)
    for batch in with_progress(batches, task, total=clips, unit="clip", size=len) if task else batches:
        if stop():
            return None
        loaded = {row: _read(dataset, batch[min(row, len(batch) - 1)]) for row in own_rows}
        blur, voxels = (_stack([clip.get(kind) for clip in loaded.values()]) for kind in ("input", "voxels"))
        for row, recon in restore(blur, voxels).items():
            if row >= len(batch):
                continue  # a repetition
            clip = batch[row]
            sharp = loaded[row]["sharp"]
            if recon.shape != sharp.shape:
                raise InputError(
                    f"the network makes clips {recon.shape}, expected those of the sharp ones, {sharp.shape}"
                )
            kinds = (without_network(loaded[row]["input"], sharp), recon, sharp)
            blur8, recon8, sharp8 = (metrics.to_uint8(np.asarray(kind[: clip.counted], np.float32)) for kind in kinds)
            table[clip.row : clip.row + clip.counted] = _measure(blur8, recon8, sharp8, columns, measures)
            frame = middle[clip.name] - clip.start
            if clip.name in kept and 0 <= frame < clip.counted:
                kept[clip.name] = np.concatenate([blur8[frame], recon8[frame], sharp8[frame]], axis=1)
    table = sum_over_hosts(table)
    if not np.array_equal(table[:, -1], np.ones(len(table))):
        raise RuntimeError("a frame was measured not at all or more than once")
    kept = {name: sum_over_hosts(picture) for name, picture in kept.items()}
    return _summarise(table, columns, sequences, kept)


def _batches(dataset: Sequences, sequences: list[tuple[str, int]], frames: int, batch_size: int) -> list[list[_Clip]]:
    """Returns clips of one shape together, sequences in their order, so that few batches have to be filled up."""
    by_shape: dict[tuple[int, ...], list[_Clip]] = {}
    row = 0
    for (name, total), window in zip(sequences, dataset.first_windows(), strict=False):
        length = min(frames, total)
        starts = [min(start, total - length) for start in range(0, total, length)]
        for start, following in itertools.pairwise([*starts, total]):
            clips = by_shape.setdefault((length, *dataset.size(window)), [])
            clips.append(_Clip(name, start, start + length, counted=following - start, row=row + start))
        row += total
    return [
        clips[first : first + batch_size] for clips in by_shape.values() for first in range(0, len(clips), batch_size)
    ]


def _blank_pictures(dataset: Sequences, sequences: list[tuple[str, int]]) -> dict[str, np.ndarray]:
    """Returns black pictures, which hosts that do not restore the frame in question add to the sum."""
    sizes = (dataset.size(window)[:2] for window in dataset.first_windows())
    return {
        name: np.zeros((height, 3 * width, 3), np.uint8)
        for (name, _), (height, width) in zip(sequences, sizes, strict=False)
    }


def _read(dataset: Sequences, clip: _Clip) -> dict[str, Any]:
    return dataset.read_sequence(clip.name, clip.start, clip.stop)


def _stack(clips: list[Any]) -> Any:
    return None if clips[0] is None else np.stack(clips)


def _measure(
    blur: UInt8[np.ndarray, "t h w 3"],
    recon: UInt8[np.ndarray, "t h w 3"],
    sharp: UInt8[np.ndarray, "t h w 3"],
    columns: list[str],
    measures: Mapping[str, metrics.Distance],
) -> Float[np.ndarray, "t figures"]:
    """Returns a row per frame: the figures and a 1 that counts it."""
    found = [metrics.compare(*frame, measures) for frame in zip(blur, recon, sharp, strict=True)]
    return np.asarray([[*(scores[name] for name in columns), 1.0] for scores in found])


def _summarise(
    table: np.ndarray, columns: list[str], sequences: list[tuple[str, int]], pictures: dict[str, np.ndarray]
) -> Validation:
    ends = np.cumsum([length for _, length in sequences])
    parts = dict(zip((name for name, _ in sequences), np.split(table[:, :-1], ends[:-1]), strict=True))
    means = np.mean([part.mean(axis=0) for part in parts.values()], axis=0)
    return Validation(
        scores=dict(zip(columns, means.tolist(), strict=True)),
        frames={name: [dict(zip(columns, row, strict=True)) for row in part.tolist()] for name, part in parts.items()},
        pictures=pictures,
    )
