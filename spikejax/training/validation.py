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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from spikejax.data.datasets.degradation import without_network
from spikejax.errors import InputError
from spikejax.progress import with_progress
from spikejax.quality import metrics

# (this host's rows of the batch: input [b,t,h,w,3], voxels [b,t,h',w',k] or None) -> restored clips [t,h,w,3] by their
# row in the whole batch; over all hosts every row once
Restore = Callable[[np.ndarray, np.ndarray | None], Mapping[int, np.ndarray]]
Clip8 = UInt8[np.ndarray, "t h w 3"]


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
    """What a validation measured.

    Attributes:
        scores: of each metric before and after restoring, such as psnr_blur and psnr_recon, over all sequences.
        frames: the same of every frame, by sequence.
        pictures: by sequence: input | restored | ground truth of its middle frame.
    """

    scores: dict[str, float]
    frames: dict[str, list[dict[str, float]]]
    pictures: dict[str, UInt8[np.ndarray, "h w3 3"]]


@dataclasses.dataclass(frozen=True)
class BatchRestorer:
    """A network, and the batches of clips that it takes.

    Attributes:
        restore: the network.
        frames: frames of a clip.
        batch_size: clips at once over all hosts; short batches are filled up with repetitions, which do not count.
        rows: the rows of a batch that this host gives to `restore`; None = all.
    """

    restore: Restore
    frames: int
    batch_size: int = 1
    rows: range | None = None


@dataclasses.dataclass(frozen=True)
class _Clip:
    """A part of a sequence that is restored at once.

    Attributes:
        name: of the sequence.
        start, stop: its frames.
        counted: of those, from the first, how many count; the others are the next clip's.
        row: of the first frame in the table of all frames.
    """

    name: str
    start: int
    stop: int
    counted: int
    row: int


def validate(
    restorer: BatchRestorer,
    dataset: Sequences,
    *,
    limit: int = 0,
    pictures: int = 0,
    measures: Mapping[str, metrics.Distance] = metrics.STANDARD,
    sum_over_hosts: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    stop: Callable[[], bool] = lambda: False,
    task: str = "",
) -> Validation | None:
    """The scores over all sequences: the mean over each one's frames, then over the sequences.

    Args:
        restorer: the network.
        dataset: the sequences; their sizes may differ.
        limit: how many sequences are used, from the first; 0 = all.
        pictures: from how many sequences, the first ones, a picture is kept.
        measures: what is measured, by name.
        sum_over_hosts: adds up an array of every host.
        stop: asked before each batch, on all hosts alike; once it says so the validation ends and returns None.
        task: under which progress is shown on the terminal; "" = it is not.
    """
    sequences = dataset.sequences()[: limit or None]
    if not sequences:
        raise ValueError("expected at least one sequence to validate on, found none")
    batches = _batches(dataset, sequences, restorer.frames, restorer.batch_size)
    clips = sum(len(batch) for batch in batches)
    table = _ScoreTable(sequences, measures, _blank_pictures(dataset, sequences[:pictures]))
    for batch in with_progress(batches, task, total=clips, unit="clip", size=len) if task else batches:
        if stop():
            return None
        for clip, versions in _restore(restorer, dataset, batch):
            table.add(clip, *versions)
    return table.summarise(sum_over_hosts)


