"""Writes a trained network as a file for elsewhere: python -m spikejax.export --network PATH --output X.

X.safetensors  parameters, and in the metadata the model, the statistics of spikes, tiles and how it was trained
X.pth          a PyTorch state dict, of networks that PyTorch knows
X.stablehlo    the whole step of restoring as one program of `jax.export`, for CPUs, CUDA and TPUs
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from spikejax.cli import (
    CHECKPOINTS,
    add_accept_license,
    add_overwrite,
    add_statistics,
    add_trust_code,
    add_which,
    add_words,
    extent,
    make_parser,
    network_path,
    positive_count,
    run,
)
from spikejax.errors import InputError
from spikejax.hub.resolving import resolve_network
from spikejax.inference.precision import add_precision, check_precision
from spikejax.io.atomic import atomic_write
from spikejax.io.paths import user_path

_KINDS = (".safetensors", ".pth", ".pt", ".stablehlo")


def main(arguments: Sequence[str]) -> None:
    """Exports as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    output = Path(options.output)
    if output.suffix not in _KINDS:
        raise InputError(f"expected an output of the kind {', '.join(_KINDS)}, found {output}")
    if output.suffix != ".stablehlo" and (options.tile or options.spike_ratio or options.batch or options.precision):
        raise InputError(
            f"expected an output .stablehlo with --tile, --spike-ratio, --batch and --precision, found {output}"
        )
    if output.is_dir() or (output.exists() and not options.overwrite):
        raise InputError(f"expected a new file (--overwrite replaces one), found something there: {output}")
    which = CHECKPOINTS.get(options.which)
    network = resolve_network(options.network, accept_license=options.accept_license)
    workdir = user_path(network, what="--network")
    try:
        if output.suffix == ".stablehlo":
            _export_program(workdir, output, which, options)
        else:
            _export_weights(workdir, output, which, options)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}") from error
    print(f"{workdir} -> {output}: {output.stat().st_size / 1e6:,.1f} MB")


def _export_weights(workdir: object, output: Path, which: str | None, options: argparse.Namespace) -> None:
    """Writes a file of weights, ours or PyTorch's."""
    import jax
    import numpy as np

    from spikejax import installed
    from spikejax.io.weights import describe_weights, write_weights
    from spikejax.training.trained_params import read_network

    weights = read_network(str(workdir), which=which, statistics=options.statistics, trust_code=options.trust_code)
    if output.suffix == ".safetensors":
        write_weights(output, weights, replace=options.overwrite)
        return
    network = installed.load_module("convert.convertible_networks").network_of(weights)
    on_host = dataclasses.replace(weights, params=jax.tree.map(np.asarray, weights.params))
    state_dict = network.to_torch(on_host, dtype=np.dtype(np.float32))
    installed.load_module("convert.array_files").write_arrays(output, state_dict, description=describe_weights(weights))


def _export_program(workdir: object, output: Path, which: str | None, options: argparse.Namespace) -> None:
    """Writes the step of restoring as one program."""
    from spikejax.inference.exported_network import export_network
    from spikejax.inference.tiling import Extent
    from spikejax.training.measure_split import load_trained

    trained = load_trained(
        user_path(str(workdir)), which=which, statistics=options.statistics, trust_code=options.trust_code
    )
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
        help="where spikejax.train left the network; or weights, a .safetensors file or a folder of spikejax convert; "
        "or a name, as for restore",
    )  # fmt: skip
    add(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help=f"its suffix, one of {' '.join(_KINDS)}, says of which kind",
    )
    add_which(parser)
    add_accept_license(parser)
    add_statistics(parser)
    add_trust_code(parser)
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
