"""Takes over PyTorch weights and gives them back, without PyTorch.

spikejax convert to-jax --network 006 --input weights.pth --output weights.safetensors
spikejax convert to-torch --input weights.safetensors --output weights.pth
spikejax convert info weights.pth

In a checkout `python -m convert` is the same. --help does not wait for JAX, which is imported where it is needed.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spikejax.cli import (
    CHECKPOINTS,
    CommandParser,
    add_overwrite,
    add_statistics,
    add_which,
    example_in_help,
    network_path,
    number_from,
    run,
)
from spikejax.errors import InputError
from spikejax.hub.resolving import resolve_network
from spikejax.io.paths import local_only

from .network_names import network_names

# The second asks for what is the case anyway: a VRT that has no name is taken as it is.
_RECOGNIZE = ("auto", "any")
_DTYPES = ("float32", "float16", "bfloat16")
# What the help of each command shows, "" of all of them.
_EXAMPLES = {
    "": "to-jax -i weights.pth -o weights.safetensors",
    "to-jax": "--network 006 -i weights.pth -o 006.safetensors",
    "to-torch": "-i weights.safetensors -o weights.pth",
    "info": "weights.pth",
}


def main(arguments: Sequence[str]) -> None:
    """Does what the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    options.run(options)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    examples = {
        command: example_in_help(f"spikejax convert {command}".strip(), example)
        for command, example in _EXAMPLES.items()
    }
    parser = CommandParser(
        prog="spikejax convert", description=__doc__.splitlines()[0], allow_abbrev=False, **examples[""]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    to_jax = commands.add_parser(
        "to-jax", help="weights of PyTorch programs to ours", allow_abbrev=False, **examples["to-jax"]
    )
    to_jax.add_argument(
        "--network",
        default="auto",
        choices=(*_RECOGNIZE, *network_names()),
        metavar="NAME",
        help=f"one of {', '.join(network_names())}; auto or any (default) = the one that keys and shapes are those of, "
        "or a VRT of an architecture of its own",
    )
    to_jax.add_argument(
        "-i",
        "--input",
        required=True,
        nargs="+",
        type=network_path,
        metavar="FILE",
        help=".pth, .pt, .ckpt, .safetensors or .npz, or hf://USER/NAME/FILE of a hub; several files are "
        "taken together, as a VRT and its spike branch",
    )
    to_jax.add_argument(
        "-o", "--output", required=True, type=Path, metavar="PATH", help="a .safetensors file, or a folder (orbax)"
    )
    to_jax.add_argument(
        "--prefix", metavar="TEXT", help="take the keys that begin with TEXT, without it (default: known ones go)"
    )
    to_jax.add_argument(
        "--lora-alpha", type=number_from(0), metavar="A",
        help="of low-rank adapters, merged as W + A / rank B A (default: as the file says)",
    )  # fmt: skip
    add_statistics(to_jax)
    to_jax.set_defaults(run=_to_jax)

    to_torch = commands.add_parser(
        "to-torch", help="our weights to a PyTorch state dict", allow_abbrev=False, **examples["to-torch"]
    )
    to_torch.add_argument(
        "-i", "--input", required=True, type=network_path, metavar="PATH",
        help="weights that to-jax or spikejax.export wrote, a .pth file, the workdir of a training, or a name as for "
        "restore",
    )  # fmt: skip
    add_which(to_torch)
    add_statistics(to_torch)
    to_torch.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="a file; its suffix, one of .pth .pt "
        ".safetensors .npz, says of which kind"
    )  # fmt: skip
    to_torch.add_argument("--dtype", default="float32", choices=_DTYPES, help="of the parameters")
    to_torch.add_argument(
        "--wrap", metavar="KEY", help='put the state dict under a key such as "params" (.pth and .pt)'
    )
    to_torch.add_argument(
        "--prefix", default="", metavar="TEXT", help='put TEXT before every key, such as "net_g." for a framework'
    )
    to_torch.set_defaults(run=_to_torch)
    for command in (to_jax, to_torch):
        add_overwrite(command, "the output")

    info = commands.add_parser("info", help="list the arrays of a file", allow_abbrev=False, **examples["info"])
    info.add_argument("file", type=Path, metavar="FILE", help="any file or folder that the other commands read")
    info.set_defaults(run=_info)
    return parser


