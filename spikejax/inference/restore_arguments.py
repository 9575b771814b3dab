"""The command line of `python -m spikejax.restore`, as `RestoreOptions`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikejax.cli import (
    add_accept_license,
    add_hosts,
    add_overwrite,
    add_progress,
    add_stall_seconds,
    add_statistics,
    add_trust_code,
    add_words,
    byte_count,
    frame_rate,
    make_parser,
    network_path,
    number_from,
    path_or_bucket,
    positive_count,
    size,
    whole_number_from,
)
from spikejax.compile_cache import add_compile_cache
from spikejax.errors import InputError
from spikejax.inference.precision import add_precision
from spikejax.inference.restore_options import RestoreOptions
from spikejax.inference.tile_arguments import add_devices, add_part, add_protocol, add_reading, read_extent, read_tile
from spikejax.io.output_formats import PICTURE_FORMATS, PIPE_FORMATS
from spikejax.io.standard_streams import PIPE, is_pipe
from spikejax.io.video_codecs import CODECS, DEFAULT_CODEC, DEFAULT_RATE
from spikejax.quality.metrics import OF_FRAMES
from spikejax.quality.score_files import SCORES_FILE

# Stands for the name of each input, without its suffix, in the paths of these options.
NAME = "{name}"
_NAMED = ("output", "video", "spikes", "spike_windows", "sharp")


def parse_options(arguments: Sequence[str]) -> tuple[list[RestoreOptions], argparse.Namespace]:
    """The options of each input, and those that change nothing of what is restored: of hosts and of progress.

    A mistake in them ends the process with exit code 2, as argparse does it.
    """
    parser = build_parser()
    values = vars(parser.parse_args(arguments))
    own = {field.name: values.pop(field.name) for field in dataclasses.fields(RestoreOptions)}
    own["metrics"] = None if own["metrics"] is None else tuple(own["metrics"])
    inputs = own.pop("input")
    if values["preview"] and (own["start"] or own["end"]):
        parser.error("expected --preview of a whole input, found --from or --to with it")
    _check_pipes(parser, inputs, own["output"], values)
    try:
        every = [RestoreOptions(**_named(own, path, inputs), input=path) for path in inputs]
    except InputError as error:
        parser.error(str(error))
    return every, argparse.Namespace(**values)


def _check_pipes(parser: argparse.ArgumentParser, inputs: Sequence[str], output: str, values: dict[str, Any]) -> None:
    """Ends the process for several inputs or previews through a pipe."""
    piped = [path for path in (*inputs, output) if is_pipe(path)]
    if piped and len(inputs) > 1:
        parser.error(f"expected one input with a pipe, found {len(inputs)}")
    for name in ("preview", "open"):
        if values[name] and (name == "preview" or output == PIPE) and piped:
            parser.error(f"expected a file or a folder with --{name}, found a pipe")


def _named(values: dict[str, Any], path: str, inputs: Sequence[str]) -> dict[str, Any]:
    """The options of one input, with its name in place of `{name}`.

    Raises:
        InputError: two of the inputs would share an output.
    """
    own = Path(path).stem
    if len(inputs) > 1 and NAME not in values["output"]:
        raise InputError(
            f"expected {NAME} in --output with several inputs (or one pattern, in quotes), found {values['output']}"
        )
    twins = [other for other in inputs if Path(other).stem == own]
    if NAME in values["output"] and len(twins) > 1:
        raise InputError(f"expected inputs of different names, found {' and '.join(twins[:2])}")
    named = {key: values[key].replace(NAME, own) for key in _NAMED if values[key] is not None}
    return values | named


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "restore",
        description="Restores a video or a folder of frames with a trained network.",
        example="--network runs/mine -i blurry.mp4 -o sharp.mkv --tile auto",
        epilog=f"Beside the frames, {SCORES_FILE} holds time, memory and (with --sharp) the metrics; "
        "python -m spikejax.report OUT shows them with the pictures. Exit code 3: parts of the video did not decode, "
        "and the rest is restored.",
    )
    _add_files(parser.add_argument_group("files"))
    add_reading(parser)
    _add_spikes(parser.add_argument_group("spikes"))
    _add_measuring(parser.add_argument_group("measuring"))
    _add_restoring(parser.add_argument_group("restoring"))
    _add_video(parser.add_argument_group("video"))
    _add_pipes(parser.add_argument_group("pipes"))
    add_devices(parser)
    add_accept_license(parser)
    add_progress(parser)
    add_compile_cache(parser)
    add_hosts(parser)
    add_stall_seconds(parser, "restored tile or written frame")
    return parser


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--network", required=True, type=network_path, metavar="PATH",
        help="where spikejax.train left the network, or a .safetensors file or folder of spikejax convert; demo (the "
        "one that comes with the package), vrt:006 (published), hf://USER/NAME[@REVISION][/FILE] (of a hub)",
    )  # fmt: skip
    add(
        "-i", "--input", required=True, nargs="+", type=path_or_bucket, metavar="PATH",
        help="frames: a folder of pictures, a pattern such as 'a/*.tif', a video, or - for y4m (or raw frames) on "
        "standard input; several are restored one after the other, "
        f"compiled once, with {NAME} in --output (--video, --spikes, --sharp) for the name of each",
    )  # fmt: skip
    add_part(group)
    add(
        "--preview", nargs="?", const="first", choices=("first", "only"),
        help="first restore three seconds from the middle, to OUT.preview, with a report; --preview only stops there",
    )  # fmt: skip
    add(
        "--open",
        action="store_true",
        help="write the report, of the preview if there is one, and open it in the browser",
    )
    add(
        "-o", "--output", required=True, metavar="PATH",
        help="a folder for pictures, a video (.mkv, .mov, .mp4, .webm), or - for standard output, as y4m",
    )  # fmt: skip
    add(
        "--format", choices=(*PICTURE_FORMATS, *PIPE_FORMATS),
        help="what pictures in a folder are written as (default: png, of floats exr), or frames into standard output "
        "(default: y4m)",
    )  # fmt: skip
    add("--video", metavar="PATH", help="a video to write as well, where --output is a folder")
    add_overwrite(group, "the output of an earlier run")
    add("--resume", action="store_true", help="go on with a run that was stopped, if there is one")


def _add_spikes(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--spikes", metavar="PATH",
        help="a folder with a .dat (or an .npy of voxels) for each frame, a prepared spike_vox.zarr, or one .dat, "
        "which is cut into equal windows",
    )  # fmt: skip
    add(
        "--spike-windows", metavar="CSV",
        help="the window of each frame in one .dat: a line each, with its first step in column t0 and the step after "
        "its last in column t1",
    )  # fmt: skip
    add_words(
        group, "--spike-size", read=size, metavar="HEIGHTxWIDTH",
        help="size of the spikes, where no config.yaml beside or above them says it",
    )  # fmt: skip
    add("--flip-spikes", action="store_true", help="the camera stored the top row of its .dat files first")


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--sharp", type=path_or_bucket, metavar="PATH", help="the true frames to measure against, like --input",
    )  # fmt: skip
    add(
        "--metrics", nargs="+", metavar="NAME",
        help=f"what to measure with --sharp: any of {', '.join(OF_FRAMES)}, or FILE.py:NAME (default: all)",
    )  # fmt: skip
    add(
        "--lpips",
        type=path_or_bucket,
        metavar="FILE",
        help="converted weights of LPIPS, without which it is not measured",
    )


def _add_restoring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add_words(
        group, "--tile", read=read_tile, metavar="FRAMES,HEIGHT,WIDTH",
        help="what the network sees at once, 0 = all there are; 'auto' or 'FRAMES,auto' = the largest that fits into "
        "memory (default: the network's own)",
    )  # fmt: skip
    add_words(
        group, "--overlap", read=read_extent, metavar="FRAMES,HEIGHT,WIDTH",
        help="of neighbouring tiles (default: the network's own, or half the tile where that is smaller)",
    )  # fmt: skip
    add_protocol(group)
    add(
        "--memory", type=byte_count, metavar="SIZE",
        help="what --tile auto may use, such as 6G: of a device's memory or, on CPUs, of the program's, apart from "
        "what compiling takes (default: what is free)",
    )  # fmt: skip
    add(
        "--sigma", type=number_from(0), metavar="X",
        help="standard deviation of the noise, of 255, for a network that takes a noise level",
    )  # fmt: skip
    add(
        "--times", type=positive_count, metavar="N",
        help="make 2, 4 or 8 times as many frames, with a network that interpolates",
    )  # fmt: skip
    add(
        "--ensemble", choices=("none", "flips", "turns"), default="none",
        help="take the mean over mirrored copies of the input (4 times the work) or over mirrored and turned copies "
        "(8 times)",
    )  # fmt: skip
    add_statistics(group)
    add_trust_code(group)
    add("--dtype", choices=("float32", "bfloat16"), help="what features are computed in (default: as trained)")
    add_precision(group)


def _add_video(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--codec", metavar="NAME", help=f"{', '.join(CODECS)}, or FILE.py:NAME (default: {DEFAULT_CODEC}; WebM: vp9)")
    add(
        "--quality", type=whole_number_from(0), metavar="CRF",
        help="constant rate factor; 0 is best (default: the codec's, at which no loss is visible)",
    )  # fmt: skip
    add(
        "--fps", type=frame_rate, metavar="X",
        help=f"frames a second of the input, where it is pictures: 24 or 30000/1001, say (default: {DEFAULT_RATE})",
    )  # fmt: skip
    add("--pixel-format", metavar="NAME", help="such as yuv444p10le (default: by the depth of the input)")


def _add_pipes(group: argparse._ArgumentGroup) -> None:
    add_words(
        group, "--raw-size", read=size, metavar="HEIGHTxWIDTH",
        help="of raw frames on standard input, which say nothing of themselves; --fps says their rate",
    )  # fmt: skip
    group.add_argument(
        "--raw-format", metavar="NAME", help="FFmpeg's name of their pixel format, such as nv12 (default: rgb24)"
    )
