"""Restores a video: python -m spikejax.restore --network PATH --input IN [--spikes ...] --output OUT.

IN is a folder of pictures, a glob of them or a video; OUT a folder of PNG files or, by its suffix, a video. OUT appears
when it is whole; metrics.json comes with it. A run that was stopped goes on with --resume.

On many hosts start the same command on each, as for training; all of them see the input and the output.
"""

from __future__ import annotations

import dataclasses
import importlib
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from spikejax.cli import run, show_as_asked
from spikejax.compile_cache import use_compile_cache
from spikejax.errors import DamagedInput
from spikejax.hardware.allocator import keep_freed_memory
from spikejax.hub.resolving import resolve_network
from spikejax.inference.restore_arguments import build_parser as build_parser
from spikejax.inference.restore_arguments import parse_options
from spikejax.inference.restore_options import RestoreOptions
from spikejax.io.standard_streams import standard_output_taken
from spikejax.io.video_reading import VideoReading
from spikejax.progress import count_text, say
from spikejax.quality.metrics import Distance, open_metrics

if TYPE_CHECKING:
    from spikejax.inference.video_restorer import VideoRestorer
    from spikejax.io.frame_stream import FrameSource


def main(arguments: Sequence[str]) -> None:
    """Restores as the command line says.

    Args:
        arguments: what follows the program's name.

    Raises:
        DamagedInput: parts of the video did not decode; the rest is restored.
    """
    every, other_options = parse_options(arguments)
    show_as_asked(other_options)
    network = resolve_network(every[0].network, accept_license=other_options.accept_license)
    every = [dataclasses.replace(options, network=network) for options in every]
    wanted = [options for options in every if not _is_done(options)]
    if not wanted:
        return
    with standard_output_taken() if every[0].pipes_out else nullcontext() as sink:
        _restore_all(wanted, other_options, sink)


def _restore_all(wanted: list[RestoreOptions], other_options: Namespace, sink: BinaryIO | None) -> None:
    """Restores several inputs one after the other.

    Args:
        wanted: of each.
        other_options: of all.
        sink: takes the frames where they go through a pipe.

    Raises:
        DamagedInput: see `main`.
    """
    # Only now, each in its turn: decoders and JAX take seconds to import, and a mistake above should show at once.
    # All before the first is restored, so that a mistake in the last does not cost a night.
    left = [_open(options) for options in wanted]

    from spikejax.distributed import hosts
    from spikejax.hardware.devices import use_required
    from spikejax.io.size_changes import check_pictures

    hosts.join_as(other_options)
    use_required(other_options.require)
    with hosts.failing_together():
        # Only with the others: one whose pictures cannot be read would leave them waiting for it to join.
        for given in left:
            check_pictures(given.frames, given.options.reading or VideoReading())
        measures = _measures(wanted[0])
        restorer = _load(wanted[0])
    if other_options.preview is not None:
        left = _preview(left, restorer, measures, other_options)
    stall = other_options.stall_seconds
    damaged = [damage for given in left if (damage := _restore(given, restorer, measures, stall, sink))]
    if other_options.open and other_options.preview is None:
        _report([given.options for given in left], open_it=True)
    if damaged:
        raise DamagedInput(f"restored what decodes of {'; '.join(damaged)}")


@dataclass(frozen=True)
class _Given:
    """What one input is restored by.

    Attributes:
        options: of it.
        frames: that are to be restored.
        sharp: the true ones, if there are any, of which the same part is taken.
    """

    options: RestoreOptions
    frames: FrameSource
    sharp: FrameSource | None


def _preview(
    left: list[_Given], restorer: VideoRestorer, measures: dict[str, Distance], other_options: Namespace
) -> list[_Given]:
    """Restores previews and reports on them; returns what is to be restored afterwards."""
    from spikejax.inference.preview import SECONDS, preview_of

    previews = [preview_of(given.options, given.frames) for given in left]
    for given, preview in zip(left, previews, strict=True):
        if preview is None:
            path = given.options.input
            say(f"no preview of {path}, which is not longer than {SECONDS} s, or does not say how long it is")
            continue
        preview.check_apart()
        preview.target.check()
        _restore(_open(preview), restorer, measures, other_options.stall_seconds)
        _report([preview], open_it=other_options.open)
    if other_options.preview == "first":
        return left
    return [given for given, preview in zip(left, previews, strict=True) if preview is None]


def _report(every: list[RestoreOptions], *, open_it: bool) -> None:
    """Writes the report of each output, and opens it in the browser, on the first host."""
    from spikejax.distributed import hosts

    report = importlib.import_module("spikejax.report")  # as the command of that name does it
    for options in every if hosts.is_first() else ():
        report.main([options.output, *["--open"] * open_it])


def _is_done(options: RestoreOptions) -> bool:
    """Whether a run that resumes finds its output complete.

    Raises:
        InputError: writing the output would destroy something, or cannot work.
    """
    options.check_apart()
    if options.pipes_out:
        return False
    if options.resume and options.target.is_restored_from(options.input, options.part):
        print(f"{options.output} is complete already")
        return True
    options.target.check()
    return False


def _open(options: RestoreOptions) -> _Given:
    """What an input is restored by; of a part of a video, frames are decoded up to its end to find it."""
    from spikejax.io.frame_range import part_of
    from spikejax.io.frame_source import open_frames

    def part(source: FrameSource) -> FrameSource:
        return part_of(source, options.start, options.end, rate=options.fps)

    sharp = None if options.sharp is None else part(open_frames(options.sharp, own_depth=True))
    if options.pipes_in:
        from spikejax.io.piped_frames import PipedFrames

        reading = options.reading or VideoReading()
        return _Given(
            options, part(PipedFrames(options.input, reading=reading, raw=options.raw, rate=options.fps)), None
        )
    opened = open_frames(options.input, own_depth=True, reading=options.reading, keep_floats=options.keeps_floats)
    return _Given(options, part(opened), sharp)


def _restore(
    given: _Given,
    restorer: VideoRestorer,
    measures: dict[str, Distance],
    stall_seconds: int | None,
    sink: BinaryIO | None = None,
) -> str | None:
    """Restores one input; returns what of it did not decode, if there is any."""
    from spikejax.distributed import hosts
    from spikejax.inference.restore_run import describe_run, make_job, restore_to_files

    options = given.options
    with hosts.failing_together():
        job = make_job(options, restorer, given.frames, sharp=given.sharp, measures=measures)
        description = describe_run(options, restorer, given.frames)
    report = restore_to_files(
        options, options.target, restorer, job, description, stall_seconds=stall_seconds, sink=sink
    )
    if hosts.is_first():
        frames = count_text(report.frames, "frame")
        print(f"{frames} restored to {options.output}, {report.seconds_per_frame:.3g} s a frame")
        for line in report.summary():
            print(line)
    return None if report.damage is None else f"{options.input}: {report.damage}"


def _measures(options: RestoreOptions) -> dict[str, Distance]:
    weights = {} if options.lpips is None else {"lpips": options.lpips}
    return open_metrics(options.measured, key="--metrics", weights=weights)


def _load(options: RestoreOptions) -> VideoRestorer:
    from spikejax.loading import load

    # The next video of the same tile size finds its program compiled.
    keep_freed_memory()
    use_compile_cache(options.compile_cache, apart_from=[options.network, options.lpips])
    return load(
        options.network,
        dtype=options.dtype,
        precision=options.precision,
        statistics=options.statistics,
        trust_code=options.trust_code,
    )


if __name__ == "__main__":
    run(main)
