"""Measures a trained network on a split of a data set: python -m spikejax.evaluate --workdir DIR --output OUT.

Every frame at full size, as validation in training does it: PSNR and SSIM of RGB and of Y, before (`_blur`) and after
(`_recon`) restoring. OUT appears only when it is whole:

    OUT/metrics.json   what was measured, the total, and the figures of every clip and frame; an infinite PSNR is null
    OUT/frames.csv     a line per frame
    OUT/clips.csv      a line per sequence: the mean over its frames
    OUT/total.csv      the mean over the sequences
"""

import argparse
import csv
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from spikejax.cli import run
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.layout import SPLITS
from spikejax.data.datasets.voxel_statistics import statistics_from
from spikejax.errors import InputError
from spikejax.extensions import is_code
from spikejax.io.atomic import atomic_directory, refuse_existing
from spikejax.models.traits import NetworkTraits
from spikejax.quality.metrics import METRICS, STANDARD, Distance, open_metrics
from spikejax.training.degradation_config import degradation_of
from spikejax.training.validation import Restore, validate

METRICS_FILE = "metrics.json"
Scores = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network and what it was trained with."""

    config: ConfigDict
    checkpoint: str  # such as best_psnr/250
    statistics: Mapping[str, Any] | None  # of the voxels
    restore: Restore
    traits: NetworkTraits  # of the network
    batch_size: int  # clips it takes at once


def main(arguments: Sequence[str]) -> None:
    """Evaluates as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = _parse(arguments)
    output = Path(options.output)
    _check_output(output, overwrite=options.overwrite)

    workdir = Path(options.workdir).absolute()
    trained = _load(workdir, which=options.which)
    root = _data_root(options, trained.config, workdir)
    dataset = _open_split(root, options.split, trained, workdir)
    frames = options.frames or trained.config.validation.frames
    metrics = _metrics(options, trained.config)
    found = measure_split(
        trained.restore,
        dataset,
        frames=dataset.restored_frames(frames),
        batch_size=trained.batch_size,
        most=options.sequences,
        metrics=metrics,
    )
    header = {
        "workdir": str(workdir),
        "checkpoint": trained.checkpoint,
        "data": str(root),
        "split": options.split,
        "frames_at_once": frames,
        "unused": [f"{drop.sequence} {drop.frame}: {drop.reason}" for drop in dataset.dropped],
    }
    total = write_report(output, found, header=header, overwrite=options.overwrite)
    count = sum(len(clip) for clip in found.values())
    print(f"{trained.checkpoint} on {count} frames of {len(found)} sequences: {output}")
    for name in metrics:
        print(f"{name:<7} {total[f'{name}_blur']:8.4f} -> {total[f'{name}_recon']:8.4f}")


def measure_split(
    restore: Restore,
    dataset: FolderDataset,
    *,
    frames: int,
    batch_size: int = 1,
    most: int = 0,
    metrics: Mapping[str, Distance] = STANDARD,
) -> dict[str, list[dict[str, float]]]:
    """Returns the figures of every frame, by sequence.

    Args:
        restore: the network.
        dataset: the split.
        frames: frames the network sees at once.
        batch_size: clips at once.
        most: how many sequences are used, from the first; 0 = all.
        metrics: what is measured, by name.
    """
    found = validate(
        restore, dataset, frames=frames, batch_size=batch_size, most=most, measures=metrics, task="evaluating"
    )
    assert found is not None  # nobody asked it to stop
    return found.frames


