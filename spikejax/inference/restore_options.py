"""What a run of restoring is asked to do: the options of `python -m spikejax.restore`, checked once."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax.cli import check_effects
from spikejax.errors import InputError
from spikejax.inference.output_target import OutputTarget
from spikejax.inference.tiling import PROTOCOLS, UNLIMITED, AutoTile, Extent
from spikejax.io.output_formats import FLOAT_FORMATS, KEPT_FORMATS, PICTURE_FORMATS, PIPE_FORMATS
from spikejax.io.paths import check_network_path, check_scheme, is_remote, local_only
from spikejax.io.positions import Position
from spikejax.io.standard_streams import PIPE, is_pipe
from spikejax.io.video_codecs import VideoSettings, default_codec, is_video_name
from spikejax.quality.metrics import OF_FRAMES

if TYPE_CHECKING:
    from spikejax.io.piped_video import PipeSettings
    from spikejax.io.raw_frames import RawLayout
    from spikejax.io.video_reading import VideoReading

# What may change when a run resumes: the same frames come out. (Another network shows by its parameters' checksum.)
_FREE = frozenset(
    {"network", "output", "overwrite", "resume", "memory", "devices", "compile_cache", "trust_code", "resize_changes"}
)

_MAYBE_IN_BUCKET = ("network", "input", "sharp", "lpips", "statistics")
_PATHS = (*_MAYBE_IN_BUCKET, "output", "video", "spikes", "spike_windows", "compile_cache")


@dataclass(frozen=True)
class RestoreOptions:
    """What is read, what is written, and how to restore; None where the command line leaves it to others.

    Attributes:
        network: a folder of training, or weights.
        input: folder, pattern or video.
        output: folder or video.
        video: a video beside the folder.
        spikes: of the input.
        spike_windows: CSV file of the frames' windows.
        spike_size: height and width of the spike camera, where no config.yaml says it.
        flip_spikes: whether the camera stored the top row first.
        sharp: the true frames.
        start: where the part begins that is restored, of a frame or time; None = with the first.
        end: before which frame or time it ends; None = with the last.
        metrics: what is measured against them, by name; None = all.
        lpips: weights of that metric.
        statistics: a file of those of the network's spikes, if it comes without.
        overwrite: whether an earlier output is replaced.
        resume: whether to go on with an unfinished run.
        tile: what the network sees at once; 0 = all there are.
        overlap: of neighbouring tiles.
        memory: bytes that an `AutoTile` may use.
        sigma: standard deviation of the noise, of 255.
        times: frames that interpolation makes of one.
        fps: frames a second of an input of pictures.
        ensemble: "none", "flips" or "turns".
        dtype: of features.
        precision: of float32 products; None = "highest".
        codec: of a video; None = the usual one.
        quality: constant rate factor.
        pixel_format: of a video.
        devices: how many restore tiles of their own.
        space: how many share the rows of whole frames, instead of that.
        protocol: how overlapping tiles are blended.
        compile_cache: folder of compiled programs.
        trust_code: whether code that the network's configuration names is run.
        stream: the number of the film among a file's video streams.
        deinterlace: whether interlaced video is made progressive, at its rate ("kept") or twice that ("doubled").
        as_progressive: whether interlaced video is restored as it is.
        resize_changes: whether frames of another size than the first one's are brought to it.
        raw_size: height and width of raw frames that come through a pipe.
        raw_format: their pixel format; None = rgb24.
        format: of pictures, or of frames that go through a pipe.
    """

    network: str
    input: str
    output: str
    video: str | None = None
    spikes: str | None = None
    spike_windows: str | None = None
    spike_size: tuple[int, int] | None = None
    flip_spikes: bool = False
    sharp: str | None = None
    start: Position | None = None
    end: Position | None = None
    metrics: tuple[str, ...] | None = None
    lpips: str | None = None
    statistics: str | None = None
    overwrite: bool = False
    resume: bool = False
    tile: Extent | AutoTile | None = None
    overlap: Extent | None = None
    memory: int | None = None
    sigma: float | None = None
    times: int | None = None
    fps: Fraction | None = None
    ensemble: str = "none"
    dtype: str | None = None
    precision: str | None = None
    codec: str | None = None
    quality: int | None = None
    pixel_format: str | None = None
    devices: int | None = None
    space: int | None = None
    protocol: str = PROTOCOLS[0]
    compile_cache: str | None = None
    trust_code: bool = False
    stream: int | None = None
    deinterlace: str | None = None
    as_progressive: bool = False
    resize_changes: bool = False
    raw_size: tuple[int, int] | None = None
    raw_format: str | None = None
    format: str | None = None

    def __post_init__(self) -> None:
        """Raises InputError for options that do not fit together."""
        if self.overwrite and self.resume:
            raise InputError("expected --overwrite (begin again) or --resume (go on), found both")
        _ = self.reading  # raises where options of it exclude each other
        for name in _PATHS:
            check = check_scheme if name in _MAYBE_IN_BUCKET else local_only
            check = check_network_path if name == "network" else check
            check(getattr(self, name) or "", what=f"--{name.replace('_', '-')}")
        self._check_pipes()
        self._check_effects()
        if isinstance(self.tile, Extent) and self.overlap is not None:
            # Where both are given, the mistake shows before anything is loaded; 0 stands for all there are.
            if not self.overlap.smaller_than(self.tile.or_all(UNLIMITED)):
                raise InputError(f"expected an --overlap smaller than --tile {self.tile}, found {self.overlap}")
        if self.codec is not None:
            _ = self.target.settings.chosen_codec  # raises where there is no such codec

    def _check_effects(self) -> None:
        """Raises InputError for an option without another one by which alone it has an effect."""
        needed = {
            "--sharp, the frames to measure against,": (self.sharp is not None, ("metrics", "lpips")),
            "lpips among --metrics": (self.metrics is None or "lpips" in self.metrics, ("lpips",)),
            "--spikes": (self.spikes is not None, ("spike_windows", "spike_size", "flip_spikes")),
            "--tile auto, which chooses a tile that fits,": (isinstance(self.tile, AutoTile), ("memory",)),
            "a video, as --output or --video,": (self.target.movie is not None, ("codec", "quality")),
            "a video, as --output or --video, or a pipe,": (
                self.target.movie is not None or self.pipes_out or self.pipes_in,
                ("pixel_format", "fps"),
            ),
            "a pipe, --output -,": (self.pipes_out or self.format not in PIPE_FORMATS, ("format",)),
            "a folder as --output": (
                self.format in (None, *PIPE_FORMATS) or not (self.pipes_out or is_video_name(self.output)),
                ("format",),
            ),
            "--format png or tiff, of which a video can be made,": (
                self.video is None or self.format in (None, *KEPT_FORMATS),
                ("format",),
            ),
            "a pipe, --input -,": (self.pipes_in, ("raw_size",)),
            "--raw-size": (self.raw_size is not None, ("raw_format",)),
        }
        check_effects(self, needed)
        if self.space is None:
            return
        # Whole frames are not cut into tiles, so that only the frames of a clip are left to choose.
        for name in ("tile", "overlap"):
            extent = getattr(self, name)
            if isinstance(extent, AutoTile) or extent is not None and (extent.height or extent.width):
                raise InputError(f"expected --{name} FRAMES,0,0 with --space, whose frames are whole, found {extent}")

    def _check_pipes(self) -> None:
        """Raises InputError for what a pipe cannot do: nobody can look ahead in it, or read it or write to it again."""
        for name in ("spikes", "sharp"):
            if (value := getattr(self, name)) is not None and is_pipe(value):
                raise InputError(f"expected a file or a folder with --{name}, found a pipe: {value}")
        ends = {"input": self.pipes_in, "output": self.pipes_out}
        refused = {"resume": ("input", "output"), "spikes": ("input",), "sharp": ("input",), "video": ("output",)}
        for name, end in ((name, end) for name, every in refused.items() for end in every):
            if ends[end] and getattr(self, name):
                raise InputError(f"expected a file or a folder as --{end} with --{name}, found a pipe")
        if self.pipes_out:
            self.piping.check()

    @property
    def pipes_in(self) -> bool:
        """Whether frames come through a pipe."""
        return is_pipe(self.input)

    @property
    def pipes_out(self) -> bool:
        """Whether they go through one."""
        return self.output == PIPE

    @property
    def piping(self) -> PipeSettings:
        """How they go through one."""
        from spikejax.io.piped_video import PipeSettings  # only here: it imports a decoder

        return PipeSettings(self.format or "y4m", self.pixel_format)

    @property
    def keeps_floats(self) -> bool:
        """Whether pictures of floats stay what they are."""
        pictures = not (self.pipes_out or is_video_name(self.output) or self.video)
        return pictures and self.format in (None, *FLOAT_FORMATS)

    @property
    def reading(self) -> VideoReading | None:
        """How a video is read; None if nothing is said of it."""
        from spikejax.io.video_reading import VideoReading  # only here: --help of other commands needs it not

        reading = VideoReading.asked(
            stream=self.stream,
            deinterlace=self.deinterlace,
            as_progressive=self.as_progressive,
            resize_changes=self.resize_changes,
        )
        return None if reading == VideoReading() else reading

    @property
    def raw(self) -> RawLayout | None:
        """How raw frames lie in a pipe; None if they are none."""
        from spikejax.io.raw_frames import RawLayout  # only here, for the same reason as `piping`

        return None if self.raw_size is None else RawLayout(self.raw_format or "rgb24", *self.raw_size)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of all that is measured against sharp frames."""
        return OF_FRAMES if self.metrics is None else self.metrics

    @property
    def target(self) -> OutputTarget:
        """What is to be written."""
        movie = Path(self.output) if is_video_name(self.output) else None if self.video is None else Path(self.video)
        return OutputTarget(
            path=Path(self.output),
            video=None if self.video is None else Path(self.video),
            settings=VideoSettings(self.codec or default_codec(movie), self.quality, self.pixel_format),
            overwrite=self.overwrite,
            format=self.format if self.format in PICTURE_FORMATS else "png",
        )

    def check_apart(self) -> None:
        """Raises InputError if what is written would destroy what is read."""
        sources = (
            *(self.input, self.spikes, self.spike_windows, self.sharp),
            *(self.network, self.lpips, self.statistics),
        )
        for output in filter(None, (None if self.pipes_out else self.output, self.video)):
            for source in filter(None, sources):
                if (
                    source != PIPE
                    and not is_remote(source)
                    and Path(source).resolve().is_relative_to(Path(output).resolve())
                ):
                    raise InputError(
                        f"expected an output apart from what is read, {source} would be replaced by {output}"
                    )

    @property
    def decisive(self) -> dict[str, str | None]:
        """The options that decide what comes out, which a run that resumes must share."""
        values = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _FREE
        }
        # A default that is named is the same choice.
        values |= {"metrics": self.measured, "codec": self.target.settings.codec}
        # How many devices share a frame does not matter; that they do means that there are no tiles in space.
        values["space"] = None if self.space is None else "whole frames"
        return {name: None if value is None else str(value) for name, value in values.items()}

    @property
    def part(self) -> dict[str, str | None]:
        """What part of the input is restored, in the words of the command line."""
        return {name: None if at is None else str(at) for name, at in (("from", self.start), ("to", self.end))}

    @property
    def paths(self) -> dict[str, str | None]:
        """Where everything is, for the report."""
        paths = {
            "network": self.network,
            "input": self.input,
            "spikes": self.spikes,
            "spike_windows": self.spike_windows,
            "sharp": self.sharp,
            "output": self.output,
            "video": self.video,
            "lpips_weights": self.lpips,
        }
        named = {name: path if not path or path == PIPE or is_remote(path) else None for name, path in paths.items()}
        return {name: named[name] or (path and os.path.abspath(path)) for name, path in paths.items()}
