"""What the input is made of: each degradation against an independent oracle, and as the data set and loader give it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from spikejax.data.batches.loader import SampleDraws, train_loader
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.degradation import Degradation, add_noise, shrink, without_network
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.pictures import read_picture, write_picture

NOISE = Degradation("noise", sigma=(0.0, 50.0))
INTERPOLATION = Degradation("interpolation")


def pictures(*shape: int) -> np.ndarray:
    """Random pictures, uint8."""
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def pillow_bicubic(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's antialiased bicubic (the same kernel) of a picture's channels, float32, not rounded."""
    channels = np.moveaxis(picture, -1, 0).astype(np.float32)
    resized = [
        np.asarray(Image.fromarray(channel).resize(size[::-1], Image.Resampling.BICUBIC)) for channel in channels
    ]
    return np.stack(resized, axis=-1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_that_of_pillow(scale: int) -> None:
    """Catches a kernel that is not antialiased, of another shape or shifted, and an edge that is not mirrored."""
    clip = pictures(1, 12 * scale, 15 * scale, 3)
    beyond = 4 * scale  # Pillow cuts its kernel off at the edge; MATLAB's meets a mirrored picture there
    mirrored = np.pad(clip[0], ((beyond, beyond), (beyond, beyond), (0, 0)), mode="symmetric")
    expected = pillow_bicubic(mirrored, (20, 23))[4:-4, 4:-4].clip(0, 255)
    found = shrink(clip, scale, kind="bicubic")[0]
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.5 + 1e-3)  # rounded to whole numbers


def test_gaussian_is_that_of_opencv() -> None:
    """Catches another sigma, width or edge, and pixels kept from 1, 2 or 3 on."""
    clip = pictures(2, 24, 32, 3)
    blurred = [cv2.GaussianBlur(frame.astype(np.float64), (13, 13), 1.6) for frame in clip]
    np.testing.assert_array_equal(shrink(clip, 4, kind="gaussian"), np.rint(blurred)[:, ::4, ::4])


def test_noise_has_the_level_that_it_says() -> None:
    """Catches noise of another scale, clipped, rounded or the same in all channels, and a level in other units."""
    clip = np.full((2, 64, 64, 3), 5, np.uint8)
    noisy = add_noise(clip, 25.0, [np.random.default_rng(seed) for seed in range(2)])
    assert (noisy.shape, noisy.dtype) == ((2, 64, 64, 4), np.float32)
    np.testing.assert_array_equal(noisy[..., 3], 25)
    noise = noisy[..., :3] - 5
    # 24,576 numbers: the mean's standard deviation is 0.16, that of the standard deviation 0.11.
    assert abs(noise.mean()) < 0.7 and abs(noise.std() - 25) < 0.5
    correlation = np.corrcoef(np.moveaxis(noise, -1, 1).reshape(6, -1))
    assert np.abs(correlation - np.eye(6)).max() < 0.08


