"""A run of restoring, from options to files: on all hosts, resumable, and with a line for what stops it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import jax

from spikejax.distributed import hosts
from spikejax.errors import InputError
from spikejax.inference.output_target import OutputTarget, VideoSource
from spikejax.inference.piped_output import open_piped_output
from spikejax.inference.restore_job import RestoreJob, check_sharp, restore_job
from spikejax.inference.restore_options import RestoreOptions
from spikejax.inference.restore_report import RestoreReport
from spikejax.inference.restored_stream import StreamSettings
from spikejax.inference.resumable_output import Output
from spikejax.inference.shared_output import open_shared_output
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import RestoreSettings, VideoRestorer
from spikejax.inference.voxel_source import VoxelSource
from spikejax.io.contents import contents_of
from spikejax.io.copied_streams import stream_notes
from spikejax.io.disk_space import full_disk_words, is_full_disk
from spikejax.io.frame_source import FrameSource
from spikejax.io.output_formats import FLOAT_FORMATS, PICTURE_FORMATS
from spikejax.io.size_changes import size_change_note
from spikejax.io.still_pictures import holds_profile, profile_name
from spikejax.io.video_codecs import DEFAULT_RATE, is_video_name
from spikejax.io.video_reading import VideoReading
from spikejax.io.written_colours import lost_colours, written_colours
from spikejax.quality.metrics import Distance


def make_job(
    options: RestoreOptions,
    restorer: VideoRestorer,
    frames: FrameSource,
    *,
    sharp: FrameSource | None,
    measures: Mapping[str, Distance],
) -> RestoreJob:
    """What is to be restored, with its spikes found and checked.

    Args:
        options: of the run.
        restorer: the network.
        frames: the input.
        sharp: the true frames.
        measures: what is measured, by name.

    Raises:
        InputError: spikes are missing or not wanted, or they or the true frames do not fit the input.
    """
    restorer.check_spikes(options.spikes is not None)
    spikes = None
    bins = restorer.traits.spike_bins
    if options.spikes is not None and bins is not None:
        spikes = VoxelSource(
            options.spikes,
            frames,
            bins=bins,
            size=options.spike_size,
            windows=options.spike_windows,
            upside_down=options.flip_spikes,
        )
        for note in spikes.notes if hosts.is_first() else ():
            print(f"spikejax: note: {note}", file=sys.stderr)
    job = RestoreJob(frames, _settings(options, restorer), spikes=spikes, sharp=sharp, measures=measures)
    check_sharp(restorer, job)
    return job


def restore_to_files(
    options: RestoreOptions,
    target: OutputTarget,
    restorer: VideoRestorer,
    job: RestoreJob,
    description: str,
    *,
    stall_seconds: int | None = None,
    sink: BinaryIO | None = None,
) -> RestoreReport:
    """Restores a job and writes what comes out; all hosts have to come here.

    Args:
        options: of the run.
        target: where to write.
        restorer: the network.
        job: what is to be restored.
        description: see `describe_run`.
        stall_seconds: after which a run that does not get on ends its process, see `hosts.watch_for_stalls`.
        sink: takes the frames in place of `target`, where they go through a pipe.

    Raises:
        InputError: the hosts' options differ; a tile, or the output, is too large for what is to hold it; another host
            has ended.
    """
    hosts.check_same(description, "options, network and input")
    _check_pipes(options, job)
    upscale, interpolates = restorer.traits.upscale, restorer.traits.interpolates
    if options.format is None and job.frames.bits == 32:
        target = replace(target, format=FLOAT_FORMATS[0])
    reading = options.reading or VideoReading()
    source = _video_source(job.frames, 2**job.settings.passes if interpolates else 1, options.fps, reading.stream)
    if sink is None:
        _check_colours(target, job.frames, upscale, reading.stream)
    if hosts.is_first():
        if change := size_change_note(job.frames, reading):
            print(f"spikejax: note: {change}", file=sys.stderr)
        _say_profile(target, job.frames, piped=sink is not None)
    with _explaining(options.output), ExitStack() as stack:
        output: Output
        if sink is not None:
            output = stack.enter_context(open_piped_output(sink, options.piping, source, job.frames, upscale))
        else:
            output = stack.enter_context(
                open_shared_output(
                    target,
                    source,
                    names=None if interpolates else job.frames.names,
                    description=json.loads(description),
                    resume=options.resume,
                )
            )
        # One host says how it goes.
        log = None if hosts.is_first() else stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        stack.enter_context(hosts.watch_for_stalls(stall_seconds, target.stalled))
        report = restore_job(restorer, job, output, log=log)
        for remark in job.frames.whole.remarks if hosts.is_first() else ():
            print(f"spikejax: note: {remark}", file=sys.stderr)
        size = None if job.spikes is None else job.spikes.shape[:2]
        how: dict[str, Any] = {"spike_size": size, "flip_spikes": options.flip_spikes, "dtype": options.dtype}
        if options.reading is not None:
            how["reading"] = asdict(options.reading)
        part = options.part | {"first_frame": job.frames.first}
        output.finish(report.to_json() | options.paths | how | part)
    # A host that left would end those that still write.
    hosts.wait_for_all("the end of restoring")
    return report


def describe_run(options: RestoreOptions, restorer: VideoRestorer, frames: FrameSource) -> str:
    """JSON of all that decides the restored frames: hosts must agree on it, and a run that resumes with its start."""
    size = f"{frames.height}x{frames.width}, {frames.expected_length} frames"
    # What is read counts by its contents, and the place of a video without links: paths can be spelt in many ways.
    read = {name: getattr(options, name) for name in ("input", "spikes", "spike_windows", "sharp", "lpips")}
    contents = {name: None if path is None else contents_of(path) for name, path in read.items()}
    video = None if options.video is None else os.path.realpath(options.video)
    decisive = options.decisive | contents | {"video": video}
    return json.dumps(decisive | {"network": restorer.fingerprint(), "size": size})


def _settings(options: RestoreOptions, restorer: VideoRestorer) -> StreamSettings:
    tile = options.tile
    if options.space is not None:
        frames = tile.frames if isinstance(tile, Extent) else restorer.tile.frames
        tile = Extent(frames, 0, 0)
    return restorer.settings(
        RestoreSettings(
            tile=tile,
            overlap=options.overlap,
            memory=options.memory,
            sigma=options.sigma,
            ensemble=options.ensemble,
            times=options.times,
            devices=options.space or options.devices,
            space=options.space is not None,
            protocol=options.protocol,
        )
    )


def _video_source(frames: FrameSource, times: int, fps: Fraction | None, film: int | None) -> VideoSource:
    """What a video takes over from the input, at `times` its rate; pictures have `fps` frames a second.

    `film` is the number of a video in its file.
    """
    if frames.names is not None:
        return VideoSource((fps or DEFAULT_RATE) * times, profile=frames.profile)
    if fps is not None and not frames.one_pass:
        raise InputError(f"expected a folder of pictures with --fps, found a video, which has a rate: {frames.path}")
    time_base = None if frames.time_base is None else frames.time_base / times
    rate = (frames.rate or DEFAULT_RATE) * times
    return VideoSource(
        rate,
        time_base,
        frames.pixel_aspect,
        Path(frames.path) if frames.has_streams else None,
        film=film,
        offset=frames.offset,
        is_part=frames.whole is not frames,
        colours=frames.colours,
        bits=8 if frames.bits <= 8 else 16,
        splices=frames.whole.splices,
        rereadable=not frames.one_pass,
    )


def _check_colours(target: OutputTarget, frames: FrameSource, upscale: int, film: int | None) -> None:
    """Says what the video that is to be written cannot hold of the input, as the first of all hosts.

    Raises:
        InputError: it cannot be written so.
    """
    if target.movie is None:
        return
    height, width, suffix = frames.height * upscale, frames.width * upscale, target.movie.suffix.lower()
    written = written_colours(target.settings, suffix, height, width, bits=frames.bits, like=frames.colours)
    if frames.colours is not None and hosts.is_first():
        lost = list(lost_colours(target.settings, frames.colours, written))
        for note in lost + (stream_notes(Path(frames.path), suffix, film) if frames.has_streams else []):
            print(f"spikejax: note: {note}", file=sys.stderr)


def _say_profile(target: OutputTarget, frames: FrameSource, *, piped: bool) -> None:
    """Says what becomes of the ICC profile of pictures in all that is written of them."""
    if frames.profile is None:
        return
    outputs = {"a pipe": False} if piped else {}
    if not piped and not is_video_name(target.path):
        depth = f" of {frames.bits} bits" if target.format == "tiff" else ""
        outputs[f"{target.format}{depth}"] = holds_profile(PICTURE_FORMATS[target.format], frames.bits)
    if not piped and target.movie is not None:
        outputs["a video"] = False
    name = profile_name(frames.profile)
    for output, held in outputs.items():
        kept, lost = "keeps the ICC profile", "holds no ICC profile, and will be shown as if it were sRGB; left out:"
        print(f"spikejax: note: {output} {kept if held else lost} {name!r}", file=sys.stderr)


def _check_pipes(options: RestoreOptions, job: RestoreJob) -> None:
    """Raises InputError where a pipe is read or written by many hosts, or by tiles of all of its frames."""
    piped = job.frames.one_pass or options.pipes_out
    if piped and jax.process_count() > 1:
        raise InputError(f"expected one host with a pipe, found {jax.process_count()}")
    if job.frames.one_pass and job.settings.tile.frames == 0:
        raise InputError("expected a --tile of so many frames with a pipe, which may never end, found one of all")


@contextmanager
def _explaining(output: str) -> Iterator[None]:
    """Says what a full device, a full disk and a lost host are, wherever they show."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        cause = str(error).partition("\n")[0]
        if "RESOURCE_EXHAUSTED" in cause:
            raise InputError(
                f"expected tiles that fit into a device's memory (--tile auto finds one): {cause}"
            ) from error
        if jax.process_count() == 1:
            raise
        raise InputError(f"expected all hosts of the run to answer, one has ended: {cause}") from error
    except Exception as error:
        if isinstance(error, InputError) or not is_full_disk(error):
            raise
        raise InputError(f"expected more room on the disk of {output}: {full_disk_words(error)}") from error
