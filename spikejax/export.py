"""Writes a trained network for elsewhere: python -m spikejax.export --network PATH --output X.

X.safetensors  parameters, and in the metadata the model, the statistics of spikes, tiles and how it was trained
X.pth          a PyTorch state dict, of networks that PyTorch knows
X.stablehlo    the whole step of restoring as one program of `jax.export`, for CPUs, CUDA and TPUs
X/             model.safetensors, config.json and a model card, for a hub; --push hf://USER/NAME sends them there
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax.cli import (
    CHECKPOINTS,
    add_accept_license,
    add_overwrite,
    add_statistics,
    add_trust_code,
    add_which,
    add_words,
    check_effects,
    extent,
    make_parser,
    network_path,
    positive_count,
    run,
)
from spikejax.config.named_networks import DEMO, RELEASED, HubName, hub_name, is_network_name
from spikejax.errors import InputError
from spikejax.extras import require
from spikejax.hub.resolving import resolve_network
from spikejax.inference.precision import add_precision, check_precision
from spikejax.io.atomic import atomic_write
from spikejax.io.paths import UserPath, user_path

if TYPE_CHECKING:
    from spikejax.hub.model_card import ModelCard
    from spikejax.io.weights import Weights

_KINDS = (".safetensors", ".pth", ".pt", ".stablehlo")


def main(arguments: Sequence[str]) -> None:
    """Exports as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    output = None if options.output is None else Path(options.output)
    with _said_of(output):
        _check_output(output, options)
    workdir = user_path(resolve_network(options.network, accept_license=options.accept_license), what="--network")
    which = CHECKPOINTS.get(options.which)
    with _said_of(output):
        if output is None or _is_folder(options.output):
            _export_folder(workdir, output, which, options)
        elif output.suffix == ".stablehlo":
            _export_program(workdir, output, which, options)
        else:
            _export_weights(workdir, output, which, options)


@contextlib.contextmanager
def _said_of(output: Path | None) -> Iterator[None]:
    """What a disk or a name that no disk takes raises, as an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}") from error


def _is_folder(output: str) -> bool:
    """Whether an output is a folder, whose name has no suffix or ends in a slash, rather than a file."""
    return output.endswith((os.sep, "/")) or not Path(output).suffix or Path(output).is_dir()


def _check_output(output: Path | None, options: argparse.Namespace) -> None:
    """Raises InputError, before long work, for an output that cannot be, and for options without effect."""
    if output is None and options.push is None:
        raise InputError("expected --output, or --push, found neither")
    folder = output is None or _is_folder(options.output)
    program = output is not None and not folder and output.suffix == ".stablehlo"
    needed = {
        "an output .stablehlo": (program, ("tile", "spike_ratio", "batch", "precision")),
        "an output that is a folder": (folder, ("push", "scores", "license")),
    }
    check_effects(options, needed)
    if options.push is not None:
        require("hub", "--push")
        _repository(options.push)
    if options.license is not None:
        from spikejax.hub.model_card import check_license

        check_license(options.license)
    if output is None:
        return
    if output.suffix in _KINDS and output.is_dir() and not options.output.endswith((os.sep, "/")):
        raise InputError(f"expected a file to write to, found a folder: {output}")
    if output.suffix in _KINDS if folder else output.suffix not in _KINDS:
        raise InputError(f"expected an output of the kind {', '.join(_KINDS)}, or a folder, found {options.output}")
    if folder:
        from spikejax.hub.model_folder import check_model_folder

        check_model_folder(output.absolute(), replace=options.overwrite)
    elif output.exists() and not options.overwrite:
        raise InputError(f"expected a new file (--overwrite replaces one), found something there: {output}")


def _repository(text: str) -> HubName:
    name = hub_name(text)
    if name is None or name.file is not None:
        raise InputError(f"--push: expected a repository, hf://USER/NAME or hf://USER/NAME@BRANCH, found {text}")
    return name


def _say_written(workdir: UserPath, output: Path, file: Path) -> None:
    print(f"{workdir} -> {output}: {file.stat().st_size / 1e6:,.1f} MB")


def _export_weights(workdir: UserPath, output: Path, which: str | None, options: argparse.Namespace) -> None:
    """Writes a file of weights, ours or PyTorch's."""
    import jax
    import numpy as np

    from spikejax import installed
    from spikejax.io.weights import describe_weights, write_weights
    from spikejax.training.trained_params import read_network

    weights = read_network(workdir, which=which, statistics=options.statistics, trust_code=options.trust_code)
    if output.suffix == ".safetensors":
        write_weights(output, weights, replace=options.overwrite)
    else:
        network = installed.load_module("convert.convertible_networks").network_of(weights)
        on_host = dataclasses.replace(weights, params=jax.tree.map(np.asarray, weights.params))
        state_dict = network.to_torch(on_host, dtype=np.dtype(np.float32))
        write_arrays = installed.load_module("convert.array_files").write_arrays
        write_arrays(output, state_dict, description=describe_weights(weights))
    _say_written(workdir, output, output)


