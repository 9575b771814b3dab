"""Validation: whole sequences at full size, measured on 8-bit frames as the published evaluation does.

A sequence longer than `frames` is cut into clips of that length; the last clip is moved back to end with the
sequence, so that all clips have one shape and one compiled program serves all sequences of a size.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from spikejax import metrics

# (blur [b,t,h,w,3], voxels [b,t,h',w',k] or None) -> restored clips [b,t,h,w,3]
Restore = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Validation:
    """What a validation found."""

    scores: dict[
        str, float
    ]  # psnr_blur, psnr_recon [dB], ssim_blur, ..., also on Y (psnr_y_blur, ...); lpips_blur, ...
    pictures: dict[str, UInt8[np.ndarray, "h w3 3"]]  # by sequence: blur | recon | sharp of its middle frame


def validate(
    restore: Restore,
    sequences: Iterable[dict[str, Any]],
    *,
    frames: int,
    batch_size: int = 1,
    pictures: int = 0,
    lpips: metrics.Distance | None = None,
) -> Validation:
    """Returns the scores over all sequences: the mean over each one's frames, then over the sequences.

    Args:
        restore: the network.
        sequences: {"name", "blur", "sharp" [t,h,w,3] in [0,1], "voxels" [t,h',w',k] if the network takes spikes} each;
            their sizes may differ.
        frames: frames the network sees at once.
        batch_size: clips per call of `restore`; short batches are filled up with repetitions.
        pictures: from how many sequences, the first ones, a picture is kept.
        lpips: measured as well, if given.
    """
    by_sequence: list[dict[str, float]] = []
    kept: dict[str, np.ndarray] = {}
    for sequence in sequences:
        recon = restore_sequence(
            restore, sequence["blur"], sequence.get("voxels"), frames=frames, batch_size=batch_size
        )
        blur, recon, sharp = (metrics.to_uint8(clip) for clip in (sequence["blur"], recon, sequence["sharp"]))
        by_sequence.append(
            _mean([metrics.compare(*frame, lpips=lpips) for frame in zip(blur, recon, sharp, strict=True)])
        )
        if len(kept) < pictures:
            middle = len(sharp) // 2
            kept[sequence["name"]] = np.concatenate([blur[middle], recon[middle], sharp[middle]], axis=1)
    if not by_sequence:
        raise ValueError("validation needs at least one sequence, got none")
    return Validation(scores=_mean(by_sequence), pictures=kept)


def restore_sequence(
    restore: Restore,
    blur: Float[np.ndarray, "t h w 3"],
    voxels: Float[np.ndarray, "t h2 w2 k"] | None,
    *,
    frames: int,
    batch_size: int,
) -> Float[np.ndarray, "t h w 3"]:
    """Returns the restored sequence; frames covered by two clips are those of the later clip."""
    length = min(frames, len(blur))
    starts = _clip_starts(len(blur), length)
    recon = np.empty_like(blur)
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        filled = batch + [batch[-1]] * (batch_size - len(batch))
        clips = restore(_cut(blur, filled, length), None if voxels is None else _cut(voxels, filled, length))
        for start, clip in zip(batch, np.asarray(clips, np.float32), strict=False):
            recon[start : start + length] = clip
    return recon


def _clip_starts(total: int, length: int) -> list[int]:
    return [min(start, total - length) for start in range(0, total, length)]


def _cut(sequence: np.ndarray, starts: list[int], length: int) -> np.ndarray:
    return np.stack([sequence[start : start + length] for start in starts])


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
