"""Makes the network that comes with the package, and its clip and card, of a finished training.

    python scripts/make_demo.py --workdir runs/long [--sequence 000_chelsea] [--frames 8]

The weights are rounded to bfloat16 and measured on the clip as everybody will see them. The clip is of the run's
validation split, which training has never seen. Commit what it writes to spikejax/packaged/.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from spikejax.cli import make_parser, positive_count, run
from spikejax.config.files import read_saved_config
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.voxel_statistics import statistics_from
from spikejax.data.sources import open_dataset
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.weights import Weights, write_weights
from spikejax.loading import load
from spikejax.packaged import CARD_FILE, CLIP_FILE, FOLDER, LARGEST_BYTES, NETWORK_FILE
from spikejax.quality.metrics import Distance, psnr, ssim
from spikejax.training.inputs import data_root
from spikejax.training.trained_params import read_network
from spikejax.training.workdir import CONFIG_FILE


def main(arguments: Sequence[str]) -> None:
    """Writes the three files as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    parser = make_parser(
        "scripts/make_demo.py", description="Makes the packaged network, its clip and its card of a training."
    )
    add = parser.add_argument
    add("--workdir", required=True, metavar="DIR", help="of a finished training of a network that takes spikes")
    add("--sequence", metavar="NAME", help="of the validation split (default: the first)")
    add("--frames", type=positive_count, default=8, metavar="N", help="of the clip (default: %(default)s)")
    add("--output", default=str(FOLDER), metavar="FOLDER", help="where to write (default: the package)")
    options = parser.parse_args(arguments)
    make_demo(Path(options.workdir), Path(options.output), sequence=options.sequence, frames=options.frames)


def make_demo(workdir: Path, output: Path, *, sequence: str | None, frames: int) -> None:
    """Writes weights, clip and card; raises InputError if the network is too large or takes no spikes."""
    weights = read_network(workdir)
    rounded = dataclasses.replace(weights, params=jax.tree.map(_rounded, weights.params))
    network = output / NETWORK_FILE
    write_weights(network, rounded, replace=True)
    size = network.stat().st_size
    if size > LARGEST_BYTES:
        network.unlink()
        raise InputError(f"expected a network of at most {LARGEST_BYTES:,} bytes, found {size:,}: {workdir}")
    name, clip = _clip(workdir, weights, sequence, frames)
    with atomic_write(output / CLIP_FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, blur=clip["blur"], sharp=clip["sharp"], counts=clip["counts"])
    restored = load(network).restore(clip["blur"], counts=clip["counts"])
    scores = {
        title: (_mean(measure, clip["blur"], clip["sharp"]), _mean(measure, restored, clip["sharp"]))
        for title, measure in (("PSNR", psnr), ("SSIM", ssim))
    }
    with atomic_write(output / CARD_FILE) as temporary:
        temporary.write_text(_card(weights, size, name, len(clip["blur"]), scores), encoding="utf-8")
    print("\n".join(str(output / file) for file in (NETWORK_FILE, CLIP_FILE, CARD_FILE)))
    print("\n".join(f"{title} {before:.4f} -> {after:.4f}" for title, (before, after) in scores.items()))


def _mean(measure: Distance, pictures: np.ndarray, sharp: np.ndarray) -> float:
    return float(np.mean([measure(*pair) for pair in zip(pictures, sharp, strict=True)]))


def _rounded(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(ml_dtypes.bfloat16) if array.dtype == np.float32 else array


def _clip(workdir: Path, weights: Weights, sequence: str | None, frames: int) -> tuple[str, dict[str, np.ndarray]]:
    """The name of a sequence, and its first frames as stored."""
    config = read_saved_config(workdir / CONFIG_FILE)
    if weights.statistics is None:
        raise InputError(f"expected a network that takes spikes, found one that takes none: {workdir}")
    bins = config.model.spike.bins
    spec = ClipSpec(2, bins, statistics=statistics_from(weights.statistics, bins=bins, source=str(workdir)))
    dataset = open_dataset(config.data.source, data_root(config, workdir), "val", spec)
    runs = {run.name: run for run in dataset.runs}
    name = sequence or next(iter(runs))
    if name not in runs:
        raise InputError(f"--sequence: expected one of {', '.join(runs)}, found {name!r}")
    stored = dataset.read_run(runs[name], 0, min(frames, len(runs[name].stems)))
    return name, {"blur": stored["input"], "sharp": stored["sharp"], "counts": stored["voxels"]}


def _card(weights: Weights, size: int, name: str, frames: int, scores: dict[str, tuple[float, float]]) -> str:
    training, model = weights.training or {}, weights.model or {}
    count = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(weights.params))
    validation = training.get("validation") or {}
    lines = [
        "# The network that comes with the package",
        "",
        f"VRT with the spike branch, {count:,} parameters, bfloat16, {size / 1e6:.1f} MB; by scripts/make_demo.py.",
        "",
        "- **For**: deblurring with the spikes of a spike camera; small, to show what it does, not to work with.",
        "  Other cameras, thresholds and motions than the simulated ones may give less, or harm.",
        f"- **Trained on**: `{json.dumps(training.get('data', {}))}`, {training.get('updates', 'unknown')} updates, "
        f"loss `{', '.join(training.get('loss', []))}`; embedded data are simulated from scikit-image's photographs.",
        "- **Validation** (before rounding): "
        + (", ".join(f"{key} {value:.4f}" for key, value in sorted(validation.items())) or "unknown"),
        f"- **The clip**: {frames} frames of the validation sequence `{name}`, which training has never seen. "
        + ", ".join(f"{title} {before:.4f} -> {after:.4f}" for title, (before, after) in scores.items()),
        "- **Licence**: that of the package, Apache-2.0.",
        f"- **Spikes**: `{json.dumps(model.get('spike', {}))}`",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
