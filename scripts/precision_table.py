"""What the precision of float32 products does to results, emulated on a CPU: the tables of docs/performance.md.

    python scripts/precision_table.py [--goldens NAME,...] [--network PATH] [--clips N] [--json FILE]

Two tables: the errors of the golden networks, whose weights are random, against the published answers in float64; and
the PSNR of a trained network on the quick start's validation scenes. Needs a checkout.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from accelerator_parts import NETWORKS, read_golden  # noqa: E402, the checkout need not be installed
from rounded_products import ROUNDINGS, with_rounded_products  # noqa: E402

from spikejax.cli import make_parser, positive_count, run  # noqa: E402
from spikejax.config.files import load_config  # noqa: E402
from spikejax.data.datasets.clip_dataset import ClipSpec  # noqa: E402
from spikejax.data.simulation.moving_photographs import write_moving_photographs  # noqa: E402
from spikejax.data.sources import open_dataset  # noqa: E402
from spikejax.errors import InputError  # noqa: E402
from spikejax.inference.compiled_network import restore_tiles  # noqa: E402
from spikejax.inference.restored_stream import ClipNetwork  # noqa: E402
from spikejax.inference.video_restorer import VideoRestorer  # noqa: E402
from spikejax.io.json_files import write_json  # noqa: E402
from spikejax.io.places import check_can_be_written, resolved  # noqa: E402
from spikejax.loading import load  # noqa: E402
from spikejax.quality.metrics import psnr  # noqa: E402

Row = dict[str, Any]
# Programs run a few times: most of XLA's effort for them would be lost.
_jit = partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)
EXACT = ("highest", "TPU and GPU")


def main(arguments: Sequence[str]) -> None:
    """Prints both tables as Markdown.

    Args:
        arguments: what follows the program's name.
    """
    parser = make_parser(
        "scripts/precision_table.py", description="Emulates what fewer bits of float32 products do to results."
    )
    add = parser.add_argument
    add(
        "--goldens",
        default=",".join(NETWORKS),
        metavar="NAME,...",
        help="of the first table, or none (default: %(default)s)",
    )
    add(
        "--network",
        default="demo",
        metavar="PATH",
        help="trained with the quick start's number of voxel bins, for the second table (default: %(default)s)",
    )
    add("--clips", type=positive_count, default=4, metavar="N", help="scenes of it (default: %(default)s)")
    add("--json", metavar="FILE", help="write all numbers to FILE as well")
    options = parser.parse_args(arguments)
    names = [] if options.goldens == "none" else options.goldens.split(",")
    for name in names:
        if name not in NETWORKS:
            raise InputError(f"--goldens: expected names of {', '.join(NETWORKS)}, found {name!r}")
    if options.json:
        check_can_be_written(resolved(Path(options.json)))
    tables = {"goldens": golden_rows(names), "scenes": scene_rows(options.network, options.clips)}
    written: dict[str, list[Row]] = {}
    for name, rows in tables.items():
        written[name] = []
        for row in rows:
            written[name].append(row)
            if len(written[name]) == 1:
                print(f"\n| {' | '.join(row)} |\n|{' --- |' * len(row)}")
            print(f"| {' | '.join(map(_text, row.values()))} |", flush=True)
    if options.json:
        write_json(Path(options.json), written)


def golden_rows(names: Sequence[str]) -> Iterator[Row]:
    """The errors of each golden network at each precision."""
    for name in names:
        golden = read_golden(name)
        for (precision, device), forward in _forms(golden.forward).items():
            error = golden.error(_jit(forward)(*golden.inputs))
            yield {
                "network": name,
                "precision": precision,
                "device": device,
                "largest error of range": float(error.max() / np.ptp(golden.truth)),
                "mean error of PyTorch's": float(error.mean() / golden.error_of_pytorch.mean()),
            }


def scene_rows(network: str, clips: int) -> Iterator[Row]:
    """The PSNR of a trained network over so many of the quick start's scenes at each precision."""
    config, exact = load_config("quickstart", []), load(network, dtype="float32")
    if exact.traits.spike_bins != config.model.spike.bins:
        bins = f"{exact.traits.spike_bins} bins" if exact.traits.spike_bins else "no spikes"
        raise InputError(f"--network: expected one with {config.model.spike.bins} voxel bins, found {bins}: {network}")
    scenes = list(_scenes(config, exact.tile.frames or config.data.scenes.frames, clips))
    stored = [(scene["input"][np.newaxis], scene["voxels"][np.newaxis]) for scene in scenes]
    forms = _forms(_tile_program(exact))
    forms["bfloat16 features", "any"] = _tile_program(load(network, dtype="bfloat16"))
    best: list[np.ndarray] = []
    for (precision, device), program in forms.items():
        run_tile = _jit(program)
        restored = [np.asarray(run_tile(*clip)[0]) for clip in stored]
        best = best or restored
        change = np.abs(np.stack(restored) - np.stack(best)) * 255
        yield {
            "precision": precision,
            "device": device,
            "PSNR": float(np.mean([_psnr(*pair) for pair in zip(restored, scenes, strict=True)])),
            "mean change of a pixel, of 255": float(change.mean()),
            "largest": float(change.max()),
        }


def _forms(function: Callable[..., Any]) -> dict[tuple[str, str], Callable[..., Any]]:
    """A function at every precision, by the precision and the device."""
    rounded = {name: with_rounded_products(function, split) for name, split in ROUNDINGS.items()}
    return {EXACT: function} | rounded


def _tile_program(restorer: VideoRestorer) -> Callable[..., Any]:
    """Restores tiles as they are stored, as `spikejax.restore` does."""
    network, traits = restorer.network, restorer.traits
    assert isinstance(network, ClipNetwork)
    graph, parameters = nnx.split(network.model)
    moments, level = jnp.array(network.moments, jnp.float32), jnp.zeros(0, jnp.float32)

    def restored(frames: Any, counts: Any) -> Any:
        model = nnx.merge(graph, parameters)
        return restore_tiles(model, frames, counts, moments, level, normalise=traits.spike_normalise)

    return restored


def _scenes(config: Any, frames: int, count: int) -> Iterator[Mapping[str, np.ndarray]]:
    """The first frames of the quick start's validation scenes, as stored."""
    bins = config.model.spike.bins
    settings = config.data.scenes.to_dict() | {"train_sequences": 1}
    with tempfile.TemporaryDirectory() as folder:
        write_moving_photographs(Path(folder) / "data", bins=bins, seed=config.seed, progress=False, **settings)
        dataset = open_dataset(config.data.source, Path(folder) / "data", "val", ClipSpec(2, bins))
        for scene in dataset.runs[:count]:
            yield dataset.read_run(scene, 0, frames)


def _psnr(restored: np.ndarray, scene: Mapping[str, np.ndarray]) -> float:
    """The mean over a clip's frames, which restoring writes with 8 bits."""
    pictures = np.rint(np.clip(restored, 0, 1) * 255).astype(np.uint8)
    return float(np.mean([psnr(*pair) for pair in zip(pictures, scene["sharp"], strict=True)]))


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2g}" if value < 10 else f"{value:.5g}"


if __name__ == "__main__":
    run(main)
