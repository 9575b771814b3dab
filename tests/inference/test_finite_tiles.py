"""What is not finite is computed again, or stops the work with its place; test_restore.py has the command."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.errors import InputError
from spikejax.inference.clip_blending import CutTile, InputFrame
from spikejax.inference.ensemble import ENSEMBLES, PLAIN, Variant
from spikejax.inference.finite_tiles import FiniteTiles, is_finite
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import RestoreSettings, VideoRestorer
from spikejax.io.box import Box
from spikejax.models.traits import NetworkTraits

CLIP = np.random.default_rng(0).integers(0, 120, (7, 36, 52, 3), dtype=np.uint8)
# A pixel in the corner of several tiles and of two clips; no other has all of a red of 200.
FRAME, ROW, COLUMN = 3, 17, 27
SPOILED = CLIP.copy()
SPOILED[FRAME, ROW, COLUMN, 0] = 200
BAD = (np.nan, np.inf, -np.inf)


class Spoil(nnx.Module):
    """Gives back what it is given, with `value` in place of a red of 200; enlarged by `upscale`."""

    def __init__(self, value: float, upscale: int = 1) -> None:
        self.value, self.upscale = value, upscale
        self.unused = nnx.Param(jnp.zeros(1))

    def __call__(self, clip: jax.Array, voxels: None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        restored = jnp.where(jnp.abs(clip - jnp.float32(200 / 255)) < 1e-3, jnp.float32(self.value), clip)
        return jnp.repeat(jnp.repeat(restored, self.upscale, axis=2), self.upscale, axis=3)


class Middle(Spoil):
    """The same, and gives the second frame alone."""

    def __call__(self, clip: jax.Array, voxels: None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        return super().__call__(clip, voxels)[:, 1:2]


def restorer_of(
    model: nnx.Module, traits: NetworkTraits | None = None, build_float32: Callable[[], nnx.Module] | None = None
) -> VideoRestorer:
    """A stand-in that restores in small tiles."""
    traits = traits or NetworkTraits()
    frames = traits.window if traits.interpolates else 4
    return VideoRestorer(
        model, traits, tile=Extent(frames, 24, 32), overlap=Extent(1, 8, 8), build_float32=build_float32
    )


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_what_is_not_finite_is_computed_again(value: float, ensemble: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches tiles of bfloat16 that become black, are computed again with the wrong input, or swapped with others."""
    restorer = restorer_of(Spoil(value), build_float32=lambda: Spoil(200 / 255))
    np.testing.assert_array_equal(restorer.restore(SPOILED, ensemble=ensemble), SPOILED)
    assert capsys.readouterr().err.count("not finite, computing it again in float32") == 1


def test_tiles_that_are_computed_again_are_counted() -> None:
    """Catches a count of frames or of pixels, and one of tiles that were fine."""
    restorer = restorer_of(Spoil(np.nan), build_float32=lambda: Spoil(200 / 255))
    for clip, count in ((CLIP, 0), (SPOILED, 8)):  # 2 by 2 tiles hold the pixel, in 2 clips
        stream = restorer.stream(lambda start, clip=clip: iter(frames_of(clip)), restorer.settings(plain()))
        list(stream)
        assert (stream.finite.again, stream.finite.black) == (count, 0)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("upscale", [1, 2])
def test_the_place_is_named(value: float, ensemble: str, upscale: int) -> None:
    """Catches a place in the tile instead of the frame, in a turned copy, or in the frame before enlarging."""
    restorer = restorer_of(Spoil(value, upscale), NetworkTraits(upscale=upscale))
    where = f"found {value} in frame {FRAME} at row {ROW * upscale}, column {COLUMN * upscale}"
    with pytest.raises(FloatingPointError, match=where):
        restorer.restore(SPOILED, ensemble=ensemble)


