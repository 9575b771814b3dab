"""Restores a video: python -m spikejax.restore --network PATH --input IN [--spikes ...] --output OUT.

IN is a folder of pictures, a glob of them or a video; OUT a folder of PNG files or, by its suffix, a video. OUT appears
when it is whole; metrics.json comes with it. A run that was stopped goes on with --resume.

On many hosts start the same command on each, as for training; all of them see the input and the output.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikejax.cli import run
from spikejax.compile_cache import use_compile_cache
from spikejax.errors import DamagedInput, InputError
from spikejax.inference.restore_options import parse
from spikejax.inference.resumable_output import Output, Target, VideoSource, WrittenElsewhere, open_output
from spikejax.inference.tiling import Extent
from spikejax.io.frame_source import FrameSource, open_frames
from spikejax.io.json_files import read_json
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_writer import DEFAULT_RATE
from spikejax.quality.metrics import AFTER, BEFORE, Distance, describe, measured_metrics, open_metrics

if TYPE_CHECKING:
    from spikejax.inference.restore_job import Job, Report
    from spikejax.inference.restored_stream import Settings
    from spikejax.inference.video_restorer import VideoRestorer

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a score's name ends in, in words.
_WHEN = {BEFORE: "before", AFTER: "after"}
# The options that name what is read.
_READ = ("input", "spikes", "spike_windows", "sharp", "network", "lpips")


def main(arguments: Sequence[str]) -> None:
    """Restores as the command line says.

    Args:
        arguments: what follows the program's name.

    Raises:
        DamagedInput: parts of the video did not decode; the rest is restored.
    """
    options = parse(arguments)
    target = _target(options)
    if options.resume and not target.work.exists() and _is_complete(options, target):
        print(f"{options.output} is complete already")
        return
    target.check()
    frames = open_frames(options.input, own_depth=True)
    sharp = None if options.sharp is None else open_frames(options.sharp, own_depth=True)

    # Only now: JAX takes seconds to import, and a mistake above should show at once.
    from spikejax.distributed import hosts
    from spikejax.inference.restore_job import check_sharp

    hosts.join_as(options)
    with hosts.failing_together():
        measures = _measures(options)
        restorer = _load(options)
        job = _job(options, restorer, frames, sharp, measures)
        check_sharp(restorer, job)
        description = _describe(options, restorer, frames)
    hosts.check_same(json.dumps(description), "options, network and input")
    report = _restore(options, restorer, job, target, description)
    if hosts.is_first():
        _say(options, report)
    if report.damage is not None:
        raise DamagedInput(f"restored what decodes of {options.input}: {report.damage}")


def _is_complete(options: argparse.Namespace, target: Target) -> bool:
    """Whether the output is there, restored from this input."""
    metrics = read_json(target.metrics)
    return metrics is not None and metrics.get("input") == os.path.abspath(options.input)


def _say(options: argparse.Namespace, report: Report) -> None:
    print(f"{report.frames} frames restored to {options.output}, {report.seconds_per_frame:.3g} s a frame")
    for line in _summary(report.means):
        print(line)


def _restore(
    options: argparse.Namespace, restorer: VideoRestorer, job: Job, target: Target, description: Mapping[str, Any]
) -> Report:
    from spikejax.distributed import hosts
    from spikejax.inference.restore_job import restore_job

    with _explained(options), ExitStack() as stack:
        output = stack.enter_context(_open(options, restorer, job, target, description))
        # One host says how it goes.
        log = None if hosts.is_first() else stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        report = restore_job(restorer, job, output, log=log)
        output.finish(report.to_json() | _paths(options))
    # A host that left would end those that still write.
    hosts.wait_for_all("the end of restoring")
    return report


@contextmanager
def _explained(options: argparse.Namespace) -> Iterator[None]:
    """Says what a full device, a full disk and a lost host are, wherever they show."""
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        what = str(error).partition("\n")[0]
        if "RESOURCE_EXHAUSTED" in what:
            raise InputError(
                f"expected tiles that fit into a device's memory (--tile auto finds one): {what}"
            ) from error
        if jax.process_count() == 1:
            raise
        raise InputError(f"expected all hosts of the run to answer, one has ended: {what}") from error
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise InputError(f"expected more room on the disk of {options.output}: {error.strerror}") from error


@contextmanager
def _open(
    options: argparse.Namespace, restorer: VideoRestorer, job: Job, target: Target, description: Mapping[str, Any]
) -> Iterator[Output]:
    """Yields the output, which the first host writes; all hosts go on where that one's earlier run has stopped."""
    from spikejax.distributed import hosts

    interpolates = restorer.traits.interpolates
    names = None if interpolates else job.frames.names
    source = _video_source(options, job.frames, 2**job.settings.passes if interpolates else 1)
    with ExitStack() as stack:
        files = None
        with hosts.failing_together():
            if hosts.is_first():
                opened = open_output(target, source, names=names, description=description, resume=options.resume)
                files = stack.enter_context(opened)
        kept = (0, 0, 0, 0) if files is None else (files.done, *(files.tile or Extent(0, 0, 0)).shape)
        done, *tile = hosts.gather(np.array(kept))[0].tolist()
        if files is None:
            yield WrittenElsewhere(done, Extent(*tile) if any(tile) else None)
            return
        try:
            yield files
        except BaseException:
            if files.done:
                print(f"spikejax: {files.done} frames are kept; --resume goes on from there", file=sys.stderr)
            raise


