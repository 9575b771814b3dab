"""Makes a spike-deblurring sequence of any video: python -m spikejax.simulate --input VIDEO_OR_FOLDER --output ROOT.

The result has the layout that training and restoring read; `spikejax.data.simulation.video_sequence` says how it is
made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from spikejax.cli import (
    add_overwrite,
    add_progress,
    add_words,
    make_parser,
    number_from,
    positive_count,
    run,
    show_as_asked,
    size,
)
from spikejax.data.datasets.layout import SPLITS, TRAINING_SPLIT
from spikejax.data.simulation.camera_settings import CameraSettings
from spikejax.data.simulation.noise_arguments import add_noise_options, noise_of
from spikejax.errors import InputError
from spikejax.progress import say

# Of files of spikes, which are no videos.
STREAM_SUFFIXES = (".dat", ".npy", ".npz")


def main(arguments: Sequence[str]) -> None:
    """Simulates a sequence as the command line says."""
    options = build_parser().parse_args(arguments)
    show_as_asked(options)
    # Only now: they import compilers and decoders, and a mistake in the arguments should show at once.
    from spikejax.data.datasets.voxel_statistics import write_statistics
    from spikejax.data.simulation.video_sequence import SimulateSettings, add_sequence
    from spikejax.io.frame_source import open_frames

    name = options.sequence or Path(options.input).resolve().stem
    if Path(options.input).suffix in STREAM_SUFFIXES:
        print(_cut_stream(options, name))
        return
    settings = SimulateSettings(
        exposure_frames=options.exposure_frames,
        size=options.size,
        shake=options.shake,
        max_frames=options.max_frames,
        seed=options.seed,
        camera=CameraSettings(
            steps_per_frame=options.steps,
            theta=options.theta,
            reset=options.reset,
            spike_scale=options.spike_scale,
            noise=noise_of(options),
        ),
    )
    if options.flip_spikes:
        raise InputError(f"expected a real stream of spikes with --flip-spikes, found pictures: {options.input}")
    source = open_frames(options.input)
    folder = add_sequence(source, options.output, name, settings, split=options.split, overwrite=options.overwrite)
    if options.split == TRAINING_SPLIT:
        write_statistics(options.output, bins=options.bins)
    print(folder)


def _cut_stream(options: argparse.Namespace, name: str) -> Path:
    """The folder of the sequence that a real stream is cut into."""
    from spikejax.data.simulation.stream_sequence import add_stream

    camera = CameraSettings()
    chosen = (options.shake, options.spike_scale, options.reset, noise_of(options), options.split)
    if chosen != (0.0, 1, camera.reset, camera.noise, "val"):
        raise InputError(
            "expected --split val and no option of motion, noise, --reset or --spike-scale with a real stream, which "
            f"has a camera of its own and no truth to train on, found one: {options.input}"
        )
    return add_stream(
        Path(options.input),
        options.output,
        name,
        steps=options.steps,
        theta=options.theta,
        size=options.size,
        max_frames=options.max_frames,
        split=options.split,
        overwrite=options.overwrite,
        upside_down=options.flip_spikes,
        print_line=lambda line: say(f"spikejax: note: {line}"),
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "simulate",
        description="Makes a spike-deblurring sequence (blurry pictures, sharp pictures and spikes) of a video or of a "
        "folder of pictures.",
        example="-i video.mp4 -o data/mine --spike-scale 2 --exposure-frames 8",
    )
    _add_files(parser.add_argument_group("files"))
    _add_time_and_picture(parser)
    _add_spikes(parser.add_argument_group("spikes"))
    add_progress(parser)
    return parser


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-i", "--input", required=True, metavar="PATH",
        help=f"video, or folder of consecutive pictures; or a real stream of spikes ({', '.join(STREAM_SUFFIXES)}), of "
        "which validation is made: blurry pictures and, in place of sharp ones, what the spikes say of the middle",
    )  # fmt: skip
    add("-o", "--output", required=True, metavar="ROOT", help="data set to add the sequence to; made if missing")
    add("--split", choices=SPLITS, default=TRAINING_SPLIT, help="split to add it to (default: %(default)s)")
    add("--sequence", metavar="NAME", help="name of the sequence (default: the input's)")
    add_overwrite(group, "the sequence of that name")


def _add_time_and_picture(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("time").add_argument
    add(
        "--exposure-frames", type=positive_count, default=8, metavar="N",
        help="video frames that an exposure spans (default: %(default)s)",
    )  # fmt: skip
    add(
        "--steps", type=positive_count, default=CameraSettings().steps_per_frame, metavar="N",
        help="steps of the spike camera in an exposure (default: %(default)s)",
    )  # fmt: skip
    add("--max-frames", type=positive_count, metavar="N", help="make at most N pictures (default: all)")
    group = parser.add_argument_group("picture")
    add_words(
        group, "--size", read=size, metavar="HEIGHTxWIDTH",
        help="scale the video to cover this size and cut out the middle (default: the video's size); of a stream, its "
        "size, where no config.yaml beside or above it says it",
    )  # fmt: skip
    group.add_argument(
        "--flip-spikes", action="store_true", help="the camera of a real stream stored the rows the other way round",
    )  # fmt: skip
    group.add_argument(
        "--shake", type=number_from(0), default=0.0, metavar="PIXELS",
        help="add a camera motion of at most so many pixels in an exposure (default: none)",
    )  # fmt: skip


def _add_spikes(group: argparse._ArgumentGroup) -> None:
    add, camera, amount = group.add_argument, CameraSettings(), number_from(0)
    add(
        "--spike-scale", type=positive_count, default=1, metavar="N",
        help="height and width of the pictures over those of the spikes (default: %(default)s)",
    )  # fmt: skip
    add(
        "--theta", type=amount, default=camera.theta, metavar="X",
        help="threshold, at least 1; a white pixel fires 1/X spikes a step (default: %(default)s)",
    )  # fmt: skip
    add(
        "--reset", choices=("subtract", "zero"), default=camera.reset,
        help="what firing does to a pixel's charge (default: %(default)s)",
    )  # fmt: skip
    add_noise_options(group)
    add(
        "--bins", type=positive_count, default=32, metavar="K",
        help="time bins of the voxels that statistics are taken of (default: %(default)s)",
    )  # fmt: skip
    add(
        "--seed", type=int, default=0, metavar="N",
        help="of the spike camera and of the added motion (default: %(default)s)",
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
