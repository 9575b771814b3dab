"""Validation against figures computed by hand."""

import numpy as np
import pytest

from spikejax import metrics
from spikejax.training.evaluate import restore_sequence, validate


def sequence(name: str, frames: int, side: int, seed: int) -> dict:
    """Random frames with the voxels of 4 bins."""
    rng = np.random.default_rng(seed)
    blur, sharp = rng.uniform(size=(2, frames, side, side, 3)).astype(np.float32)
    return {"name": name, "blur": blur, "sharp": sharp, "voxels": rng.normal(size=(frames, side, side, 4)).astype("f4")}


def brighten(blur: np.ndarray, voxels: np.ndarray | None) -> np.ndarray:
    """A network that is known: adds the first bin, a little."""
    assert voxels is not None
    return blur + 0.1 * voxels[..., :1]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_scores_are_means_over_frames_then_sequences(batch_size: int) -> None:
    """Catches frames counted twice (overlapping clips, batches filled up) and a mean over all frames at once."""
    sequences = [sequence("a", 5, 16, 0), sequence("b", 2, 24, 1), sequence("c", 1, 12, 2)]
    found = validate(brighten, sequences, frames=2, batch_size=batch_size)
    expected_blur, expected_recon = [], []
    for one in sequences:
        recon = brighten(one["blur"], one["voxels"])
        eight = {name: metrics.to_uint8(clip) for name, clip in {**one, "recon": recon}.items() if name != "name"}
        expected_blur.append(np.mean([metrics.psnr(*f) for f in zip(eight["blur"], eight["sharp"], strict=True)]))
        expected_recon.append(np.mean([metrics.ssim(*f) for f in zip(eight["recon"], eight["sharp"], strict=True)]))
    assert found.scores["psnr_blur"] == pytest.approx(np.mean(expected_blur), abs=1e-9)
    assert found.scores["ssim_recon"] == pytest.approx(np.mean(expected_recon), abs=1e-9)
    assert found.pictures == {}


def test_clips_have_one_shape_and_cover_every_frame() -> None:
    """Catches a program compiled anew for a sequence's last clip, and frames that are left out or put elsewhere."""
    shapes = set()

    def restore(blur: np.ndarray, voxels: np.ndarray | None) -> np.ndarray:
        shapes.add(blur.shape)
        return blur * 2

    blur = np.random.default_rng(0).uniform(size=(7, 4, 4, 3)).astype(np.float32)
    recon = restore_sequence(restore, blur, None, frames=3, batch_size=2)
    assert shapes == {(2, 3, 4, 4, 3)}
    np.testing.assert_array_equal(recon, blur * 2)


def test_pictures_are_blur_recon_sharp_of_the_first_sequences() -> None:
    """Catches a picture of another frame or in another order."""
    sequences = [sequence("a", 3, 16, 0), sequence("b", 3, 16, 1)]
    found = validate(brighten, sequences, frames=3, pictures=1)
    assert list(found.pictures) == ["a"]
    blur, recon, sharp = np.split(found.pictures["a"], 3, axis=1)
    np.testing.assert_array_equal(blur, metrics.to_uint8(sequences[0]["blur"][1]))
    np.testing.assert_array_equal(sharp, metrics.to_uint8(sequences[0]["sharp"][1]))
    restored = brighten(sequences[0]["blur"], sequences[0]["voxels"])
    np.testing.assert_array_equal(recon, metrics.to_uint8(restored[1]))
