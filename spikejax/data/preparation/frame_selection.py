"""Which frames of a published data set can be used: what does not fit together is left out, with the reason.

Looks at the headers of pictures and the sizes of streams, at no content; what only the content tells (see
`preparation`) comes back here, since a frame that is left out splits its sequence in two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from spikejax.data.datasets.layout import DroppedFrame
from spikejax.data.datasets.usable_frames import consecutive_runs
from spikejax.data.preparation.published_layouts import SourceFrame, SourceSequence
from spikejax.data.spikes.any_stream import count_steps, size_of
from spikejax.data.spikes.resolution import spike_ratio
from spikejax.data.spikes.stream_size import StreamSize
from spikejax.errors import InputError, one_line
from spikejax.io.pictures import picture_header

# A frame of the source: split, sequence and name.
FrameKey = tuple[str, str, str]
# Says why a frame's content cannot be used; "" = it can, or has not been read yet.
ContentProblem = Callable[[FrameKey, "PlannedFrame"], str]


@dataclass(frozen=True)
class PlannedFrame:
    """A frame that can be used, as far as its files' headers tell.

    Attributes:
        name: as its files call it.
        blur: the file of the blurry picture.
        sharp: the file of the sharp picture.
        stream: the file that holds its spikes.
        window: steps [t0, t1) of the file.
        t0: first step of its exposure, counted from the start of the sequence.
    """

    name: str
    blur: Path
    sharp: Path
    stream: Path
    window: tuple[int, int]
    t0: int

    @property
    def steps(self) -> int:
        """Stream frames of its exposure."""
        return self.window[1] - self.window[0]


@dataclass(frozen=True)
class PlannedSequence:
    """Consecutive usable frames.

    Attributes:
        split: "train" or "val".
        name: of the folder to write: the source's, followed by "@" and the first frame where it is only a part.
        source: the source's name.
        frames: without a gap.
        size: height and width of the pictures.
        stream_size: of the spikes, and who says it.
        upside_down: whether the streams' rows are stored the other way round.
    """

    split: str
    name: str
    source: str
    frames: tuple[PlannedFrame, ...]
    size: tuple[int, int]
    stream_size: StreamSize
    upside_down: bool = False

    @property
    def spike_size(self) -> tuple[int, int]:
        """Height and width of the spikes."""
        return self.stream_size.shape


@dataclass(frozen=True)
class FrameRules:
    """What is asked of a frame beyond that its files belong together.

    Attributes:
        spike_size: height and width of the spikes, where no config.yaml says it (see `stream_size`).
        flip_spikes: whether the camera stored the rows of its streams the other way round.
        grey: whether grey pictures are taken, with three equal channels.
        smallest_side: of the pictures, such as the training crop.
    """

    spike_size: tuple[int, int] | None = None
    flip_spikes: bool = False
    grey: bool = False
    smallest_side: int = 1


@dataclass
class PreparationPlan:
    """What will be written, and what will not.

    Attributes:
        sequences: to write, of all splits.
        dropped: of each split, the frames that are left out, with the reasons.
    """

    sequences: list[PlannedSequence] = field(default_factory=list)
    dropped: dict[str, list[DroppedFrame]] = field(default_factory=dict)


def plan_preparation(
    sources: Iterable[SourceSequence], rules: FrameRules, content_problem: ContentProblem
) -> PreparationPlan:
    """The plan for all sequences.

    Args:
        sources: as published.
        rules: what is asked of a frame.
        content_problem: why the content of a frame is useless, as far as it has been read; "" if it is not.
    """
    plan = PreparationPlan()
    stream_frames = lru_cache(_count_steps)  # many frames may share a stream
    for source in sources:
        dropped = plan.dropped.setdefault(source.split, [])
        usable = dict(_usable(source, rules, content_problem, dropped, stream_frames))
        for frames in consecutive_runs(usable):
            first = frames[0]
            name = source.name if len(frames) == len(source.frames) else f"{source.name}@{first.name}"
            size = picture_header(first.blur)[1]
            spikes = _spike_size(source, first.stream, size, rules)
            plan.sequences.append(
                PlannedSequence(source.split, name, source.name, frames, size, spikes, rules.flip_spikes)
            )
    return plan


def _usable(
    source: SourceSequence,
    rules: FrameRules,
    content_problem: ContentProblem,
    dropped: list[DroppedFrame],
    stream_frames: Callable[[Path, int, int], int],
) -> Iterator[tuple[int, PlannedFrame]]:
    """The usable frames of a sequence with their numbers; the others go to `dropped`."""
    sharing = Counter(frame.stream for frame in source.frames if frame.window is None and frame.stream is not None)
    size: tuple[int, int] | None = None
    end = 0
    for index, candidate in enumerate(source.frames):
        try:
            if candidate.problem:
                raise InputError(candidate.problem)
            assert candidate.blur is not None and candidate.sharp is not None and candidate.stream is not None
            size = size or picture_header(candidate.blur)[1]
            for path in (candidate.blur, candidate.sharp):
                _check_picture(path, size, rules)
            spike_size = _spike_size(source, candidate.stream, size, rules).shape
            steps = stream_frames(candidate.stream, *spike_size)
            equal_parts = len(source.frames) if sharing[candidate.stream] > 1 else 1
            window = _window(candidate, source.steps, _Stream(candidate.stream, steps, spike_size), index, equal_parts)
            t0 = window[0] if equal_parts > 1 else end
            t0 = t0 if candidate.t0 is None else candidate.t0
            planned = PlannedFrame(candidate.name, candidate.blur, candidate.sharp, candidate.stream, window, t0)
            end = t0 + planned.steps
            if problem := content_problem((source.split, source.name, candidate.name), planned):
                raise InputError(problem)
        except InputError as error:
            dropped.append(DroppedFrame(source.name, candidate.name, one_line(error)))
            continue
        yield candidate.number, planned


def _check_picture(path: Path, size: tuple[int, int], rules: FrameRules) -> None:
    mode, own_size = picture_header(path)
    if mode != "RGB" and not (rules.grey and mode == "L"):
        hint = " (--grey takes such pictures)" if mode == "L" else ""
        raise InputError(f"expected an 8-bit RGB picture, found mode {mode}{hint}: {path}")
    if own_size != size:
        raise InputError(f"expected a picture of {_by(size)} as the sequence's first, found {_by(own_size)}: {path}")
    if min(size) < rules.smallest_side:
        raise InputError(f"expected a short side of at least {rules.smallest_side}, found {_by(size)}: {path}")


@dataclass(frozen=True)
class _Stream:
    """A stream of spikes.

    Attributes:
        path: its file.
        steps: number of its frames.
        size: their height and width.
    """

    path: Path
    steps: int
    size: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.steps} of {_by(self.size)}: {self.path}"


def _window(
    candidate: SourceFrame, expected: int | None, stream: _Stream, index: int, equal_parts: int
) -> tuple[int, int]:
    """The steps of the stream's file that belong to the frame: as it says, or the `index`-th of `equal_parts`."""
    if candidate.window is not None:
        t0, t1 = candidate.window
        if not 0 <= t0 < t1 <= stream.steps:
            raise InputError(f"expected stream frames {t0} to {t1 - 1}, found {stream}")
        return t0, t1
    if candidate.margin:
        inner = stream.steps - 2 * candidate.margin
        if inner < 1 or expected not in (None, inner):
            wanted = "some" if expected is None else expected
            raise InputError(f"expected {wanted} stream frames between margins of {candidate.margin}, found {stream}")
        return candidate.margin, candidate.margin + inner
    if expected is not None and stream.steps != expected:
        raise InputError(f"expected {expected} stream frames in the window, found {stream}")
    if stream.steps % equal_parts:
        raise InputError(f"expected stream frames for {equal_parts} windows of equal length, found {stream}")
    each = stream.steps // equal_parts
    first = index * each if equal_parts > 1 else 0
    return first, first + each


def _spike_size(source: SourceSequence, stream: Path, size: tuple[int, int], rules: FrameRules) -> StreamSize:
    """The size of a sequence's spikes, which has to fit that of its pictures."""
    ratio = source.ratio
    by_name = ratio and StreamSize(size[0] // ratio, size[1] // ratio, "the published folder's name")
    found = size_of(stream, given=rules.spike_size, option="--spike-size", pictures=size, otherwise=by_name or None)
    spike_ratio(size, found.shape, source=stream)
    return found


def _count_steps(path: Path, height: int, width: int) -> int:
    return count_steps(path, height=height, width=width)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
