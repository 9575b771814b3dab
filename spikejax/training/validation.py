"""Validation: whole sequences, restored by tiles and measured on 8-bit frames as the published evaluation does.

Frames are cut up, restored and blended by the code that `spikejax.restore` uses, whether the network is being trained,
is evaluated or is part of an experiment. All hosts restore every frame, each on its devices' share of the tiles, and
measure their share of the frames; each fills in its rows of one table, whose sum over hosts has every frame exactly
once.

Where the input is no picture of the sharp picture's size, "blur" is what one would see without a network (see
`spikejax.data.datasets.degradation.without_network`).
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Num, UInt8
from ml_collections import ConfigDict

from spikejax.data.datasets.degradation import without_network
from spikejax.distributed.stall_watch import DATA, waiting_for
from spikejax.errors import InputError
from spikejax.inference.clip_blending import InputFrame
from spikejax.inference.restored_stream import RestoredStream, StreamSettings, TileNetwork
from spikejax.inference.tiling import Extent
from spikejax.progress import Progress
from spikejax.quality import metrics
from spikejax.quality.score_files import mean_scores

Picture = UInt8[np.ndarray, "h w 3"]


@runtime_checkable
class Sequences(Protocol):
    """A data set that can say what it holds without reading it; `FolderDataset` is one."""

    def sequences(self) -> list[tuple[str, int]]:
        """Name and number of frames of every sequence."""

    def read_stored_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """Frames of a sequence as stored: "input", "sharp" and, with spikes, "voxels"."""


@dataclasses.dataclass(frozen=True)
class Validation:
    """What a validation measured.

    Attributes:
        scores: of each metric before and after restoring, such as psnr_blur and psnr_recon, over all sequences.
        frames: the same of every frame, by sequence.
        pictures: by sequence: input | restored | ground truth of its middle frame.
        black_tiles: how many tiles were not finite and count as black.
    """

    scores: dict[str, float]
    frames: dict[str, list[dict[str, float]]]
    pictures: dict[str, UInt8[np.ndarray, "h w3 3"]]
    black_tiles: int = 0


@dataclasses.dataclass(frozen=True)
class HostShare:
    """The frames that this host measures: of every `count`, that of its number.

    Attributes:
        number: of the host, from 0.
        count: of the hosts.
        add: adds up an array of every host.
    """

    number: int = 0
    count: int = 1
    add: Callable[[np.ndarray], np.ndarray] = lambda array: array


ALONE = HostShare()


@dataclasses.dataclass(frozen=True)
class ShownFrame:
    """A frame that was restored, in 8 bits.

    Attributes:
        before: what one would see without a network.
        restored: what the network made of it.
        sharp: the true frame.
        black_tiles: how many tiles were not finite and became black, from the first frame to this one's clip.
    """

    before: Picture
    restored: Picture
    sharp: Picture
    black_tiles: int = 0

    @property
    def side_by_side(self) -> UInt8[np.ndarray, "h w3 3"]:
        """All three in one picture."""
        return np.concatenate([self.before, self.restored, self.sharp], axis=1)


@dataclasses.dataclass(frozen=True)
class SequenceRestorer:
    """A network, and how sequences are cut up for it.

    Attributes:
        network: restores tiles.
        settings: how.
        middle_up_to: of a sequence of at most so many frames the middle one alone counts; 0 = all frames always do.
    """

    network: TileNetwork
    settings: StreamSettings
    middle_up_to: int = 0

    @property
    def at_once(self) -> int:
        """Frames that are read at once; a long sequence need not fit into memory."""
        return self.settings.tile.frames or 8

    def counted(self, length: int) -> slice:
        """The frames of a sequence of so many that count."""
        return slice(length // 2, length // 2 + 1) if length <= self.middle_up_to else slice(None)

    def restore(self, dataset: Sequences, name: str, length: int) -> Iterator[ShownFrame]:
        """Yields the frames of a sequence, in order.

        Raises:
            InputError: the network makes frames of another size than the sharp ones, or cannot take the sequence.
            FloatingPointError: a tile is not finite, and the settings do not allow that.
        """
        waiting: deque[tuple[Picture, Picture]] = deque()
        interpolates, window = self.network.traits.interpolates, self.network.traits.window
        read = _missing_frames if interpolates else _all_frames

        def frames_from(start: int) -> Iterator[InputFrame]:
            assert start == 0, "nothing is left out that an earlier run has restored"
            return read(dataset, name, length, self.at_once, waiting)

        # Of interpolation what comes out first is not wanted: between the first frames, whose clips are mirrored.
        done = window - 1 if interpolates else 0
        stream = RestoredStream(self.network, frames_from, self.settings, done=done, name=name)
        for item in islice(stream, 0, 2 * length - 1, 2) if interpolates else stream:
            before, sharp = waiting.popleft()
            restored = metrics.to_uint8(item.frame)
            if restored.shape != sharp.shape:
                raise InputError(
                    f"expected the network to make frames {sharp.shape} like the sharp ones, found {restored.shape}"
                )
            yield ShownFrame(before, restored, sharp, stream.finite.black)


def _all_frames(
    dataset: Sequences, name: str, length: int, at_once: int, waiting: deque[tuple[Picture, Picture]]
) -> Iterator[InputFrame]:
    """Yields the input of a sequence; what belongs to each frame is added to `waiting`."""
    for start in range(0, length, at_once):
        with waiting_for(DATA):
            stored = dataset.read_stored_sequence(name, start, min(start + at_once, length))
        voxels = stored.get("voxels")
        for number, (picture, sharp) in enumerate(zip(stored["input"], stored["sharp"], strict=True)):
            waiting.append((without_network(picture[np.newaxis], *sharp.shape[:2]), sharp))
            yield InputFrame(_as_input(picture), None if voxels is None else voxels[number])


def _missing_frames(
    dataset: Sequences, name: str, length: int, at_once: int, waiting: deque[tuple[Picture, Picture]]
) -> Iterator[InputFrame]:
    """Yields the frames between which others are sought: a sample's first ones are the last ones of those before."""
    for number in range(length):
        with waiting_for(DATA):
            stored = dataset.read_stored_sequence(name, number, number + 1)
        (sharp,) = stored["sharp"]
        waiting.append((without_network(stored["input"], *sharp.shape[:2]), sharp))
        for picture in stored["input"][0 if number == 0 else -1 :]:
            yield InputFrame(_as_input(picture))


