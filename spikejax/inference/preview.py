"""A few seconds from the middle of an input, restored before the whole, for somebody to look at."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from spikejax.inference.restore_options import RestoreOptions
from spikejax.io.frame_stream import FrameSource
from spikejax.io.positions import Position
from spikejax.io.video_codecs import DEFAULT_RATE

SECONDS = 3


def preview_of(options: RestoreOptions, frames: FrameSource) -> RestoreOptions | None:
    """The options that restore the preview; None where the input is not longer than one, or nobody knows how long.

    Args:
        options: of the whole.
        frames: the input.
    """
    rate, length = frames.rate or options.fps or DEFAULT_RATE, frames.expected_length
    count = max(round(SECONDS * rate), 2)
    if length is None or length <= count:
        return None
    first = (length - count) // 2
    start, end = Position(frame=first), Position(frame=first + count)
    if frames.names is None:  # how many there are is what the container says, so that times are as good
        start, end = (Position(seconds=at.frame / rate) for at in (start, end) if at.frame is not None)
    output = _beside(options.output)
    video = None if options.video is None else _beside(options.video)
    return dataclasses.replace(options, start=start, end=end, output=output, video=video, overwrite=True, resume=False)


def _beside(path: str) -> str:
    """The path of the preview of an output."""
    whole = Path(path)
    return str(whole.with_name(f"{whole.stem}.preview{whole.suffix}"))