@pytest.mark.parametrize("done", [0, 3, 6])
def test_the_frame_is_counted_from_the_first(done: int) -> None:
    """Catches the number of a frame since the run went on."""
    clip = CLIP.copy()
    clip[6, 5, 9, 0] = 200
    restorer = restorer_of(Spoil(np.nan))
    stream = restorer.stream(lambda start: iter(frames_of(clip[start:])), restorer.settings(plain()), done=done)
    with pytest.raises(FloatingPointError, match="nan in frame 6 at row 5, column 9"):
        list(stream)


def test_the_place_of_a_frame_between_two() -> None:
    """Catches a frame that the input does not have."""
    restorer = restorer_of(Middle(np.nan), NetworkTraits(interpolates=True, window=4))
    with pytest.raises(FloatingPointError, match=f"frame between 3 and 4 at row {ROW}, column {COLUMN}"):
        restorer.restore(SPOILED, overlap=(3, 8, 8))


def test_frames_before_are_given() -> None:
    """Catches an error that takes finished frames with it."""
    clip = CLIP.copy()
    clip[6, 0, 0, 0] = 200
    stream = restorer_of(Spoil(np.nan)).restore(iter(clip))
    restored = []
    with pytest.raises(FloatingPointError):
        for frame in stream:
            restored.append(frame)
    assert len(restored) >= 3
    np.testing.assert_array_equal(np.stack(restored), clip[: len(restored)])


def test_input_that_is_not_finite() -> None:
    """Catches a network that is blamed for its input."""
    clip = CLIP.astype(np.float32) / np.float32(255)
    clip[2, 30, 40, 1] = np.inf
    with pytest.raises(InputError, match="found others in the input at inf in frame 2 at row 30, column 40"):
        restorer_of(Spoil(0.0)).restore(clip)


def test_float32_that_does_not_fit() -> None:
    """Catches advice on tiles where the cause is a picture that is not finite, and a traceback."""

    def compute_again(cut: CutTile) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    with pytest.raises(FloatingPointError, match="in frame 40, which do not fit into the device's memory in float32"):
        list(FiniteTiles(compute_again).restored([cut_of(first_frame=40)], answer_nan))


@pytest.mark.parametrize("variant", ENSEMBLES["turns"])
def test_black_where_it_is_allowed(variant: Variant) -> None:
    """Catches numbers that are not finite in a validation's picture, and a count that misses them."""
    tiles = FiniteTiles(lambda cut: next(answer_nan(iter([cut.arrays]))), blacken=True)
    cuts = [cut_of(variant=variant), cut_of(variant=variant)]
    assert all(is_finite(answer) for answer in tiles.restored(cuts, answer_nan))
    assert (tiles.again, tiles.black) == (2, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_large_numbers_are_finite(dtype: type) -> None:
    """Catches a sum that overflows taken for a number that does."""
    assert is_finite(np.full((4, 4), np.finfo(np.float32).max if dtype == np.float32 else 255, dtype))


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("other", BAD)
def test_numbers_that_are_not_finite_are_seen(value: float, other: float) -> None:
    """Catches infinities of two signs that cancel out."""
    values = np.ones((2, 3), np.float32)
    values[0, 0], values[1, 2] = value, other
    assert not is_finite(values)


def frames_of(clip: np.ndarray) -> list[Any]:
    """The frames as what is restored."""
    return [InputFrame(frame) for frame in clip]


def plain() -> Any:
    """The network's own settings."""
    return RestoreSettings()


def cut_of(*, first_frame: int = 0, variant: Variant = PLAIN) -> CutTile:
    """A tile of two frames."""
    return CutTile((np.zeros((2, 4, 6, 3), np.uint8), None), variant, first_frame, Box(0, 0, 4, 6))


def answer_nan(tiles: Iterable[Any]) -> Iterator[np.ndarray]:
    """Stands in for a network that makes nothing else."""
    for frames, _ in tiles:
        answer = np.zeros(frames.shape, np.float32)
        answer[-1, -1, -1, -1] = np.nan
        yield answer