def _as_input(stored: Num[np.ndarray, "h w c"]) -> Num[np.ndarray, "h w 3"]:
    """A stored picture as what restores takes it: a noisy one, which is no picture of 8 bits, in [0, 1]."""
    return stored if stored.dtype == np.uint8 else stored[..., :3].astype(np.float32) / np.float32(255)


def validation_tiles(config: ConfigDict, *, frames: int | None = None) -> tuple[Extent, Extent]:
    """The tile and the overlap of a validation: clips follow each other, whose frames are cut up as for restoring.

    Args:
        config: of the run.
        frames: that the network sees at once; None = as the configuration says.
    """
    _, *tile = config.restore.tile
    _, *overlap = config.restore.overlap
    return Extent(frames or config.validation.frames, *tile), Extent(0, *overlap)


def middle_up_to(config: ConfigDict) -> int:
    """Frames of the longest sequence of which a validation counts the middle one alone; 0 = of none."""
    return config.validation.frames if config.validation.middle_frame else 0


def validate(
    restorer: SequenceRestorer,
    dataset: Sequences,
    *,
    limit: int = 0,
    pictures: int = 0,
    measures: Mapping[str, metrics.Distance] = metrics.STANDARD,
    share: HostShare = ALONE,
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
        share: the frames that this host measures.
        stop: asked now and then, on all hosts alike; once it says so the validation ends and returns None.
        task: under which progress is shown on the terminal; "" = it is not.
    """
    sequences = dataset.sequences()[: limit or None]
    if not sequences:
        raise ValueError("expected at least one sequence to validate on, found none")
    progress = Progress(task, total=sum(length for _, length in sequences), unit="frame") if task else None
    kept: dict[str, UInt8[np.ndarray, "h w3 3"]] = {}
    frames: dict[str, list[dict[str, float]]] = {}
    black_tiles = 0
    for number, (name, length) in enumerate(sequences):
        table, black = ScoreTable(length, measures, share), 0
        for index, shown in enumerate(restorer.restore(dataset, name, length)):
            if index % restorer.at_once == 0 and stop():
                return None
            table.add(index, shown)
            if number < pictures and index == length // 2:
                kept[name] = shown.side_by_side
            if progress is not None:
                progress.advance()
            black = shown.black_tiles
        black_tiles += black
        frames[name] = table.scores(restorer.counted(length))
    if progress is not None:
        progress.finish()
    return Validation(mean_scores([mean_scores(clip) for clip in frames.values()]), frames, kept, black_tiles)


class ScoreTable:
    """The scores of a sequence's frames, of which every host fills in its own.

    One row per frame; one column per score, and a last one that counts: it is 1 in the rows that this host has filled
    in, all others are 0. Summed over hosts it must be 1 in every row that counts.
    """

    def __init__(self, length: int, measures: Mapping[str, metrics.Measure], share: HostShare = ALONE) -> None:
        """Nothing is measured yet.

        Args:
            length: frames of the sequence.
            measures: what is measured, by name.
            share: the frames that this host measures.
        """
        self._share, self._columns = share, metrics.score_names(measures)
        self._scores = metrics.FrameScores(measures)
        self._values = np.zeros((length, len(self._columns) + 1))

    def add(self, index: int, shown: ShownFrame) -> None:
        """Measures the next frame, if it is this host's."""
        own = index % self._share.count == self._share.number
        scores = self._scores.add(shown.before, shown.restored, shown.sharp, measured=own)
        if own:
            # What compares a frame with the one before has no score of the first one.
            self._values[index] = [*(scores.get(name, np.nan) for name in self._columns), 1.0]

    def scores(self, counted: slice = slice(None)) -> list[dict[str, float]]:
        """The scores of the frames that count, by all hosts."""
        values = self._share.add(self._values)[counted]
        if not np.array_equal(values[:, -1], np.ones(len(values))):
            raise RuntimeError("a frame was measured not at all or more than once")
        rows = values[:, :-1].tolist()
        return [
            {name: value for name, value in zip(self._columns, row, strict=True) if not np.isnan(value)} for row in rows
        ]
