"""Arrays and iterables of any kind, as frames to be restored."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.inference.array_frames import frames_of_arrays

CLIP = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)


def frames_of(clip: Any, **spikes: Any) -> list[Any]:
    """All frames of a clip."""
    given = {"spikes": None, "counts": None, "bins": None} | spikes
    return list(frames_of_arrays(clip, **given))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_frames_that_stay(dtype: type) -> None:
    """Catches a copy or another type where the network takes the frames as they are."""
    frames = frames_of(CLIP.astype(dtype))
    assert [frame.frame.dtype for frame in frames] == [dtype] * 3
    assert all(frame.counts is None and frame.time is None for frame in frames)
    np.testing.assert_array_equal(np.stack([frame.frame for frame in frames]), CLIP)


def test_frames_of_other_floats() -> None:
    """Catches a JAX array, a double or a short float that is refused or rounded to whole numbers."""
    clip = CLIP / 256  # which every float holds
    for array in (clip, clip.astype(np.float16), jnp.asarray(clip, jnp.bfloat16)):
        frames = np.stack([frame.frame for frame in frames_of(array)])
        assert frames.dtype == np.float32
        np.testing.assert_array_equal(frames, clip.astype(np.float32))


def test_an_iterator_is_read_one_by_one() -> None:
    """Catches a stream that is read to its end before the first frame comes out."""
    first = CLIP[0]

    def endless() -> Iterator[np.ndarray]:
        while True:
            yield first

    assert next(frames_of_arrays(endless(), spikes=None, counts=None, bins=None)).frame is first


def test_spikes_are_counted_and_counts_taken() -> None:
    """Catches counts of other bins than the spikes', and counts that change on their way."""
    spikes = np.zeros((3, 8, 2, 3), np.uint8)
    spikes[1, 4:, 1, 2] = 1
    counted = frames_of(CLIP, spikes=spikes, bins=2)
    assert [frame.counts.sum() for frame in counted] == [0, 4, 0]
    assert counted[1].counts[1, 2].tolist() == [0, 4]
    taken = frames_of(CLIP, counts=[frame.counts for frame in counted], bins=2)
    for one, other in zip(counted, taken, strict=True):
        np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize(("steps", "dtype"), [((510,) * 3, np.uint8), ((512,) * 3, np.uint16)])
def test_an_array_of_spikes_has_the_smallest_counts(steps: tuple[int, ...], dtype: type) -> None:
    """Catches counts that overflow a byte, and twice the memory for counts that a byte holds."""
    spikes = np.ones((len(steps), steps[0], 2, 3), np.uint8)
    frames = frames_of(CLIP, spikes=spikes, bins=2)
    assert [frame.counts.dtype for frame in frames] == [dtype] * 3
    assert all((frame.counts == steps[0] // 2).all() for frame in frames)


def test_windows_of_different_lengths_have_one_type() -> None:
    """Catches counts of 16 bits for a network that was compiled for the 8 bits of a shorter first window."""
    windows = [np.ones((steps, 2, 3), np.uint8) for steps in (8, 600, 8)]
    frames = frames_of(CLIP, spikes=windows, bins=2)
    assert [(frame.counts.dtype, frame.counts.max()) for frame in frames] == [(np.uint16, n) for n in (4, 300, 4)]
    counts = [frame.counts.astype(dtype) for frame, dtype in zip(frames, (np.uint8, np.uint16, np.uint8), strict=True)]
    assert [frame.counts.dtype for frame in frames_of(CLIP, counts=counts, bins=2)] == [np.uint16] * 3


@pytest.mark.parametrize(
    ("clip", "spikes", "message"),
    [
        (CLIP[..., 0], {}, r"frames \[h,w,3\], found an array of shape \(4, 6\)"),
        (CLIP.astype(np.int64), {}, "uint8, uint16 or floats in .*, found int64"),
        (CLIP > 9, {}, "uint8, uint16 or floats in .*, found bool"),
        (CLIP, {"spikes": np.zeros((3, 4, 6)), "bins": 2}, r"\[s,h,w\], found an array of shape \(4, 6\)"),
        (CLIP, {"spikes": np.zeros((2, 5, 4, 6)), "bins": 2}, "found fewer than frames"),
        (CLIP, {"counts": np.zeros((3, 4, 6, 3), np.uint8), "bins": 2}, r"counts \[h,w,2\]"),
        (CLIP, {"counts": np.zeros((3, 3, 6, 2), np.uint8), "bins": 2}, r"found 3x6: counts \(3, 6, 2\)"),
        (CLIP, {"counts": np.full((3, 4, 6, 2), 0.5), "bins": 2}, "whole numbers"),
    ],
)
def test_what_does_not_fit(clip: np.ndarray, spikes: dict[str, Any], message: str) -> None:
    """Catches a failure inside the network that speaks of shapes nobody has seen."""
    with pytest.raises(InputError, match=message):
        frames_of(clip, **spikes)
