"""Measures a trained network on a split of a data set: python -m spikejax.evaluate --workdir DIR --output OUT.

Every frame at full size, as validation in training does it: PSNR and SSIM of RGB and of Y, before (`_blur`) and after
(`_recon`) restoring. OUT appears only when it is whole:

    OUT/metrics.json   what was measured, the total, and the scores of every clip and frame; an infinite PSNR is null
    OUT/frames.csv     a line per frame
    OUT/clips.csv      a line per sequence: the mean over its frames
    OUT/total.csv      the mean over the sequences
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax.cli import (
    add_overwrite,
    add_progress,
    add_trust_code,
    make_parser,
    number_from,
    path_or_bucket,
    run,
    whole_number_from,
)
from spikejax.compile_cache import add_compile_cache, use_compile_cache
from spikejax.data.datasets.layout import SPLITS, TRAINING_SPLIT
from spikejax.data.simulation.camera_settings import SensorNoise
from spikejax.data.simulation.noise_arguments import add_noise_options, noise_of
from spikejax.errors import InputError
from spikejax.io.bucket_mirror import disk_folder
from spikejax.io.paths import user_path
from spikejax.progress import show_progress_as
from spikejax.quality.metrics import METRICS, Distance, open_metrics
from spikejax.quality.score_files import check_score_folder, write_score_folder

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from spikejax.data.datasets.clip_dataset import ClipDataset
    from spikejax.training.measure_split import TrainedNetwork


def main(arguments: Sequence[str]) -> None:
    """Evaluates as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    show_progress_as(options.progress)
    output, workdir = Path(options.output), user_path(options.workdir, what="--workdir")
    check_score_folder(output, overwrite=options.overwrite)
    noise = _camera_noise(options)

    # Only now: JAX takes seconds to import, and a mistake in the arguments should show at once.
    from spikejax.training.measure_split import load_on_all_devices, measure_split
    from spikejax.training.workdir import is_workdir

    if not options.data and not is_workdir(workdir):
        raise InputError(f"expected --data with weights, which name no data set to measure on, found none: {workdir}")
    use_compile_cache(options.compile_cache, apart_from=[workdir, options.lpips])
    trained = load_on_all_devices(workdir, which=options.which, trust_code=options.trust_code)
    root, dataset = _open_split(options, trained, noise)
    frames = options.frames or trained.config.validation.frames
    metrics = _metrics(options, trained.config)
    scores = measure_split(
        trained.restore,
        dataset,
        frames=dataset.restored_frames(frames),
        batch_size=trained.batch_size,
        limit=options.sequences,
        metrics=metrics,
    )
    header = {
        "workdir": str(workdir),
        "checkpoint": trained.checkpoint,
        "data": str(root),
        "split": options.split,
        "threshold_factor": options.threshold_factor,
        "noise": None if noise is None else asdict(noise),
        "frames_at_once": frames,
        "unused": [f"{drop.sequence} {drop.frame}: {drop.reason}" for drop in dataset.dropped],
    }
    total = write_score_folder(output, scores, header=header, overwrite=options.overwrite)
    count = sum(len(clip) for clip in scores.values())
    print(f"{trained.checkpoint} on {count} frames of {len(scores)} sequences: {output}")
    for name in metrics:
        print(f"{name:<7} {total[f'{name}_blur']:8.4f} -> {total[f'{name}_recon']:8.4f}")


def _camera_noise(options: argparse.Namespace) -> SensorNoise | None:
    """The noise that the scenes are filmed again with; None if they are not."""
    noise = noise_of(options)
    if noise == SensorNoise():
        return None
    if options.data or options.split == TRAINING_SPLIT:
        raise InputError(
            "expected the noise of the camera with the validation split of the data that the network was trained on, "
            f"found --data {options.data} and --split {options.split}"
        )
    return noise


def _open_split(
    options: argparse.Namespace, trained: TrainedNetwork, noise: SensorNoise | None
) -> tuple[Path, ClipDataset]:
    """The folder of the data set and the split that is measured, with the spikes of the camera that is asked for."""
    from spikejax.training.inputs import data_root, embedded_data
    from spikejax.training.measure_split import open_split

    workdir, factor = trained.workdir, options.threshold_factor
    if trained.traits.spike_bins is None and (noise is not None or factor != 1):
        raise InputError(f"expected a network that takes spikes for another spike camera, found none: {workdir}")
    source = "folder" if options.data else trained.config.data.source
    if noise is not None:
        root = embedded_data(trained.config, disk_folder(workdir) / "noisy_data", noise)
    else:
        root = Path(options.data) if options.data else data_root(trained.config, disk_folder(workdir))
    return root, open_split(trained, root, options.split, source=source, threshold_factor=factor)


def _metrics(options: argparse.Namespace, config: ConfigDict) -> dict[str, Distance]:
    """What is measured: what the command line names, or else what validation in training measures."""
    names = options.metrics or config.validation.metrics
    weights = {"lpips": options.lpips or config.validation.lpips_weights_file}
    return open_metrics(names, key="--metrics", weights=weights)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "evaluate", description="Measures a trained network on a split of a data set, and writes JSON and CSV."
    )
    add = parser.add_argument
    add(
        "--workdir", required=True, type=path_or_bucket, metavar="DIR",
        help="where spikejax.train left the network; or weights, a .safetensors file or a folder that spikejax convert "
        "wrote (with --data)",
    )  # fmt: skip
    add("--output", required=True, metavar="OUT", help="folder for the scores")
    add("--data", metavar="ROOT", help="the data set (default: the one it was trained on)")
    add("--split", choices=SPLITS, default="val", help="which part of it (default: %(default)s)")
    add_trust_code(parser)
    add("--which", choices=("best_psnr", "last"), help="checkpoint (default: the best if there is one, else the last)")
    add(
        "--frames", type=whole_number_from(2), metavar="N",
        help="frames that the network sees at once (default: as validation in training)",
    )  # fmt: skip
    add(
        "--sequences", type=whole_number_from(0), default=0, metavar="N",
        help="measure the first N sequences; 0 = all (default)",
    )  # fmt: skip
    add(
        "--lpips",
        type=path_or_bucket,
        metavar="FILE",
        help="converted weights of LPIPS, to measure it as well (default: as validation)",
    )
    add(
        "--metrics", nargs="+", metavar="NAME",
        help=f"what to measure: any of {', '.join(METRICS)}, or FILE.py:NAME (default: as validation)",
    )  # fmt: skip
    spikes = parser.add_argument_group("another spike camera than the one of the data set")
    spikes.add_argument(
        "--threshold-factor", type=number_from(1), default=1.0, metavar="F",
        help="measure with the spikes of a camera whose threshold is F times as high, also of real streams "
        "(default: %(default)s)",
    )  # fmt: skip
    add_noise_options(spikes)
    add_compile_cache(parser)
    add_overwrite(parser, "the scores of an earlier evaluation")
    add_progress(parser)
    return parser


if __name__ == "__main__":
    run(main)