def _export_folder(workdir: UserPath, output: Path | None, which: str | None, options: argparse.Namespace) -> None:
    """Writes a folder for a hub, and sends it."""
    from spikejax.hub.model_folder import FILES, write_model_folder
    from spikejax.io.weights import MODEL_FILE

    with _folder_to_write(output) as folder:
        weights, card = _weights_and_card(workdir, which, options)
        write_model_folder(folder, weights, card, replace=options.overwrite)
        if output is not None:
            _say_written(workdir, output, folder / MODEL_FILE)
        if options.push is not None:
            from spikejax.hub.hugging_face import push

            address = push(folder, _repository(options.push), files=FILES)
            print(f"{workdir} -> {options.push}: {address}")


@contextlib.contextmanager
def _folder_to_write(output: Path | None) -> Iterator[Path]:
    """Yields the output, or a folder that is removed at the end where there is none."""
    if output is not None:
        yield output.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="spikejax_") as folder:
        yield Path(folder) / "network"


def _weights_and_card(workdir: UserPath, which: str | None, options: argparse.Namespace) -> tuple[Weights, ModelCard]:
    """The network, and what is said about it."""
    from spikejax.hub.model_card import ModelCard, read_scores, scores_in_workdir, validation_scores
    from spikejax.training.trained_params import read_network, restorer_traits

    weights = read_network(workdir, which=which, statistics=options.statistics, trust_code=options.trust_code)
    scores_folder = None if options.scores is None else Path(options.scores)
    if scores_folder is None and isinstance(workdir, Path) and weights.training is not None:
        scores_folder = scores_in_workdir(workdir, str(weights.training.get("checkpoint")))
        if scores_folder is not None:
            print(f"scores: those in {scores_folder}")
    scores = validation_scores(weights) if scores_folder is None else read_scores(scores_folder)
    title = options.push and _repository(options.push).repository.rpartition("/")[2]
    title = title or " ".join(Path(options.output).absolute().name.split())
    card = ModelCard(
        title,
        weights,
        restorer_traits(weights),
        address=options.push or title,
        scores=scores,
        license_name=options.license or _license_of(options.network),
    )
    return weights, card


def _license_of(network: str) -> str | None:
    """The licence of a network that has a name here, None if it is nobody's business to say."""
    if not is_network_name(network):
        return None
    return {DEMO: "apache-2.0"}.get(network, "cc-by-nc-4.0" if network.startswith(RELEASED) else None)


def _export_program(workdir: UserPath, output: Path, which: str | None, options: argparse.Namespace) -> None:
    """Writes the step of restoring as one program."""
    from spikejax.inference.exported_network import export_network
    from spikejax.inference.tiling import Extent
    from spikejax.training.measure_split import load_trained

    trained = load_trained(workdir, which=which, statistics=options.statistics, trust_code=options.trust_code)
    restorer = trained.restorer
    tile = Extent(*options.tile) if options.tile else restorer.tile
    if 0 in tile.shape:
        raise InputError(f"expected --tile, since a program has one size, found {tile}, which is all there is")
    ratio = options.spike_ratio or 1
    if tile.height % ratio or tile.width % ratio:
        raise InputError(f"expected a --tile of multiples of {ratio}, the --spike-ratio, found {tile}")
    exported = export_network(
        restorer.network.model,
        restorer.traits,
        tile=tile,
        ratio=ratio,
        batch=options.batch,
        moments=restorer.network.moments,
        precision=check_precision(options.precision),
    )
    with atomic_write(output) as temporary:
        temporary.write_bytes(exported.serialize())
    _say_written(workdir, output, output)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "export",
        description="Writes a trained network as a file for elsewhere.",
        example="--network runs/mine -o mine.safetensors",
    )
    add = parser.add_argument
    add(
        "--network", "--workdir", dest="network", required=True, type=network_path, metavar="PATH",
        help="where spikejax.train left the network; or weights, a .safetensors or .pth file or a folder of spikejax "
        "convert; or a name, as for restore",
    )  # fmt: skip
    add(
        "-o",
        "--output",
        metavar="X",
        help=f"a file, whose suffix, one of {' '.join(_KINDS)}, says of which kind; or a folder, for a hub",
    )
    add_which(parser)
    add_accept_license(parser)
    add_statistics(parser)
    add_trust_code(parser)
    folder = parser.add_argument_group("a folder")
    folder.add_argument(
        "--push", type=network_path, metavar="NAME", help="send it to a repository of the Hugging Face Hub, "
        "hf://USER/NAME or hf://USER/NAME@BRANCH, made if there is none (extra [hub]); --output may be left out"
    )  # fmt: skip
    folder.add_argument(
        "--scores", metavar="DIR", help="what spikejax evaluate measured, for the card (default: what lies in the "
        "workdir of this checkpoint, else what the validation in training measured)"
    )  # fmt: skip
    folder.add_argument("--license", metavar="NAME", help="of the weights, as hubs have it: apache-2.0, cc-by-nc-4.0")
    program = parser.add_argument_group(".stablehlo")
    add_words(
        program,
        "--tile",
        read=extent,
        metavar="FRAMES,HEIGHT,WIDTH",
        help="what it restores at once (default: the network's own)",
    )
    program.add_argument(
        "--spike-ratio",
        type=positive_count,
        metavar="N",
        help="how many times larger frames are than spikes (default: 1)",
    )
    program.add_argument("--batch", type=positive_count, metavar="N", help="clips at once (default: any number)")
    add_precision(program)
    add_overwrite(parser, "the output")
    return parser


if __name__ == "__main__":
    run(main)
