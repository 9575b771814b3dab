"""Restoring a whole input: frames, spikes and sharp frames in; restored frames and their scores out.

Three things go on at once, a few frames apart: reading (decoding, counting spikes), restoring, and writing (measuring,
encoding). What is held in memory depends on the frames' size and the tile, not on the length of the video.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TextIO

import numpy as np
from jaxtyping import Num

from spikejax.data.datasets.degradation import without_network
from spikejax.errors import InputError
from spikejax.hardware.devices import describe_devices
from spikejax.hardware.host import peak_host_bytes
from spikejax.inference.background_io import ReadAhead, WriteBehind
from spikejax.inference.clip_blending import InputFrame, RestoredFrame
from spikejax.inference.restore_report import RestoreReport
from spikejax.inference.restored_stream import RestoredStream, StreamSettings
from spikejax.inference.resumable_output import Output
from spikejax.inference.tile_search import peak_device_bytes
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.inference.voxel_source import VoxelSource
from spikejax.io.frame_stream import DecodedFrame, FrameSource
from spikejax.io.pixel_depth import to_depth, to_uint8
from spikejax.io.transparency import fill_hidden, with_alpha
from spikejax.progress import Progress, byte_text, say, say_detail
from spikejax.quality import metrics

# Frames that may wait to be written; they are large after super-resolution.
_WRITE_BEHIND = 4


@dataclass(frozen=True)
class RestoreJob:
    """What is to be restored.

    Attributes:
        frames: the input.
        spikes: of the frames, if the network takes spikes.
        sharp: the true frames, to measure against; as many and as large as the restored ones.
        settings: how.
        measures: what is measured if there are sharp frames, by name.
    """

    frames: FrameSource
    settings: StreamSettings
    spikes: VoxelSource | None = None
    sharp: FrameSource | None = None
    measures: Mapping[str, metrics.Distance] = field(default_factory=lambda: metrics.STANDARD)


def restored_count(
    restorer: VideoRestorer, frames: FrameSource, settings: StreamSettings, *, exact: bool
) -> int | None:
    """How many frames come out; None if nothing says how many go in and `exact` does not ask to count them."""
    count = frames.count if exact else frames.expected_length
    return None if count is None else restorer.traits.restored_count(count, passes=settings.passes)


def check_sharp(restorer: VideoRestorer, job: RestoreJob) -> None:
    """Raises InputError unless the sharp frames are like the restored ones in number and size, and can be measured."""
    if job.sharp is None:
        return
    count = restored_count(restorer, job.frames, job.settings, exact=True)
    scale = restorer.traits.upscale
    expected = f"{count} frames of {job.frames.height * scale}x{job.frames.width * scale}"
    given = f"{job.sharp.count} frames of {job.sharp.height}x{job.sharp.width}"
    if given != expected:
        raise InputError(
            f"expected sharp frames like the restored ones ({expected}, height x width), "
            f"found {given}: {job.sharp.path}"
        )
    black = np.zeros((job.sharp.height, job.sharp.width, 3), np.uint8)
    metrics.measure(black, black, job.measures)  # raises where pictures are too small; LPIPS is compiled from now on


def restore_job(
    restorer: VideoRestorer, job: RestoreJob, output: Output, *, log: TextIO | None = None
) -> RestoreReport:
    """Restores all frames that `output` does not have yet and gives them to it; returns what that took and gave.

    Args:
        restorer: the network.
        job: what is to be restored.
        output: takes the frames.
        log: where to say how it goes, default stderr.

    Raises:
        InputError: the frames are too few or too small, or do not fit the network or the settings.
        FloatingPointError: what the network makes of them is not finite; the frames before it are kept.
    """
    # Whatever ends the work ends the reading, too: a thread that still reads when the process ends stands still there,
    # and is waited for.
    with closing(_JobReader(job)) as reader:
        return _restore(restorer, job, output, reader, log)


def _restore(
    restorer: VideoRestorer, job: RestoreJob, output: Output, reader: _JobReader, log: TextIO | None
) -> RestoreReport:
    say("compiling the network", log)
    already, settings = output.done, job.settings
    if settings.auto and output.tile is not None:
        # There may be another amount of memory now, but the frames must be cut up as before.
        settings = replace(settings, tile=output.tile, auto=False)
    stream = restorer.stream(reader.frames_from, settings, done=already, name=str(job.frames.path))
    output.keep_tile(stream.plan.tile)
    say(f"restoring on {describe_devices()} in tiles of {stream.plan.tile} (frames, height, width)", log)
    say_detail(f"compiled in {stream.compile_seconds:.1f} s; a device needs {byte_text(stream.device_bytes)}")
    # The clock starts here: compiling is no part of the rate.
    started = time.perf_counter()
    waited = -reader.waited
    total = restored_count(restorer, job.frames, job.settings, exact=False)
    progress = Progress("restoring", total=None if total is None else total - already, unit="frame", stream=log)
    at = already + stream.plan.tile.frames  # after a clip
    room = None if total is None or log is not None else _Room(output, total, at if at < total else total)
    writer = _JobWriter(job, output, stream.dtype, progress, room)
    behind = WriteBehind(writer.write, _WRITE_BEHIND)
    with behind.running() as put:
        for item in stream:
            before = time.perf_counter()
            put(item)
            waited += time.perf_counter() - before
    progress.finish()
    whole = time.perf_counter() - started
    seconds = {
        "total": whole,
        "decode": reader.seconds,
        "compute": max(0.0, whole - waited - reader.waited),
        "write": behind.seconds,
    }
    return _report(job, stream, output, already=already, seconds=seconds)


def _report(
    job: RestoreJob, stream: RestoredStream, output: Output, *, already: int, seconds: dict[str, float]
) -> RestoreReport:
    upscale, total = stream.plan.upscale, seconds["total"]
    return RestoreReport(
        frames=output.done,
        resumed_at=already,
        height=job.frames.height,
        width=job.frames.width,
        restored_height=job.frames.height * upscale,
        restored_width=job.frames.width * upscale,
        tile=stream.plan.tile,
        overlap=stream.plan.overlap,
        protocol=stream.plan.protocol,
        devices=stream.devices,
        compile_seconds=stream.compile_seconds,
        seconds_per_frame=total / max(1, output.done - already),
        seconds=seconds,
        shares={name: value / total for name, value in seconds.items() if name != "total"},
        peak_host_bytes=peak_host_bytes(),
        peak_device_bytes=peak_device_bytes(),
        program_bytes=stream.device_bytes,
        tiles_in_float32=stream.finite.again,
        damage=str(job.frames.damage) if job.frames.damage else None,
        scores=output.scores,
    )


class _JobReader:
    """Reads a job's frames ahead; knows how long that took, and how long the network had to wait for it."""

    def __init__(self, job: RestoreJob) -> None:
        self._job = job
        self._readers: list[ReadAhead[InputFrame]] = []
        self._reading: list[Generator[InputFrame, None, None]] = []

    def close(self) -> None:
        """Ends what is still read."""
        for reading in self._reading:
            reading.close()

    def frames_from(self, start: int) -> Iterator[InputFrame]:
        """The input frames from number `start` on."""
        self._reading.append(self._read_from(start))
        return self._reading[-1]

    def _read_from(self, start: int) -> Generator[InputFrame, None, None]:
        # The next clip's frames are read while the network restores this one's.
        settings = self._job.settings
        frames, count = _input_frames(self._job, start), settings.tile.frames - settings.overlap.frames
        ahead = ReadAhead(frames, count, stop=self._job.frames.stop_waiting)
        self._readers.append(ahead)
        with ahead.running() as input_frames:
            yield from input_frames

    @property
    def seconds(self) -> float:
        """How long reading took."""
        return sum(reader.seconds for reader in self._readers)

    @property
    def waited(self) -> float:
        """How long the network had to wait for it."""
        return sum(reader.waited for reader in self._readers)


