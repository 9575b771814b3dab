"""Restoring a stream of frames clip by clip, so that memory does not grow with the length of the video."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, Num

from spikejax.inference.compiled_network import TileArrays
from spikejax.inference.ensemble import PLAIN, Variant
from spikejax.inference.tiling import PROTOCOLS, Extent, Tile, overlapping_clips, spatial_tiles, taper
from spikejax.io.box import Box
from spikejax.io.pixel_depth import to_float32

_T = TypeVar("_T")


@dataclass(frozen=True)
class InputFrame:
    """A frame to be restored.

    Attributes:
        frame: uint8 or uint16, or float32 in [0, 1].
        counts: the spikes of its window, if the network takes spikes.
        time: when it is shown, in seconds; None if nobody knows.
        alpha: how much of it hides what is behind, whole numbers; None if all does.
    """

    frame: Num[np.ndarray, "h w 3"]
    counts: Num[np.ndarray, "h2 w2 k"] | None = None
    time: Fraction | None = None
    alpha: Num[np.ndarray, "h0 w0"] | None = None


class CutTile(NamedTuple):
    """What the network gets of a clip for one tile, and where that lies.

    Attributes:
        arrays: its input.
        variant: the mirrored or turned copy that it is; what a plan cuts has one shape or, where some copies are
            turned, two.
        first_frame: the number of its first frame among all frames of the input.
        box: its place in them.
    """

    arrays: TileArrays
    variant: Variant
    first_frame: int
    box: Box


# The network: takes tiles lazily and yields their restored frames, in order; it may take some before it yields any.
RestoreTiles = Callable[[Iterator[CutTile]], Iterator[Float32[np.ndarray, "t h w 3"]]]


class RestoredFrame(NamedTuple):
    """A frame of the restored video.

    Attributes:
        source: the frame that it was; None where it lies between two.
        frame: about [0, 1].
        time: when it is shown, in seconds; None if nobody knows.
        alpha: how much of it hides what is behind, at the size of the source; None if all does.
    """

    source: InputFrame | None
    frame: Float32[np.ndarray, "h w 3"]
    time: Fraction | None
    alpha: Num[np.ndarray, "h0 w0"] | None = None


@dataclass(frozen=True)
class ClipPlan:
    """How frames are cut up.

    Attributes:
        tile: of one shape, not larger than the frames.
        overlap: of neighbouring tiles; smaller than `tile`.
        upscale: size of the restored frames over that of the frames.
        variants: the mirrored or turned copies of each tile that are restored; their mean is taken.
        protocol: how overlapping tiles are blended, see `spikejax.inference.tiling`.
    """

    tile: Extent
    overlap: Extent
    upscale: int = 1
    variants: tuple[Variant, ...] = (PLAIN,)
    protocol: str = PROTOCOLS[0]

    @property
    def fade(self) -> Float32[np.ndarray, " t"]:
        """The weights of a clip's frames."""
        if self.protocol == "published":
            return np.ones(self.tile.frames, np.float32)
        return taper(self.tile.frames, self.overlap.frames).astype(np.float32)

    def targets(self, height: int, width: int) -> list[Tile]:
        """Where the restored tiles lie in a restored frame of that size."""
        tile, overlap = (extent.scaled(self.upscale) for extent in (self.tile, self.overlap))
        # The published evaluation cuts off as many pixels of what has been enlarged.
        cut = self.overlap if self.protocol == "published" else None
        return spatial_tiles(height, width, tile=tile, overlap=overlap, cut=cut)

    @property
    def stride(self) -> int:
        """How many frames a clip starts after the one before."""
        return self.tile.frames - self.overlap.frames

    def first_input_frame(self, done: int) -> int:
        """The number of the input frame with which `restore_stream` must begin to go on after `done` frames.

        It is the start of the last clip that holds none of the missing frames: whatever clip comes after it, also a
        last one that is moved back, finds its frames.
        """
        return max(0, (done - self.tile.frames) // self.stride * self.stride)


def restore_stream(
    input_frames: Iterable[InputFrame], restore: RestoreTiles, plan: ClipPlan, *, skip: int = 0, first: int = 0
) -> Iterator[RestoredFrame]:
    """Yields every input frame from number `skip` on, restored, in order.

    Held at a time: the input frames of one clip and the new ones of the next, those of as many more clips as `restore`
    runs ahead, and one clip of float32 results.

    Args:
        input_frames: of one size; at least `plan.tile.frames` of them.
        restore: the network.
        plan: how to cut.
        skip: frames at the start that are not wanted; what only they need is not computed. The others come out
            exactly as if they all were.
        first: the number of the first input frame among all that there are.
    """
    fade = plan.fade
    # Read twice: `restore` cuts tiles of later clips while the earlier ones' are blended.
    clips, upcoming = _twice(_clips_from(input_frames, plan, skip))
    restored = restore(cut for start, clip, _ in upcoming for cut in _cut_all(clip, plan, first + start))
    blended: Float32[np.ndarray, "t h w 3"] | None = None
    weight = np.zeros(plan.tile.frames, np.float32)
    for start, clip, finished in clips:
        if blended is None:
            blended = np.zeros((len(clip), *_restored_size(clip, plan), 3), np.float32)
        _blend_all(restored, plan, blended, fade)
        weight += fade
        # Nothing more is added to the frames before the next clip.
        for index in range(max(0, skip - start), finished):
            yield RestoredFrame(clip[index], blended[index] / weight[index], clip[index].time, clip[index].alpha)
        _shift(blended, finished)
        _shift(weight, finished)


def _twice(items: Iterable[_T]) -> tuple[Iterator[_T], Iterator[_T]]:
    """Two iterators over `items`, which hold what one has taken and the other has not.

    `itertools.tee` lets go of what both have taken 57 items at a time: of clips, that is gigabytes.
    """
    source = iter(items)
    waiting: tuple[deque[_T], deque[_T]] = (deque(), deque())

    def taken(own: deque[_T]) -> Iterator[_T]:
        while own or _extend(source, waiting):
            yield own.popleft()

    return taken(waiting[0]), taken(waiting[1])


def _extend(source: Iterator[_T], queues: tuple[deque[_T], ...]) -> bool:
    """Adds the next item of `source` to all queues; False if there is none."""
    for item in source:
        for queue in queues:
            queue.append(item)
        return True
    return False


def _clips_from(
    input_frames: Iterable[InputFrame], plan: ClipPlan, skip: int
) -> Iterator[tuple[int, list[InputFrame], int]]:
    """Yields first frame, input frames and number of frames before the next clip, of each clip beyond frame `skip`."""
    start = 0
    for clip, before_next in overlapping_clips(input_frames, frames=plan.tile.frames, overlap=plan.overlap.frames):
        assert len(clip) == plan.tile.frames, "the caller fits the tile to the number of frames"
        if start + len(clip) > skip:
            yield start, clip, before_next
        start += before_next


def interpolate_stream(
    input_frames: Iterable[InputFrame], restore: RestoreTiles, plan: ClipPlan, *, skip: int = 0
) -> Iterator[RestoredFrame]:
    """Yields every input frame and, between each two, the frame in their middle, from number `skip` of all these on.

    A clip's frames lie evenly around the middle; before the first and after the last frame, the frames are mirrored.

    Args:
        input_frames: at least two of them, from number `first_interpolated(skip)` on.
        restore: the network; its answer has one frame.
        plan: how to cut; clips start frame by frame.
        skip: frames at the start that are not wanted.
    """
    reach = plan.tile.frames // 2
    first = max(0, skip - 1) // 2  # the number of the first clip's input frame before the middle
    clips, upcoming = _twice(enumerate(_around_middles(input_frames, reach, head=reach - 1 - first), start=first))
    wanted = (item for item in upcoming if 2 * item[0] + 1 >= skip)
    restored = restore(cut for number, clip in wanted for cut in _cut_all(clip, plan, number))
    later = None
    for number, clip in clips:
        earlier, later = clip[reach - 1], clip[reach]
        if 2 * number >= skip:
            yield RestoredFrame(earlier, to_float32(earlier.frame), earlier.time, earlier.alpha)
        if 2 * number + 1 >= skip:
            middle = np.zeros((1, *_restored_size(clip, plan), 3), np.float32)
            _blend_all(restored, plan, middle, np.ones(1, np.float32))
            between = None if earlier.time is None or later.time is None else (earlier.time + later.time) / 2
            yield RestoredFrame(None, middle[0], between, _between(earlier.alpha, later.alpha))
    if later is not None:
        yield RestoredFrame(later, to_float32(later.frame), later.time, later.alpha)


def _between(
    earlier: Num[np.ndarray, "h w"] | None, later: Num[np.ndarray, "h w"] | None
) -> Num[np.ndarray, "h w"] | None:
    """The transparency in the middle of two frames."""
    if earlier is None or later is None:
        return None
    return np.rint((earlier.astype(np.float32) + later) / 2).astype(earlier.dtype)


def _around_middles(frames: Iterable[InputFrame], reach: int, *, head: int) -> Iterator[list[InputFrame]]:
    """Yields the `reach` frames before and after each middle; `head` are mirrored at the start, if any is missing."""
    stream = iter(frames)
    if head > 0:
        begin = list(islice(stream, head))
        stream = chain(begin[::-1], begin, stream)
    mirrored = _mirrored_at_the_end(stream, reach - 1)
    for clip, _ in overlapping_clips(mirrored, frames=2 * reach, overlap=2 * reach - 1):
        if len(clip) == 2 * reach:  # else everything is skipped
            yield clip


def first_interpolated(skip: int, *, window: int) -> int:
    """The number of the input frame with which `interpolate_stream` must begin to leave out `skip` frames."""
    return max(0, max(0, skip - 1) // 2 - (window // 2 - 1))


def _mirrored_at_the_end(frames: Iterator[InputFrame], count: int) -> Iterator[InputFrame]:
    recent: list[InputFrame] = []
    for frame in frames:
        recent = [frame, *recent][:count]
        yield frame
    yield from recent


def _restored_size(clip: list[InputFrame], plan: ClipPlan) -> tuple[int, int]:
    height, width = clip[0].frame.shape[:2]
    return height * plan.upscale, width * plan.upscale


def _cut_all(clip: list[InputFrame], plan: ClipPlan, first_frame: int) -> Iterator[CutTile]:
    """Yields what the network gets of a clip, in the order in which `_blend_all` takes the answers."""
    tiles = spatial_tiles(*clip[0].frame.shape[:2], tile=plan.tile, overlap=plan.overlap)
    for variant in plan.variants:
        for tile in tiles:
            yield CutTile(_cut(clip, tile, variant), variant, first_frame, tile.box)


def _blend_all(
    restored: Iterator[Float32[np.ndarray, "t h w 3"]],
    plan: ClipPlan,
    blended: Float32[np.ndarray, "t h w 3"],
    fade: Float32[np.ndarray, " t"],
) -> None:
    """Adds the next clip's restored tiles, weighted in space and time, to `blended`."""
    targets = plan.targets(*blended.shape[1:3])
    in_time = fade[:, np.newaxis, np.newaxis, np.newaxis] / np.float32(len(plan.variants))
    for variant in plan.variants:
        for target in targets:
            blended[:, *target.box.slices] += in_time * target.weights * variant.undo(next(restored))


def _cut(clip: list[InputFrame], tile: Tile, variant: Variant) -> TileArrays:
    """What the network gets of a clip for one tile."""
    frames = np.stack([input_frame.frame[tile.box.slices] for input_frame in clip])
    counts = []
    for input_frame in clip:
        if input_frame.counts is None:
            return variant.apply(frames), None
        # A spike camera may have half the picture's resolution.
        ratio = input_frame.frame.shape[0] // input_frame.counts.shape[0]
        counts.append(input_frame.counts[(tile.box // ratio).slices])
    return variant.apply(frames), variant.apply(np.stack(counts))


def _shift(values: Float32[np.ndarray, "t ..."], count: int) -> None:
    """Moves the values from `count` on to the start, and zeros to the end."""
    values[:-count] = values[count:]
    values[-count:] = 0
