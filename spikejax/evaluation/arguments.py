"""The command line of `python -m spikejax.evaluate`, as `EvaluationOptions`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from spikejax.cli import (
    add_accept_license,
    add_hosts,
    add_overwrite,
    add_progress,
    add_statistics,
    add_trust_code,
    add_words,
    make_parser,
    network_path,
    number_from,
    path_or_bucket,
    whole_number_from,
)
from spikejax.compile_cache import add_compile_cache
from spikejax.data.datasets.layout import SPLITS
from spikejax.data.simulation.noise_arguments import add_noise_options, noise_of
from spikejax.evaluation.options import EvaluationOptions
from spikejax.inference.precision import add_precision
from spikejax.inference.tile_arguments import add_devices, add_protocol, read_extent
from spikejax.quality.metrics import METRICS


def parse_options(arguments: Sequence[str]) -> tuple[EvaluationOptions, argparse.Namespace]:
    """The options of a command line, and those that change nothing of what is measured: of hosts and of progress.

    Raises:
        InputError: options do not fit together.
    """
    namespace = build_parser().parse_args(arguments)
    values = vars(namespace) | {"noise": noise_of(namespace)}
    own = {field.name: values.pop(field.name) for field in dataclasses.fields(EvaluationOptions)}
    metrics = None if own["metrics"] is None else tuple(own["metrics"])
    return EvaluationOptions(**own | {"metrics": metrics}), argparse.Namespace(**values)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "evaluate",
        description="Measures a trained network on a split of a data set or on folders of pictures, and writes JSON "
        "and CSV. An evaluation that was stopped goes on when it is started again.",
        example="--network runs/mine -o out/mine",
    )
    add = parser.add_argument
    add(
        "--network", "--workdir", dest="network", required=True, type=network_path, metavar="PATH",
        help="where spikejax.train left the network; or weights, a .safetensors file or a folder that spikejax convert "
        "wrote, vrt:006 (published) or hf://USER/NAME (these with --data or --sharp)",
    )  # fmt: skip
    add("-o", "--output", required=True, metavar="OUT", help="folder for the scores")
    add_accept_license(parser)
    add_statistics(parser)
    add_trust_code(parser)
    add("--which", choices=("best_psnr", "last"), help="checkpoint (default: the best if there is one, else the last)")
    _add_data(parser.add_argument_group("what it is measured on"))
    _add_restoring(parser.add_argument_group("how it restores"))
    _add_measuring(parser.add_argument_group("what is measured"))
    spikes = parser.add_argument_group("another spike camera than the one of the data set")
    spikes.add_argument(
        "--threshold-factor", type=number_from(1), default=1.0, metavar="F",
        help="measure with the spikes of a camera whose threshold is F times as high, also of real streams "
        "(default: %(default)s)",
    )  # fmt: skip
    add_noise_options(spikes)
    add_devices(parser)
    add_compile_cache(parser)
    add_overwrite(parser, "the scores of an earlier evaluation")
    add_progress(parser)
    add_hosts(parser)
    return parser


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--data", type=path_or_bucket, metavar="ROOT", help="the data set (default: the one it was trained on)")
    add("--split", choices=SPLITS, default="val", help="which part of it (default: %(default)s)")
    add("-i", "--input", metavar="ROOT", help="instead: a folder of sequences of pictures, to be restored")
    add(
        "--sharp", metavar="ROOT",
        help="their true pictures, paired with those of --input by order; without --input noise is added to them "
        "(--sigma), or every second one is sought (interpolation)",
    )  # fmt: skip
    add(
        "--sequences", type=whole_number_from(0), default=0, metavar="N",
        help="measure the first N sequences; 0 = all (default)",
    )  # fmt: skip


def _add_restoring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add_protocol(group)
    add(
        "--test-set", metavar="NAME",
        help="with --protocol published: the test set, such as GoPro11, whose published tile is taken (default: the "
        "network's own tile)",
    )  # fmt: skip
    add_words(
        group, "--tile", read=read_extent, metavar="FRAMES,HEIGHT,WIDTH",
        help="what the network sees at once, 0 = all there are (default: of a workdir as validation in training, of "
        "weights their own)",
    )  # fmt: skip
    add_words(group, "--overlap", read=read_extent, metavar="FRAMES,HEIGHT,WIDTH", help="of neighbouring tiles")
    add(
        "--frames", type=whole_number_from(2), metavar="N",
        help="frames that the network sees at once, and the rest as by default",
    )  # fmt: skip
    add(
        "--sigma", type=number_from(0), metavar="S",
        help="standard deviation of the noise, of 255, for a network that takes a noise level (default: as validation)",
    )  # fmt: skip
    add("--dtype", choices=("float32", "bfloat16"), help="what features are computed in (default: as trained)")
    add_precision(group)


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--metrics", nargs="+", metavar="NAME",
        help=f"what to measure: any of {', '.join(METRICS)}, or FILE.py:NAME (default: as validation, and tof and "
        "warp_error)",
    )  # fmt: skip
    add(
        "--lpips", type=path_or_bucket, metavar="FILE",
        help="converted weights of LPIPS, to measure it as well (default: as validation)",
    )  # fmt: skip
    add(
        "--save-frames", action="store_true",
        help="write the frames as well, OUT/frames/SEQUENCE/{before,restored,sharp}, for spikejax.compare",
    )  # fmt: skip