def _paths(options: argparse.Namespace) -> dict[str, str | None]:
    """Where everything is, for the report."""
    names = ("network", "input", "sharp", "output", "video")
    paths = {name: getattr(options, name) for name in names} | {"lpips_weights": options.lpips}
    return {name: path and os.path.abspath(path) for name, path in paths.items()}


def _target(options: argparse.Namespace) -> Target:
    """Where to write; raises InputError if that would destroy what is read."""
    for output in (path for path in (options.output, options.video) if path is not None):
        for source in (getattr(options, name) for name in _READ):
            if source is not None and Path(source).resolve().is_relative_to(Path(output).resolve()):
                raise InputError(f"expected an output apart from what is read, {source} would be replaced by {output}")
    return Target(
        path=Path(options.output),
        video=None if options.video is None else Path(options.video),
        settings=VideoSettings(options.codec, options.quality, options.pixel_format),
        overwrite=options.overwrite,
    )


def _video_source(options: argparse.Namespace, frames: FrameSource, times: int) -> VideoSource:
    if frames.names is not None:
        return VideoSource(rate=None)
    time_base = None if frames.time_base is None else frames.time_base / times
    return VideoSource((frames.rate or DEFAULT_RATE) * times, time_base, frames.pixel_aspect, Path(options.input))


def _summary(means: Mapping[str, float]) -> Iterator[str]:
    """A line for each of the metrics that papers state, if there are any."""
    for name in measured_metrics(means):
        metric = describe(name)
        values = [(means[f"{name}_{end}"], when) for end, when in _WHEN.items() if f"{name}_{end}" in means]
        if metric.headline:
            stated = (f"{metric.text(value)}{metric.unit_text} {when}" for value, when in values)
            yield f"{metric.title} {', '.join(stated)}"


def _load(options: argparse.Namespace) -> VideoRestorer:
    from spikejax.loading import load

    use_compile_cache(options.compile_cache, apart_from=Path(options.network))
    return load(options.network, dtype=options.dtype, run_code=options.run_code)


def _measures(options: argparse.Namespace) -> dict[str, Distance]:
    weights = {} if options.lpips is None else {"lpips": options.lpips}
    return open_metrics(options.metrics, key="--metrics", weights=weights)


def _job(
    options: argparse.Namespace,
    restorer: VideoRestorer,
    frames: FrameSource,
    sharp: FrameSource | None,
    measures: Mapping[str, Distance],
) -> Job:
    from spikejax.inference.restore_job import Job
    from spikejax.inference.voxel_source import VoxelSource

    settings = _settings(options, restorer)
    restorer.check_spikes(options.spikes is not None)
    if restorer.traits.spike_bins is None:
        return Job(frames, settings, sharp=sharp, measures=measures)
    spikes = VoxelSource(
        options.spikes, frames, bins=restorer.traits.spike_bins, size=options.spike_size, windows=options.spike_windows
    )
    for note in spikes.notes:
        print(f"spikejax: note: {note}", file=sys.stderr)
    return Job(frames, settings, spikes=spikes, sharp=sharp, measures=measures)


def _settings(options: argparse.Namespace, restorer: VideoRestorer) -> Settings:
    from spikejax.inference.compiled_network import use_devices
    from spikejax.inference.restored_stream import Settings

    tile, auto = options.tile or restorer.tile, isinstance(options.tile, str)
    if auto:
        frames_at_once = options.tile.partition(",auto")[0]
        tile = restorer.tile if options.tile == "auto" else replace(restorer.tile, frames=int(frames_at_once))
    if options.space is not None:
        tile = Extent(tile.frames, 0, 0)
    return Settings(
        tile=tile,
        overlap=options.overlap or restorer.overlap_of(tile),
        auto=auto,
        memory=options.memory,
        sigma=options.sigma,
        ensemble=options.ensemble,
        passes=restorer.passes_for(options.rate),
        devices=use_devices(options.space or options.devices, space=options.space is not None),
    )


def _describe(options: argparse.Namespace, restorer: VideoRestorer, frames: FrameSource) -> dict[str, Any]:
    """What decides the restored frames: a run that resumes must have the same."""
    decisive = (
        "input", "spikes", "spike_windows", "spike_size", "sharp", "lpips", "metrics", "tile", "overlap", "sigma",
        "rate", "ensemble", "dtype", "video", "codec", "quality", "pixel_format",
    )  # fmt: skip
    values = {name: getattr(options, name) for name in decisive}
    stated = {name: value if isinstance(value, str) or value is None else str(value) for name, value in values.items()}
    size = f"{frames.height}x{frames.width}, {frames.expected_length} frames"
    return stated | {"network": restorer.fingerprint(), "size": size}


if __name__ == "__main__":
    run(main)
