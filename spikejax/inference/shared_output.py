"""One output for all hosts of a run: the first host writes it, and all go on at the same frame."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from spikejax.distributed import hosts
from spikejax.inference.output_target import OutputTarget, VideoSource
from spikejax.inference.resumable_output import Output, open_output
from spikejax.inference.tiling import Extent
from spikejax.io.pictures import WrittenFrame
from spikejax.progress import count_text


class WrittenElsewhere:
    """The output on a host that does not write it; an `Output` that counts the frames and lets them go."""

    def __init__(self, done: int, tile: Extent | None) -> None:
        """Goes on where the host that writes does."""
        self.done = done
        self.tile = tile

    @property
    def scores(self) -> list[dict[str, Any]]:
        """None of them: they are known where the frames are written."""
        return []

    def keep_tile(self, tile: Extent) -> None:
        """Keeps nothing."""

    def write(self, frame: WrittenFrame, time: Fraction | None, scores: dict[str, Any]) -> None:
        """Counts the next frame."""
        self.done += 1

    def room(self, total: int) -> tuple[str, bool]:
        """Nothing: that is known where the frames are written."""
        return "", True

    def finish(self, report: Mapping[str, Any]) -> None:
        """Leaves everything where it is."""


@contextmanager
def open_shared_output(
    target: OutputTarget,
    source: VideoSource,
    *,
    names: tuple[str, ...] | None,
    description: Mapping[str, Any],
    resume: bool,
) -> Iterator[Output]:
    """Yields the output, which the first host writes; all hosts go on where that one's earlier run has stopped.

    The arguments and what is raised are those of `open_output`; all hosts have to come here.
    """
    with ExitStack() as stack:
        here = None
        with hosts.failing_together():
            if hosts.is_first():
                opened = open_output(target, source, names=names, description=description, resume=resume)
                here = stack.enter_context(opened)
        # Of every host: frames that are kept, and the tile's frames, rows and columns; 0 where there is no tile.
        state = (0, 0, 0, 0) if here is None else (here.done, *(here.tile or Extent(0, 0, 0)).shape)
        done, *tile = hosts.gather_from_all(np.array(state))[0].tolist()
        if here is None:
            yield WrittenElsewhere(done, Extent(*tile) if any(tile) else None)
            return
        try:
            yield here
        except BaseException:
            if here.done and source.rereadable:
                print(f"spikejax: {count_text(here.done, 'frame')} kept; --resume goes on from there", file=sys.stderr)
            raise
