"""Restored frames into a pipe: an `Output` that keeps nothing, and so cannot go on with an earlier run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

from spikejax.inference.output_target import VideoSource
from spikejax.inference.tiling import Extent
from spikejax.io.frame_stream import FrameSource
from spikejax.io.pictures import WrittenFrame
from spikejax.io.piped_video import PipedVideo, PipeSettings, piped_colours, unsaid
from spikejax.io.video_codecs import DEFAULT_RATE
from spikejax.progress import say


class PipedOutput:
    """The frames of a run into a pipe; an `Output`.

    Attributes:
        done: frames that are written.
        scores: of them.
        tile: None, since there is no earlier run.
    """

    def __init__(self, video: PipedVideo) -> None:
        self._video = video
        self.done, self.scores = 0, list[dict[str, Any]]()
        self.tile: Extent | None = None

    def keep_tile(self, tile: Extent) -> None:
        """Keeps nothing."""

    def write(self, frame: WrittenFrame, time: Fraction | None, scores: dict[str, Any]) -> None:
        """Writes the next frame; raises BrokenPipeError where nobody reads any more."""
        self._video.write(frame, time)
        if not self.done and (text := self._video.description):
            say(f"standard output is raw video: {text}")
        self.scores.append(scores)
        self.done += 1

    def room(self, total: int) -> tuple[str, bool]:
        """Nothing: no disk is written to."""
        return "", True

    def finish(self, report: Mapping[str, Any]) -> None:
        """Writes what is held back."""
        self._video.close()
        changed = {"repeated": self._video.repeated, "left out": self._video.left_out}
        said = " and ".join(f"{count} were {what}" for what, count in changed.items() if count)
        if said:
            _note(f"the times of frames vary, and a pipe has a constant rate: {said}")


@contextmanager
def open_piped_output(
    sink: BinaryIO, settings: PipeSettings, source: VideoSource, frames: FrameSource, upscale: int
) -> Iterator[PipedOutput]:
    """Yields the output; says before any work what it cannot hold.

    Args:
        sink: of bytes.
        settings: how frames are written.
        source: what is taken over from the input.
        frames: the input.
        upscale: of the network.
    """
    height, width = frames.height * upscale, frames.width * upscale
    size = frames.height, frames.width
    colours = piped_colours(settings, height, width, bits=frames.bits, like=source.colours, like_size=size)
    if source.colours is not None:
        for text in unsaid(settings, height, width, source.colours, colours):
            _note(text)
    rate = source.rate or DEFAULT_RATE
    yield PipedOutput(PipedVideo(sink, settings, colours, rate=rate, pixel_aspect=source.pixel_aspect))


def _note(text: str) -> None:
    print(f"spikejax: note: {text}", file=sys.stderr)
