"""The command line of `python -m spikejax.restore`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from spikejax.cli import add_hosts
from spikejax.compile_cache import add_compile_cache
from spikejax.inference.resumable_output import METRICS_FILE
from spikejax.inference.tiling import UNLIMITED, Extent
from spikejax.io.video_codecs import CODECS
from spikejax.quality.metrics import METRICS

_UNITS = {"M": 2**20, "G": 2**30}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; a mistake in them ends the process with exit code 2, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.restore",
        description="Restores a video or a folder of frames with a trained network.",
        epilog=(
            f"Beside the frames, {METRICS_FILE} holds time, memory and (with --sharp) PSNR, SSIM and LPIPS; "
            "python -m spikejax.report OUT shows them with the pictures. Exit code 3: parts of the video did not "
            "decode, the rest is restored."
        ),
        allow_abbrev=False,
    )
    _add_paths(parser)
    _add_quality(parser)
    _add_video(parser)
    _add_devices(parser)
    add_hosts(parser)
    options = parser.parse_args(arguments)
    if options.overwrite and options.resume:
        parser.error("expected --overwrite (begin again) or --resume (go on), got both")
    if options.lpips is not None and options.sharp is None:
        parser.error("expected --sharp, the frames that --lpips is to measure against")
    if options.memory is not None and not isinstance(options.tile, str):
        parser.error("expected --tile auto with --memory, which chooses a tile that fits")
    if isinstance(options.tile, Extent) and options.overlap is not None:
        # Where both are given, the mistake shows before anything is loaded; 0 stands for all there are.
        if not options.overlap.smaller_than(options.tile.or_all(UNLIMITED)):
            parser.error(f"--overlap {options.overlap} must be smaller than --tile {options.tile}")
    return options


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network", "--workdir", required=True, metavar="PATH",
        help="where spikejax.train left the network, or a .safetensors file or folder of python -m convert",
    )  # fmt: skip
    parser.add_argument(
        "--input",
        required=True,
        metavar="PATH",
        help="frames: a folder of pictures, a pattern such as 'a/*.tif', a video",
    )
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="a folder for PNG files, or a video (.mkv, .mov, .mp4)"
    )
    parser.add_argument("--video", metavar="PATH", help="a video as well, where --output is a folder")
    parser.add_argument(
        "--spikes", metavar="PATH",
        help="a folder with a .dat (or an .npy of voxels) for each frame, a prepared spike_vox.zarr, or one .dat, cut "
        "into equal windows",
    )  # fmt: skip
    parser.add_argument(
        "--spike-windows", metavar="CSV", help="the frames' windows of one .dat: a line each, in columns t0 and t1"
    )
    parser.add_argument(
        "--spike-size", type=_pair, metavar="HEIGHT,WIDTH",
        help="of the spike camera (default: config.yaml beside the spikes, else the frames' size)",
    )  # fmt: skip
    parser.add_argument("--sharp", metavar="PATH", help="the true frames to measure against, like --input")
    parser.add_argument("--lpips", metavar="FILE", help="converted weights of LPIPS, to measure it as well")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=list(METRICS),
        metavar="NAME",
        help=f"what to measure with --sharp: of {', '.join(METRICS)}, or FILE.py:NAME (default: all)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output of an earlier run")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped, if there is one")


def _add_quality(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tile", type=_tile, metavar="FRAMES,HEIGHT,WIDTH",
        help="what the network sees at once, 0 = all there are; 'auto' or 'FRAMES,auto' = the largest that fits into "
        "memory (default: the network's own)",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=_bytes, metavar="SIZE",
        help="what --tile auto may use of a device or, on CPUs, the program altogether but for compiling, such as 6G "
        "(default: what is free)",
    )  # fmt: skip
    parser.add_argument(
        "--overlap", type=_extent, metavar="FRAMES,HEIGHT,WIDTH",
        help="of neighbouring tiles (default: the network's own, or half the tile where that is smaller)",
    )  # fmt: skip
    parser.add_argument(
        "--sigma", type=float, help="standard deviation of the noise, of 255, for a network that is told"
    )
    parser.add_argument("--rate", type=int, help="2, 4 or 8 times as many frames, for a network that interpolates")
    parser.add_argument(
        "--ensemble", choices=("none", "flips", "turns"), default="none",
        help="the mean over mirrored (4 times the work) or also turned copies (8 times)",
    )  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of features (default: as trained)")
    add_compile_cache(parser)
    parser.add_argument(
        "--run-code",
        action="store_true",
        help="run what the network's configuration names as FILE.py:NAME",
    )


def _add_video(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codec", choices=tuple(CODECS), default="h264", help="of a video (default: %(default)s)")
    parser.add_argument("--quality", type=int, metavar="CRF", help="constant rate factor of a video, 0 is best")
    parser.add_argument(
        "--pixel-format", metavar="NAME", help="of a video, such as yuv444p10le (default: by the input)"
    )


def _add_devices(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--devices", type=int, metavar="N", help="devices that each restore tiles (default: all)")
    group.add_argument(
        "--space", type=int, metavar="N", help="devices that share the rows of whole frames, without tiles in space"
    )


def _tile(text: str) -> Extent | str:
    frames, comma, rest = text.partition(",")
    if text == "auto" or (comma and rest == "auto" and frames.isdecimal()):
        return text
    return _extent(text)


def _extent(text: str) -> Extent:
    return Extent(*_whole_numbers(text, 3))


def _bytes(text: str) -> int:
    number, unit = text[:-1], text[-1:].upper()
    if not number.isdecimal() or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"expected a number of MiB or GiB, such as 500M or 6G, got {text!r}")
    return int(number) * _UNITS[unit]


def _pair(text: str) -> tuple[int, int]:
    height, width = _whole_numbers(text, 2)
    return height, width


def _whole_numbers(text: str, count: int) -> list[int]:
    parts = text.split(",")
    if len(parts) != count or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected {count} whole numbers with commas between, got {text!r}")
    return [int(part) for part in parts]
