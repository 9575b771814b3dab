import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
import pytest

from spikejax.inference.clip_blending import (
    ClipPlan,
    InputFrame,
    RestoreTiles,
    first_interpolated,
    interpolate_stream,
    restore_stream,
)
from spikejax.inference.ensemble import ENSEMBLES
from spikejax.inference.tiling import Extent
from spikejax.quality.metrics import to_uint8


def clip_of(length: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Random frames."""
    return np.random.default_rng(0).integers(0, 256, (length, height, width, 3), dtype=np.uint8)


class Recorder:
    """Stands in for a network that changes nothing, and remembers the shapes it was called with."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, frames: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        """The answer for one tile."""
        self.shapes.append(frames.shape)
        return frames.astype(np.float32) / 255


def each(network: Callable[..., np.ndarray]) -> RestoreTiles:
    """`RestoreTiles` of a function of one tile."""
    return lambda tiles: (network(*cut.arrays) for cut in tiles)


def run(
    input_frames: Iterable[InputFrame], network: Callable[..., np.ndarray], plan: ClipPlan, skip: int = 0
) -> np.ndarray:
    """The restored frames, rounded to 8 bits."""
    return np.stack([to_uint8(frame) for _, frame, *_ in restore_stream(input_frames, each(network), plan, skip=skip)])


@pytest.mark.parametrize("length", [4, 5, 9, 10])
def test_tiles_are_put_back_where_they_were_cut(length: int) -> None:
    """Catches frames, rows or columns that are shifted, lost, doubled or scaled by the blending."""
    clip, network = clip_of(length), Recorder()
    plan = ClipPlan(Extent(4, 16, 24), Extent(1, 4, 6))
    restored = list(restore_stream(map(InputFrame, clip), each(network), plan))
    np.testing.assert_array_equal(np.stack([input_frame.frame for input_frame, *_ in restored]), clip)
    np.testing.assert_array_equal(np.stack([to_uint8(frame) for _, frame, *_ in restored]), clip)
    assert set(network.shapes) == {(4, 16, 24, 3)}


def test_one_tile_equals_the_network_alone() -> None:
    """Catches any change to the network's answer where nothing needs to be blended."""
    clip = clip_of(4)
    answer = np.random.default_rng(1).random(clip.shape, np.float32)
    restored = restore_stream(
        map(InputFrame, clip), each(lambda *_: answer), ClipPlan(Extent(4, 40, 56), Extent(1, 8, 8))
    )
    np.testing.assert_array_equal(np.stack([frame for _, frame, *_ in restored]), answer)


def test_neighbouring_clips_fade_into_each_other() -> None:
    """Catches a cut in time: the weights at the overlap's two frames are 2:1 and 1:2 (its share is the taper's)."""
    answers = itertools.count()
    network = lambda frames, _: np.full(frames.shape, 0.9 * next(answers), np.float32)  # noqa: E731
    restored = run(map(InputFrame, clip_of(8, 16, 16)), network, ClipPlan(Extent(5, 16, 16), Extent(2, 0, 0)))
    assert restored[:, 0, 0, 0].tolist() == [0, 0, 0, round(0.3 * 255), round(0.6 * 255), 230, 230, 230]


def test_larger_frames_come_from_the_places_they_belong_to() -> None:
    """Catches tiles of super-resolution that are put back where the small ones were."""
    clip = clip_of(5)
    double = lambda frames, _: frames.repeat(2, 1).repeat(2, 2).astype(np.float32) / 255  # noqa: E731
    restored = run(map(InputFrame, clip), double, ClipPlan(Extent(4, 16, 24), Extent(1, 4, 6), upscale=2))
    np.testing.assert_array_equal(restored, clip.repeat(2, 1).repeat(2, 2))


def test_counts_of_half_the_resolution_are_cut_with_the_frames() -> None:
    """Catches counts of another place or time than the tile's frames, also where tiles are turned."""
    clip = clip_of(6)
    counts = np.ascontiguousarray(clip[:, ::2, ::2])
    seen = []

    def network(frames: np.ndarray, spikes: np.ndarray | None) -> np.ndarray:
        assert spikes is not None
        # Mirroring puts the other pixel of a pair first.
        halves = [frames[:, down::2, across::2] for down in (0, 1) for across in (0, 1)]
        seen.append(any(np.array_equal(spikes, half) for half in halves))
        return np.zeros(frames.shape, np.float32)

    plan = ClipPlan(Extent(4, 16, 24), Extent(1, 4, 6), variants=ENSEMBLES["turns"])
    run(map(InputFrame, clip, counts), network, plan)
    assert len(seen) == 2 * 3 * 3 * 8
    assert all(seen)


@pytest.mark.parametrize(("ensemble", "copies"), [("none", 1), ("flips", 4), ("turns", 8)])
def test_the_ensemble_is_the_mean_of_different_copies(ensemble: str, copies: int) -> None:
    """Catches a copy that is not turned back, or taken twice: a corner's mark must reach all the corners it can."""
    clip = clip_of(2, 20, 20)

    def marked(frames: np.ndarray, _: np.ndarray | None) -> np.ndarray:
        answer = np.zeros(frames.shape, np.float32)
        answer[:, 0, 1] = 1
        return answer

    plan = ClipPlan(Extent(2, 20, 20), Extent(0, 0, 0), variants=ENSEMBLES[ensemble])
    frame = next(restore_stream(map(InputFrame, clip), each(marked), plan))[1]
    marks = np.argwhere(frame[..., 0])
    assert len(marks) == copies
    np.testing.assert_allclose(frame[tuple(marks.T)], 1 / copies)
    network = Recorder()
    restored = run(map(InputFrame, clip), network, plan)
    np.testing.assert_array_equal(restored, clip)
    assert len(network.shapes) == copies


@pytest.mark.parametrize("restore_all", (restore_stream, interpolate_stream))
def test_memory_does_not_grow_with_the_length(restore_all: Callable[..., Iterator]) -> None:
    """Catches frames that are read long before they are needed, or kept for long after."""
    read: list[weakref.ref] = []

    def input_frames() -> Iterator[InputFrame]:
        for frame in clip_of(40, 16, 16):
            input_frame = InputFrame(frame)
            read.append(weakref.ref(input_frame))
            yield input_frame

    interpolates = restore_all is interpolate_stream
    plan = ClipPlan(Extent(4 if interpolates else 5, 16, 16), Extent(1, 0, 0))
    network = each((lambda frames, _: frames[1:2].astype(np.float32)) if interpolates else Recorder())
    ahead, held = [], []
    for written, _ in enumerate(restore_all(input_frames(), network, plan)):
        ahead.append(len(read) - written // (2 if interpolates else 1))
        held.append(sum(input_frame() is not None for input_frame in read))
    assert len(ahead) == (79 if interpolates else 40)
    assert max(ahead) <= 2 * plan.tile.frames
    assert max(held) <= 4 * plan.tile.frames


def noisy(frames: np.ndarray, _: np.ndarray | None) -> np.ndarray:
    """A network whose answer depends on all of a tile."""
    return np.random.default_rng(int(frames.sum())).random(frames.shape, np.float32)


@pytest.mark.parametrize("length", [5, 9, 11, 12])
def test_going_on_gives_the_same_frames(length: int) -> None:
    """Catches a blend that lacks what an earlier clip gave, and a last clip that is moved back too little."""
    clip, plan = clip_of(length, 16, 16), ClipPlan(Extent(5, 16, 16), Extent(2, 0, 0))
    whole = run(map(InputFrame, clip), noisy, plan)
    for done in range(length):
        start = plan.first_input_frame(done)
        computed = []

        def network(*tile: np.ndarray) -> np.ndarray:
            computed.append(None)  # noqa: B023, it is called in this turn only
            return noisy(*tile)

        np.testing.assert_array_equal(run(map(InputFrame, clip[start:]), network, plan, done - start), whole[done:])
        assert len(computed) <= -(-(length - done) // plan.stride) + 1


def interpolated(clip: np.ndarray, skip: int = 0) -> list[tuple[float, float]]:
    """(level, time) of every frame; the network's answer is the mean of its four frames."""
    base = first_interpolated(skip, window=4)
    input_frames = (InputFrame(frame, time=Fraction(base + number)) for number, frame in enumerate(clip[base:]))
    mean = lambda frames, _: frames.mean(axis=0, keepdims=True)  # noqa: E731
    stream = interpolate_stream(input_frames, each(mean), ClipPlan(Extent(4, 16, 16), Extent(3, 0, 0)), skip=skip)
    return [(round(float(frame[0, 0, 0]), 3), float(time or 0)) for _, frame, time, *_ in stream]


@pytest.mark.parametrize("length", [2, 3, 4, 7])
def test_interpolation_puts_a_frame_between_each_two(length: int) -> None:
    """Catches middles of the wrong frames or times, lost ends, and another result where a run goes on."""
    levels = np.arange(length, dtype=np.float32) ** 2
    clip = np.broadcast_to(levels[:, None, None, None], (length, 16, 16, 3))
    mirrored = np.pad(levels, 1, "symmetric")
    expected = []
    for index in range(length - 1):
        expected += [(levels[index], index), (mirrored[index : index + 4].mean(), index + 0.5)]
    expected.append((levels[-1], length - 1))
    assert interpolated(clip) == expected
    for skip in range(len(expected)):
        assert interpolated(clip, skip) == expected[skip:]