def _input_frames(job: RestoreJob, start: int) -> Iterator[InputFrame]:
    frames = job.frames.decode(start)
    if job.spikes is None:
        return (_input_frame(decoded, None) for decoded in frames)
    windows = job.spikes.read(start)
    return (_input_frame(decoded, counts) for decoded, counts in zip(frames, windows, strict=True))


def _input_frame(decoded: DecodedFrame, counts: Num[np.ndarray, "h2 w2 k"] | None) -> InputFrame:
    frame, time, alpha = decoded
    return InputFrame(frame if alpha is None else fill_hidden(frame, alpha), counts, time, alpha)


class _Room:
    """Says once, after the first clip, what all of the output will take on its disk."""

    def __init__(self, output: Output, total: int, at: int) -> None:
        self._output, self._total, self._at = output, total, at

    def written(self) -> None:
        """Speaks when so many frames are done."""
        if self._output.done != self._at or self._total <= self._at:
            return
        text, fits = self._output.room(self._total)
        if text:
            say(f"the rest will take {text}")
        if not fits:
            say("spikejax: note: that is more than there is; the run will stop in time, and go on with --resume")


class _JobWriter:
    """Measures and writes restored frames."""

    def __init__(
        self, job: RestoreJob, output: Output, dtype: np.dtype, progress: Progress, room: _Room | None
    ) -> None:
        self._output, self._dtype, self._progress, self._room = output, dtype, progress, room
        self._measures = job.measures
        self._sharp = None if job.sharp is None else job.sharp.read(output.done)

    def write(self, restored: RestoredFrame) -> None:
        input_frame = restored.source
        recon = to_depth(restored.frame, self._dtype)
        scores: dict[str, float] = {}
        if self._sharp is not None:
            reference = next(self._sharp, None)
            if reference is None:
                raise InputError("expected as many sharp frames as restored ones, found fewer")
            before = None if input_frame is None else input_frame.frame
            scores = self._scores(before, to_uint8(recon), to_uint8(reference[0]))
        self._output.write(with_alpha(recon, restored.alpha), restored.time, scores)
        self._progress.advance()
        if self._room is not None:
            self._room.written()

    def _scores(
        self, before: Num[np.ndarray, "h0 w0 3"] | None, recon: metrics.Picture, sharp: metrics.Picture
    ) -> dict[str, float]:
        if before is None:
            after = metrics.measure(recon, sharp, self._measures)
            return {f"{name}_{metrics.AFTER}": value for name, value in after.items()}
        blur = to_uint8(before)
        if blur.shape != sharp.shape:
            blur = without_network(blur[np.newaxis], *sharp.shape[:2])
        return metrics.scores_of_frame(blur, recon, sharp, self._measures)
