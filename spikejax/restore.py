"""Restores a video: python -m spikejax.restore --workdir DIR --input FOLDER_OR_VIDEO [--spikes ...] --output OUT.

OUT is a folder of PNG files, or a video if it has a video's suffix; metrics.json comes with it. It appears only when it
is whole.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import run
from spikejax.data.video import FrameSource, is_video_name, open_frames, open_writer
from spikejax.errors import InputError
from spikejax.inference.tiling import DEFAULT_OVERLAP, DEFAULT_TILE, Extent

if TYPE_CHECKING:
    from spikejax.inference.spikes import VoxelSource
    from spikejax.models.restorer import Restorer

METRICS_FILE = "metrics.json"


def main(arguments: Sequence[str]) -> None:
    """Restores as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = _parse(arguments)
    _check_output(options)
    frames = open_frames(options.input)
    sharp = None if options.sharp is None else _open_sharp(options.sharp, frames)

    # Only now: JAX takes seconds to import, and a mistake above should show at once.
    from spikejax.inference.run import restore_frames

    model, statistics = _load_network(Path(options.workdir))
    voxels = _open_voxels(options, frames, model, statistics)
    with open_writer(options.output, rate=frames.rate, overwrite=options.overwrite) as writer:
        report = restore_frames(
            model, frames, voxels=voxels, sharp=sharp, writer=writer, tile=options.tile, overlap=options.overlap
        )
        writer.attach(METRICS_FILE, json.dumps(report.to_json(), indent=2) + "\n")
    print(f"{report.frames} frames restored to {options.output}, {report.seconds_per_frame:.3g} s a frame")
    if sharp is not None:
        before, after = (_decibels(report.scores[name]) for name in ("psnr_blur", "psnr_recon"))
        print(f"PSNR {before} before, {after} after")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.restore",
        description="Restores a video or a folder of frames with a trained network.",
        epilog=f"Beside the frames, {METRICS_FILE} holds time, memory and (with --sharp) PSNR and SSIM.",
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where spikejax.train left the network")
    parser.add_argument(
        "--input", required=True, metavar="PATH", help="blurred frames: a folder of pictures or a video"
    )
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="a folder for PNG files, or a video (.mkv, .mov, .mp4)"
    )
    parser.add_argument(
        "--spikes",
        metavar="PATH",
        help="a folder with a .dat (or an .npy of voxels) for each frame, or one .dat, cut into equal windows",
    )
    parser.add_argument(
        "--spike-size",
        type=_pair,
        metavar="HEIGHT,WIDTH",
        help="of the spike camera (default: config.yaml beside the spikes, else the frames' size)",
    )
    parser.add_argument("--sharp", metavar="PATH", help="the true frames to measure against, a folder or a video")
    parser.add_argument(
        "--tile",
        type=_extent,
        default=DEFAULT_TILE,
        metavar="FRAMES,HEIGHT,WIDTH",
        help="what the network sees at once; smaller tiles take less memory (default: %(default)s)",
    )
    parser.add_argument(
        "--overlap",
        type=_extent,
        default=DEFAULT_OVERLAP,
        metavar="FRAMES,HEIGHT,WIDTH",
        help="of neighbouring tiles (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output of an earlier run")
    options = parser.parse_args(arguments)
    if any(over >= side for over, side in zip(options.overlap.shape, options.tile.shape, strict=True)):
        parser.error(f"--overlap {options.overlap} must be smaller than --tile {options.tile}")
    return options


def _extent(text: str) -> Extent:
    return Extent(*_whole_numbers(text, 3))


def _pair(text: str) -> tuple[int, int]:
    height, width = _whole_numbers(text, 2)
    return height, width


def _whole_numbers(text: str, count: int) -> list[int]:
    parts = text.split(",")
    if len(parts) != count or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected {count} whole numbers with commas between, got {text!r}")
    return [int(part) for part in parts]


def _check_output(options: argparse.Namespace) -> None:
    """Raises InputError, before any work, if the output would destroy something."""
    output = Path(options.output).resolve()
    for source in (options.input, options.spikes, options.sharp, options.workdir):
        if source is not None and Path(source).resolve().is_relative_to(output):
            raise InputError(
                f"expected an output apart from what is read, {source} would be replaced by {options.output}"
            )
    is_video = is_video_name(output)
    if not (output.exists() if is_video else output.is_dir() and any(output.iterdir())):
        return
    if not options.overwrite:
        raise InputError(f"expected a new output (--overwrite replaces one), found {options.output}")
    if not is_video and not (output / METRICS_FILE).is_file():
        # A slip of the pen in --output must not cost a folder of photographs.
        raise InputError(
            f"expected the output of an earlier run to replace, found no {METRICS_FILE} in {options.output}"
        )


def _open_sharp(path: str, frames: FrameSource) -> FrameSource:
    sharp = open_frames(path)
    expected, found = (f"{source.count} frames of {source.height}x{source.width}" for source in (frames, sharp))
    if found != expected:
        raise InputError(f"expected sharp frames like the input ({expected}, height x width), found {found}: {path}")
    return sharp


def _decibels(psnr: float | None) -> str:
    return "infinite (equal frames)" if psnr is None else f"{psnr:.2f} dB"


def _load_network(workdir: Path) -> "tuple[Restorer, dict[str, Any] | None]":
    """The trained network, and the statistics of its voxels if it takes spikes."""
    import jax
    from flax import nnx

    from spikejax.models.restorer import build_restorer
    from spikejax.training.checkpoint import load_for_inference
    from spikejax.training.step import describe_network

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # The next video of the same tile size finds its program compiled.
        jax.config.update("jax_compilation_cache_dir", str(workdir.absolute() / "compiled"))
    config, params, statistics = load_for_inference(workdir)
    network = describe_network(lambda: build_restorer(config.model, rngs=nnx.Rngs(0)))
    return nnx.merge(network.graph, params), statistics


def _open_voxels(
    options: argparse.Namespace, frames: FrameSource, model: "Restorer", statistics: dict[str, Any] | None
) -> "VoxelSource | None":
    """The frames' voxels if the network takes spikes, None if it takes none."""
    from spikejax.data.statistics import statistics_from
    from spikejax.inference.spikes import VoxelSource

    if model.spike_bins is None:
        if options.spikes is not None:
            raise InputError(f"expected no --spikes, the network in {options.workdir} takes none")
        return None
    if options.spikes is None:
        raise InputError(f"expected --spikes, the network in {options.workdir} needs them")
    if statistics is None:
        raise InputError(f"expected the training statistics of the spikes, found none in {options.workdir}")
    voxels = VoxelSource(
        options.spikes,
        frames,
        statistics=statistics_from(statistics, bins=model.spike_bins, source=options.workdir),
        size=options.spike_size,
    )
    for note in voxels.notes:
        print(f"spikejax: note: {note}", file=sys.stderr)
    return voxels


if __name__ == "__main__":
    run(main)