def write_report(
    output: Path,
    found: Mapping[str, Sequence[Scores]],
    *,
    header: Mapping[str, Any],
    overwrite: bool = False,
) -> dict[str, float]:
    """Writes metrics.json and the three tables, all or nothing; returns the total.

    Args:
        output: the folder.
        found: the figures of every frame, by sequence.
        header: what else metrics.json says.
        overwrite: whether an earlier report gives way.
    """
    clips = {name: _mean(frames) for name, frames in found.items()}
    total = _mean(list(clips.values()))
    content = {
        **header,
        "total": _finite(total),
        "clips": {name: {"frames": len(found[name]), **_finite(scores)} for name, scores in clips.items()},
        "frames": {name: [_finite(scores) for scores in frames] for name, frames in found.items()},
    }
    with atomic_directory(output, replace=overwrite) as folder:
        (folder / METRICS_FILE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        lines = (
            {"sequence": name, "frame": n, **one} for name, all_of in found.items() for n, one in enumerate(all_of)
        )
        _write_csv(folder / "frames.csv", lines)
        _write_csv(
            folder / "clips.csv",
            ({"sequence": name, "frames": len(found[name]), **scores} for name, scores in clips.items()),
        )
        counts = {"sequences": len(found), "frames": sum(len(frames) for frames in found.values())}
        _write_csv(folder / "total.csv", [{**counts, **total}])
    return total


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.evaluate",
        description="Measures a trained network on a split of a data set, and writes JSON and CSV.",
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where spikejax.train left the network")
    parser.add_argument("--output", required=True, metavar="OUT", help="folder for the figures")
    parser.add_argument("--data", metavar="ROOT", help="the data set (default: the one it was trained on)")
    parser.add_argument("--split", choices=SPLITS, default="val", help="default: %(default)s")
    parser.add_argument(
        "--which", choices=("best_psnr", "last"), help="checkpoint (default: the best if there is one, else the last)"
    )
    parser.add_argument("--frames", type=_frames, metavar="N", help="the network sees at once (default: as validation)")
    parser.add_argument("--sequences", type=int, default=0, metavar="N", help="only the first N; 0 = all (default)")
    parser.add_argument(
        "--lpips", metavar="FILE", help="converted weights of LPIPS, to measure it as well (default: as validation)"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(METRICS)}, or FILE.py:NAME (default: as validation)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the figures of an earlier evaluation")
    options = parser.parse_args(arguments)
    if options.sequences < 0:
        parser.error(f"--sequences: expected 0 or more, got {options.sequences}")
    return options


def _frames(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 2, got {text!r}")
    return int(text)


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Raises InputError, before any work, if the output would destroy something else than an earlier report."""
    refuse_existing(output, replace=overwrite)
    if output.is_dir() and any(output.iterdir()) and not (output / METRICS_FILE).is_file():
        raise InputError(f"expected an earlier evaluation to replace, found no {METRICS_FILE} in {output}")


def _load(workdir: Path, *, which: str | None) -> Trained:
    """The trained network, on all devices."""
    # Only now: JAX takes seconds to import, and a mistake in the arguments should show at once.
    import jax
    from flax import nnx

    from spikejax.distributed import sharding
    from spikejax.models.restorer import build_restorer
    from spikejax.training.checkpoint import checkpoint_for_inference, load_for_inference
    from spikejax.training.step import describe_network, make_forward

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # The next evaluation of pictures of the same size finds its program compiled.
        jax.config.update("jax_compilation_cache_dir", str(workdir / "compiled"))
    config, params, statistics = load_for_inference(workdir, which=which, build=build_restorer)
    mesh = sharding.make_mesh({"data": -1, "fsdp": 1})
    network = describe_network(lambda: build_restorer(config.model.to_dict(), rngs=nnx.Rngs(0)))
    params = jax.device_put(params, sharding.replicated(mesh))
    forward = make_forward(network, mesh)
    batch_size = sharding.batch_parts(mesh)

    def restore(blur: np.ndarray, voxels: np.ndarray | None) -> Mapping[int, np.ndarray]:
        return sharding.own_clips(forward(params, *sharding.put_batch((blur, voxels), mesh, batch_size)))

    checkpoint = checkpoint_for_inference(workdir, which=which)
    return Trained(config, checkpoint, statistics, restore, network.traits, batch_size)


def _metrics(options: argparse.Namespace, config: ConfigDict) -> dict[str, Distance]:
    """What is measured: what the command line names, or else what validation in training measures.

    The workdir may come from somebody else, so code that its configuration names is not run.
    """
    names = options.metrics
    if names is None:
        names = [name for name in config.validation.metrics if not is_code(name)]
        for name in config.validation.metrics:
            if is_code(name):
                print(f"without {name}, which is code and comes with the workdir; --metrics takes its name")
    weights = {"lpips": options.lpips or config.validation.lpips_weights_file}
    return open_metrics(names, key="--metrics", weights=weights)


def _open_split(root: Path, split: str, trained: Trained, workdir: Path) -> FolderDataset:
    """The split, its voxels standardised as those that the network was trained with."""
    statistics, bins = None, trained.traits.spike_bins
    if bins is not None:
        if trained.statistics is None:
            raise InputError(f"expected the training statistics of the spikes, found none in {workdir}")
        statistics = statistics_from(trained.statistics, bins=bins, source=str(workdir))
    degradation = degradation_of(trained.config, trained.traits, validation=True)
    # A network that interpolates takes as many frames as it was made for; another one any number.
    frames = 2 if degradation.kind != "interpolation" else trained.config.validation.frames
    return FolderDataset(*(root, split), frames=frames, bins=bins, statistics=statistics, degradation=degradation)


def _data_root(options: argparse.Namespace, config: ConfigDict, workdir: Path) -> Path:
    from spikejax.training.inputs import data_root

    return Path(options.data) if options.data else data_root(config, workdir)


def _mean(scores: Sequence[Scores]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}


def _finite(scores: Scores) -> dict[str, float | None]:
    """JSON knows no infinity, which the PSNR of equal pictures is."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    run(main)
