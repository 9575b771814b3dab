"""The part of a report that shows what the spikes did: a frame restored with other spikes than its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from spikejax.quality.metrics import Picture, psnr

OWN, WITHOUT, PREVIOUS, NEXT = "own", "none", "previous", "next"
_LABELS = {
    OWN: "its own spikes",
    WITHOUT: "no spikes",
    PREVIOUS: "the frame before's spikes",
    NEXT: "the frame after's spikes",
}
# A neighbour's spikes have to be better by so much, in dB, before the page doubts the alignment. Of a quick start's
# network and its aligned spikes they are worse by more than 1 dB, at frames that hardly move by some hundredths.
_DOUBTFUL_GAIN = 0.2
# What is white in a map of differences, of 255: the largest difference but for a few pixels, and at least this.
_LEAST_WHITE, _WHITE_QUANTILE = 16.0, 0.999


@dataclass(frozen=True)
class SpikeAnswers:
    """A frame restored with its own spikes and with others.

    Attributes:
        number: of the frame.
        answers: by the spikes' name: "own", "none", "previous", "next".
        sharp: the true frame; None if nobody knows.
    """

    number: int
    answers: Mapping[str, Picture]
    sharp: Picture | None

    def scores(self) -> dict[str, float]:
        """PSNR of each answer; empty without the true frame."""
        if self.sharp is None:
            return {}
        return {name: psnr(picture, self.sharp) for name, picture in self.answers.items()}

    def changes(self) -> dict[str, Float32[np.ndarray, "h w"]]:
        """How far each other answer is from that of the frame's own spikes, of 255: the mean of the colours."""
        own = self.answers[OWN].astype(np.float32)
        return {
            name: np.abs(picture.astype(np.float32) - own).mean(axis=2, dtype=np.float32)
            for name, picture in self.answers.items()
            if name != OWN
        }


def findings(shown: Sequence[SpikeAnswers]) -> tuple[list[str], str]:
    """What the frames say of the spikes, as sentences, and a warning: "" if there is no cause for one."""
    if not any(frame.scores() for frame in shown):
        changes = [frame.changes() for frame in shown]
        mean = np.mean([change[WITHOUT].mean() for change in changes])
        return [f"Without spikes the answer changes by {mean:.1f} of 255."], ""
    lost = {
        name: float(np.mean([scores[OWN] - scores[name] for scores in known]))
        for name in (WITHOUT, PREVIOUS, NEXT)
        if (known := [scores for frame in shown if name in (scores := frame.scores())])
    }
    sentences = [f"With {_LABELS[name]} PSNR is {abs(loss):.2f} dB {_than(loss)}." for name, loss in lost.items()]
    better = min((name for name in lost if name != WITHOUT), key=lost.__getitem__, default=None)
    if better is None or lost[better] > -_DOUBTFUL_GAIN:
        return sentences, ""
    return sentences, f"{_LABELS[better]} give a better answer than its own: are spikes and frames aligned?"


def _than(loss: float) -> str:
    return "lower" if loss >= 0 else "higher"


def strips(shown: Sequence[SpikeAnswers], embed: Any) -> list[dict[str, Any]]:
    """What the template shows of each frame; `embed` makes a picture's address."""
    return [_strip(frame, embed) for frame in shown]


def _strip(frame: SpikeAnswers, embed: Any) -> dict[str, Any]:
    scores, changes = frame.scores(), frame.changes()
    values = np.concatenate([change.ravel() for change in changes.values()])
    white = max(_LEAST_WHITE, float(np.quantile(values, _WHITE_QUANTILE)))
    panels = []
    for name in (name for name in _LABELS if name in frame.answers):
        panel = {"label": _LABELS[name], "score": f"{scores[name]:.2f} dB" if scores else ""}
        panel["source"] = embed(frame.answers[name])
        panel["map"] = embed(_map(changes[name], white)) if name in changes else ""
        panel["change"] = f"changes by {changes[name].mean():.1f} of 255" if name in changes else ""
        panels.append(panel)
    if frame.sharp is not None:
        panels.append({"label": "sharp", "score": "", "source": embed(frame.sharp), "map": "", "change": ""})
    height, width = frame.answers[OWN].shape[:2]
    return {
        "name": f"Frame {frame.number}",
        "panels": panels,
        "height": height,
        "width": width,
        "caption": "restored in one clip, not blended with others as above; maps: where the answer differs from that "
        f"of its own spikes, brightest at {white:.0f} of 255",
    }


def _map(change: Float32[np.ndarray, "h w"], white: float) -> Picture:
    grey = np.clip(change * (255 / white), 0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