def _to_jax(options: argparse.Namespace) -> None:
    from spikejax.io.weights import flatten_params, write_weights
    from spikejax.training.trained_params import with_statistics

    from .conversion import convert_files
    from .transfer import count_numbers

    _check_output(options.output, weights=True, overwrite=options.overwrite)
    paths = [local_only(resolve_network(name), what="--input") for name in options.input]
    name = None if options.network in _RECOGNIZE else options.network
    weights, arrays = convert_files(
        paths, network=name, prefix=options.prefix, lora_alpha=options.lora_alpha, note=print
    )
    if options.statistics is not None:
        weights = with_statistics(weights, options.statistics, source=options.input[0])
    write_weights(options.output, weights, replace=options.overwrite)
    params, files = flatten_params(weights.params), " and ".join(map(str, options.input))
    print(f"{files}: {arrays:,} arrays -> {options.output}: {count_numbers(params):,} parameters, float32")


def _to_torch(options: argparse.Namespace) -> None:
    import jax
    import ml_dtypes  # noqa: F401, NumPy knows "bfloat16" from then on
    import numpy as np

    from spikejax.io.weights import describe_weights
    from spikejax.training.trained_params import read_network

    from .array_files import WRITTEN_SUFFIXES, write_arrays
    from .convertible_networks import network_of
    from .spike_keys import OWN_KEYS
    from .transfer import count_numbers

    if options.output.suffix not in WRITTEN_SUFFIXES:
        raise InputError(f"expected an output of the kind {', '.join(WRITTEN_SUFFIXES)}, found {options.output}")
    if options.wrap is not None and options.output.suffix not in (".pth", ".pt"):
        raise InputError(f"--wrap: expected an output of the kind .pth or .pt, found {options.output}")
    _check_output(options.output, weights=False, overwrite=options.overwrite)
    which = CHECKPOINTS.get(options.which)
    weights = read_network(resolve_network(options.input), which=which, statistics=options.statistics, any_kind=True)
    weights = replace(weights, params=jax.tree.map(np.asarray, weights.params))
    state_dict = network_of(weights).to_torch(weights, dtype=np.dtype(options.dtype))
    state_dict = {options.prefix + key: array for key, array in state_dict.items()}
    try:
        write_arrays(options.output, state_dict, wrapper=options.wrap, description=describe_weights(weights))
    except OSError as error:
        raise InputError(f"cannot write {options.output}: {error.strerror or error}") from error
    if extra := [key for key in state_dict if key.rpartition(".")[2] in OWN_KEYS]:
        print(f"{len(extra)} arrays are this project's own, which the published code does not know: {', '.join(extra)}")
    print(f"{options.input} -> {options.output}: {len(state_dict):,} arrays, {count_numbers(state_dict):,} numbers")


def _info(options: argparse.Namespace) -> None:
    from spikejax.training.trained_params import read_params

    from .array_files import read_arrays
    from .table import format_table

    if options.file.is_dir():
        arrays: Mapping[str, Any] = read_params(options.file, any_kind=True)
    else:
        arrays = read_arrays(options.file, note=print)
    for line in format_table(arrays):
        print(line)


def _check_output(path: Path, *, weights: bool, overwrite: bool) -> None:
    """Raises InputError before long work rather than after it."""
    from spikejax.io.weights import check_target

    try:
        if weights:
            check_target(path.absolute(), replace=overwrite)
        elif path.is_dir():
            raise InputError(f"expected a file to write to, found a folder: {path}")
        elif path.exists() and not overwrite:
            raise InputError(f"{path} exists already (--overwrite replaces it)")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


if __name__ == "__main__":
    run(main)