def _restore(
    restorer: BatchRestorer, dataset: Sequences, batch: list[_Clip]
) -> Iterator[tuple[_Clip, tuple[Clip8, Clip8, Clip8]]]:
    """Yields the clips of a batch that this host answers for: before restoring, restored and sharp, in 8 bits.

    A host reads the rows of the batch that its devices hold, b of the batch's clips, and hands the network their
    inputs [b, t, h, w, 3] and voxels [b, t, h', w', k]. Where devices of two hosts hold parts of one clip both read
    it, and `restore` gives it back to one of them. So neither the rows read nor those restored are all clips of the
    batch, and each host works on those that it is given back.
    """
    rows = range(restorer.batch_size) if restorer.rows is None else restorer.rows
    # A batch that is too short is filled up with its last clip: the compiled program has one shape.
    loaded = {row: _read(dataset, batch[min(row, len(batch) - 1)]) for row in rows}
    inputs, voxels = (_stack([clip.get(kind) for clip in loaded.values()]) for kind in ("input", "voxels"))
    for row, restored in restorer.restore(inputs, voxels).items():
        if row >= len(batch):
            continue  # a repetition
        sharp = loaded[row]["sharp"]
        if restored.shape != sharp.shape:
            raise InputError(
                f"expected the network to make clips {sharp.shape} like the sharp ones, found {restored.shape}"
            )
        before = without_network(loaded[row]["input"], sharp)
        counted = batch[row].counted
        versions = (np.asarray(clip[:counted], np.float32) for clip in (before, restored, sharp))
        before8, restored8, sharp8 = (metrics.to_uint8(clip) for clip in versions)
        yield batch[row], (before8, restored8, sharp8)


class _ScoreTable:
    """The scores of all frames, of which every host fills in its own, and pictures of some.

    One row per frame, sequences one after the other in their order; one column per score, and a last one that counts:
    it is 1 in the rows that this host has filled in, all others are 0. Summed over hosts it must be 1 everywhere.
    """

    def __init__(
        self,
        sequences: list[tuple[str, int]],
        measures: Mapping[str, metrics.Distance],
        pictures: dict[str, np.ndarray],
    ) -> None:
        self._sequences, self._measures, self._pictures = sequences, measures, pictures
        self._columns = metrics.score_names(measures)
        self._middle = {name: length // 2 for name, length in sequences}
        self._values = np.zeros((sum(length for _, length in sequences), len(self._columns) + 1))

    def add(self, clip: _Clip, before: Clip8, restored: Clip8, sharp: Clip8) -> None:
        """Measures the frames of a clip that count."""
        for row, frame in enumerate(zip(before, restored, sharp, strict=True), clip.row):
            scores = metrics.scores_of_frame(*frame, self._measures)
            self._values[row] = [*(scores[name] for name in self._columns), 1.0]
        middle = self._middle[clip.name] - clip.start
        if clip.name in self._pictures and 0 <= middle < clip.counted:
            self._pictures[clip.name] = np.concatenate([before[middle], restored[middle], sharp[middle]], axis=1)

    def summarise(self, sum_over_hosts: Callable[[np.ndarray], np.ndarray]) -> Validation:
        """What all hosts have measured."""
        values = sum_over_hosts(self._values)
        if not np.array_equal(values[:, -1], np.ones(len(values))):
            raise RuntimeError("a frame was measured not at all or more than once")
        ends = np.cumsum([length for _, length in self._sequences])
        parts = np.split(values[:, :-1], ends[:-1])
        frames = {
            name: [dict(zip(self._columns, row, strict=True)) for row in part.tolist()]
            for (name, _), part in zip(self._sequences, parts, strict=True)
        }
        means = np.mean([part.mean(axis=0) for part in parts], axis=0)
        return Validation(
            scores=dict(zip(self._columns, means.tolist(), strict=True)),
            frames=frames,
            pictures={name: sum_over_hosts(picture) for name, picture in self._pictures.items()},
        )


def _batches(dataset: Sequences, sequences: list[tuple[str, int]], frames: int, batch_size: int) -> list[list[_Clip]]:
    """Clips of one shape together, sequences in their order, so that few batches have to be filled up."""
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
    """Black pictures, which hosts that do not restore the frame in question add to the sum."""
    sizes = (dataset.size(window)[:2] for window in dataset.first_windows())
    return {
        name: np.zeros((height, 3 * width, 3), np.uint8)
        for (name, _), (height, width) in zip(sequences, sizes, strict=False)
    }


def _read(dataset: Sequences, clip: _Clip) -> dict[str, Any]:
    return dataset.read_sequence(clip.name, clip.start, clip.stop)


def _stack(clips: list[Any]) -> Any:
    return None if clips[0] is None else np.stack(clips)