@pytest.mark.parametrize("kind", ["bicubic", "gaussian"])
@pytest.mark.parametrize("box", [Box(0, 0, 16, 16), Box(8, 12, 16, 16), Box(32, 48, 16, 16)])
def test_a_crop_is_a_part_of_the_whole(make_pictures: Callable[..., Path], tmp_path: Path, kind: str, box: Box) -> None:
    """Catches an edge of the crop that is treated as the picture's, and crops that are not of the same place."""
    root = make_pictures(tmp_path, frames=2, size=(48, 66), blurry=False)
    dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=None, degradation=Degradation(kind, 4)))
    whole, part = dataset.read_stored(0), dataset.read_stored(0, box)
    assert dataset.size(0) == (48, 64, 1)  # 66 is not a multiple
    assert whole["sharp"].shape == (2, 48, 64, 3) and whole["input"].shape == (2, 12, 16, 3)
    np.testing.assert_array_equal(whole["input"], shrink(whole["sharp"], 4, kind=kind))
    np.testing.assert_array_equal(part["sharp"], whole["sharp"][(slice(None), *box.slices)])
    np.testing.assert_array_equal(part["input"], whole["input"][(slice(None), *(box // 4).slices)])


@pytest.fixture
def make_pictures() -> Callable[..., Path]:
    """Writes sequences without spikes."""

    def write(
        root: Path, *, frames: int, size: tuple[int, int] = (16, 24), blurry: bool = True, scale: int = 1, sequences=2
    ) -> Path:
        height, width = size
        for sequence in range(sequences):
            sharp = pictures(sequences, frames, height, width, 3)[sequence]
            blur = 255 - sharp[:, ::scale, ::scale]
            for part, clip in (("sharp", sharp), ("blur", blur)):
                folder = root / "train" / f"s{sequence}" / part
                folder.mkdir(parents=True)
                for number, picture in enumerate(clip):
                    write_picture(folder / f"{number:06d}.png", picture)
            if not blurry:
                shutil.rmtree(root / "train" / f"s{sequence}" / "blur")
        return root

    return write


def test_small_pictures_are_read_at_the_same_place(make_pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Catches crops of small and large pictures that lie elsewhere, and sizes that do not fit and are used."""
    root = make_pictures(tmp_path, frames=3, size=(24, 32), scale=4)
    dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=None, crop=3, degradation=Degradation(scale=4)))
    loader = train_loader(dataset, SampleDraws(3, reverse_time=True), batch_size=4, seed=1, workers=0)
    for _ in range(3):
        batch = next(loader)
        assert batch["input"].shape == (4, 2, 3, 3, 3) and batch["sharp"].shape == (4, 2, 12, 12, 3)
        corners = [
            batch["sharp"][:, :, row::4, column::4] for row in (0, 3) for column in (0, 3)
        ]  # whichever was the upper left one before turning
        same = [np.abs(1 - batch["input"] - corner).max(axis=(1, 2, 3, 4)) < 1e-6 for corner in corners]
        assert np.any(same, axis=0).all()
    with pytest.raises(InputError, match="blurry pictures of 6x8, sharp ones of 24x32, expected 2 times as large"):
        FolderDataset(root, "train", ClipSpec(frames=2, bins=None, degradation=Degradation(scale=2)))


def test_noise_of_a_frame_does_not_depend_on_its_clip(make_pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Catches a validation that meets other noise each time, or all frames with the same noise."""
    root = make_pictures(tmp_path, frames=4, blurry=False)
    dataset = FolderDataset(
        root, "train", ClipSpec(frames=2, bins=None, degradation=Degradation("noise", sigma=(10.0, 10.0)))
    )
    whole, part = dataset.read_sequence("s0"), dataset.read_sequence("s0", 1, 3)
    np.testing.assert_array_equal(whole["input"][1:3], part["input"])
    np.testing.assert_allclose(whole["input"][..., 3], 10 / 255, rtol=1e-6)
    noise = whole["input"][..., :3] - whole["sharp"]
    other = dataset.read_sequence("s1")
    noises = [*noise, *(other["input"][..., :3] - other["sharp"])]
    assert len({frame.tobytes() for frame in noises}) == 8
    assert abs(np.std(noises) * 255 - 10) < 0.3


def test_noise_is_a_function_of_seed_and_position(make_pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Catches noise that depends on threads or batches, is lost by continuing, or has one level for all clips."""
    root = make_pictures(tmp_path, frames=4, blurry=False)
    dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=None, degradation=NOISE))
    one = train_loader(dataset, SampleDraws(8), batch_size=4, seed=1, workers=0)
    other = train_loader(dataset, SampleDraws(8), batch_size=2, seed=1, workers=2)
    batches = [next(one) for _ in range(3)]
    halves = [next(other) for _ in range(3)]
    state = other.get_state()
    continued = train_loader(dataset, SampleDraws(8), batch_size=2, seed=1, workers=0)
    continued.set_state(state)
    halves += [next(continued) for _ in range(3)]
    blur = np.concatenate([batch["input"] for batch in batches])
    np.testing.assert_array_equal(blur, np.concatenate([half["input"] for half in halves]))
    levels = 255 * blur[..., 3]
    assert levels.min() >= 0 and levels.max() <= 50 and len(np.unique(levels)) == len(blur)  # one for each clip
    sharp = np.concatenate([batch["sharp"] for batch in batches])
    np.testing.assert_allclose((blur[..., :3] - sharp).std(axis=(1, 2, 3, 4)), levels[:, 0, 0, 0] / 255, rtol=0.2)


def test_the_middle_frame_is_sought(make_pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Catches the wrong frames of a clip of seven, and a sequence of which frames are left out or restored twice."""
    root = make_pictures(tmp_path, frames=10, blurry=False)
    dataset = FolderDataset(root, "train", ClipSpec(frames=4, bins=None, degradation=INTERPOLATION))
    frames = [read_picture(root / "train" / "s0" / "sharp" / f"{number:06d}.png") for number in range(10)]
    assert len(dataset) == 2 * 4
    clip = dataset.read_stored(1)
    np.testing.assert_array_equal(clip["input"], [frames[number] for number in (1, 3, 5, 7)])
    np.testing.assert_array_equal(clip["sharp"], [frames[4]])
    assert dataset.sequences() == [("s0", 2), ("s1", 2)]
    restored = dataset.read_sequence("s0", 1, 2)
    np.testing.assert_array_equal(restored["sharp"] * np.float32(255), [frames[5]])
    np.testing.assert_array_equal(restored["input"] * np.float32(255), [frames[number] for number in (2, 4, 6, 8)])
    assert INTERPOLATION.shapes(4, 16, 24) == {"input": (4, 16, 24, 3), "sharp": (1, 16, 24, 3)}


def test_what_one_sees_without_a_network() -> None:
    """Catches a comparison with something that is not the input."""
    small = pictures(1, 6, 8, 3)
    mirrored = np.pad(small[0], ((4, 4), (4, 4), (0, 0)), mode="symmetric").astype(np.float32)
    found = without_network(small, 12, 16)
    np.testing.assert_allclose(found, pillow_bicubic(mirrored, (28, 32))[8:-8, 8:-8].clip(0, 255), atol=0.501)
    noisy = pictures(1, 12, 16, 4).astype(np.float32)
    np.testing.assert_array_equal(without_network(noisy, 12, 16), noisy[0, ..., :3])
    four = pictures(4, 12, 16, 3)
    np.testing.assert_array_equal(without_network(four, 12, 16), np.rint((four[1].astype(float) + four[2]) / 2))


def test_sharp_pictures_are_needed_and_crops_that_fit(make_pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Catches a message that asks for blurry pictures, and a crop that is larger than the sharp ones."""
    with pytest.raises(InputError, match="SEQUENCE/sharp, found none"):
        FolderDataset(tmp_path, "train", ClipSpec(frames=2, bins=None, degradation=NOISE))
    root = make_pictures(tmp_path, frames=2, blurry=False)
    dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=None, degradation=Degradation("bicubic", 4)))
    with pytest.raises(InputError, match="found 6, times 4, the factor of super-resolution"):
        train_loader(dataset, SampleDraws(6), batch_size=1, seed=1, workers=0)
