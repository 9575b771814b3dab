"""A network as one program for other programs: a file of `jax.export`, which needs nothing of this package to run.

It is called as `call(frames, counts, level)`, of which a network without spikes has no `counts`, and one that is not
told a noise level no `level`:

    frames   uint8 [b, t, h, w, 3]; of a network that interpolates float32 in [0, 1], since its answers are its inputs
    counts   uint16 [b, t, h', w', k], spikes for each pixel and time bin; standardising is part of the program
    level    float32 [1], the standard deviation of the noise over 255
    returns  float32 [b, t', h'', w'', 3], about [0, 1], neither clipped nor rounded

t, h and w are fixed, b is not: clips of a batch are restored one after the other. It runs on every platform that it
names, by the arithmetic that XLA has on each.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.export import Exported

from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.errors import InputError, one_line
from spikejax.inference.compiled_network import StoredProgram, restore_tiles
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.models.traits import NetworkTraits

SUFFIX = ".stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")
_COUNTS, _FRAMES, _LEVEL = np.dtype(np.uint16), np.dtype(np.uint8), np.dtype(np.float32)


def export_network(
    network: nnx.Module,
    traits: NetworkTraits,
    *,
    tile: Extent,
    ratio: int = 1,
    batch: int | None = None,
    moments: tuple[float, float] = (0.0, 1.0),
    platforms: Sequence[str] = PLATFORMS,
    precision: str = "highest",
) -> Exported:
    """The whole step of restoring as one program, the network's parameters in it.

    Args:
        network: called as network(clip, voxels, key=None).
        traits: what it does.
        tile: frames, rows and columns that the program takes.
        ratio: how many times larger the frames are than the spikes.
        batch: clips at once; None = any number.
        moments: mean and standard deviation of log1p of the counts.
        platforms: that it is to run on.
        precision: of float32 products, see `spikejax.inference.precision`.
    """
    graphdef, state = nnx.split(network)

    def restore_one(one: dict[str, Array], level: Array) -> Array:
        clips = jax.tree.map(lambda array: array[None], one)
        restored = restore_tiles(
            nnx.merge(graphdef, state),
            clips["frames"],
            clips.get("counts"),
            jnp.asarray(moments, jnp.float32),
            level,
            normalise=traits.spike_normalise,
        )
        return restored[0]

    def restore(frames: Array, *rest: Array) -> Array:
        others = list(rest)
        clips = {"frames": frames}
        if traits.spike_bins is not None:
            clips["counts"] = others.pop(0)
        level = others.pop(0) if others else jnp.zeros(0, jnp.float32)
        return jax.lax.map(lambda one: restore_one(one, level), clips)

    with jax.default_matmul_precision(precision):
        return jax.export.export(jax.jit(restore), platforms=tuple(platforms))(*_arguments(traits, tile, ratio, batch))


def _arguments(traits: NetworkTraits, tile: Extent, ratio: int, batch: int | None) -> list[jax.ShapeDtypeStruct]:
    (count,) = jax.export.symbolic_shape("b") if batch is None else (batch,)
    frames, rows, columns = tile.shape
    dtype = np.dtype(np.float32) if traits.interpolates else _FRAMES
    arguments = [jax.ShapeDtypeStruct((count, frames, rows, columns, 3), dtype)]
    if traits.spike_bins is not None:
        shape = (count, frames, rows // ratio, columns // ratio, traits.spike_bins)
        arguments.append(jax.ShapeDtypeStruct(shape, _COUNTS))
    if traits.noise_level:
        arguments.append(jax.ShapeDtypeStruct((1,), _LEVEL))
    return arguments


class ExportedNetwork(StoredProgram):
    """A program that was exported, as a network; it restores clips of its own size alone.

    Attributes:
        traits: what it does, as its shapes tell.
        tile: frames, rows and columns that it takes.
        checksum: of its file, in place of parameters.
    """

    def __init__(self, path: Path):
        """Reads the program.

        Raises:
            InputError: there is none, or it is none of `export_network`, or not for the devices here.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"expected an exported network, found {error.strerror or error}: {path}") from error
        exported = _read(data, path)
        self.traits, self.tile = _traits_of(exported, path)
        self.checksum = nnx.Param(jnp.asarray(zlib.crc32(data), jnp.uint32))
        platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
        if platform not in exported.platforms:
            known = ", ".join(exported.platforms)
            raise InputError(
                f"expected devices of {known}, which the network was exported for, found {platform}: {path}"
            )
        self._program = _Program(exported)
        self._path = str(path)

    def restore_stored(self, frames: Array, counts: Array | None, level: Array) -> Array:
        """The restored frames, see `StoredProgram`."""
        expected, *rest = self._program.exported.in_avals
        if frames.shape[1:] != expected.shape[1:] or frames.dtype != expected.dtype:
            raise InputError(
                f"expected clips of {self.tile} in {expected.dtype}, the only ones that an exported network restores, "
                f"found {Extent(*frames.shape[1:4])} in {frames.dtype}: {self._path}"
            )
        others = [] if counts is None else [counts.astype(_COUNTS)]
        if counts is not None and counts.shape[1:] != rest[0].shape[1:]:
            raise InputError(
                f"expected counts of spikes of the shape {rest[0].shape[1:]} for each clip, found {counts.shape[1:]}: "
                f"{self._path}"
            )
        if self.traits.noise_level:
            others.append(level)
        return self._program.exported.call(frames, *others)


class _Program:
    """Holds what was exported, and is equal to itself alone, so that nobody compares the bytes of a network."""

    def __init__(self, exported: Exported):
        self.exported = exported


def _read(data: bytes, path: Path) -> Exported:
    try:
        return jax.export.deserialize(bytearray(data))
    except Exception as error:  # flatbuffers' own, of whatever the bytes lead it to
        raise InputError(f"expected a file of jax.export, found damage ({one_line(error)[:200]}): {path}") from error


def _traits_of(exported: Exported, path: Path) -> tuple[NetworkTraits, Extent]:
    """What a program does, from the shapes that it takes and returns."""
    expected = f"expected a program of spikejax export, found another one: {path}"
    arguments, results = exported.in_avals, exported.out_avals
    if not arguments or len(results) != 1 or len(arguments) > 3:
        raise InputError(expected)
    frames, *rest = arguments
    restored = results[0]
    if any(len(aval.shape) != 5 or aval.shape[-1] != 3 for aval in (frames, restored)):
        raise InputError(expected)
    counts = next((aval for aval in rest if len(aval.shape) == 5), None)
    _, count, rows, columns, _ = frames.shape
    traits = NetworkTraits(
        upscale=restored.shape[2] // rows,
        interpolates=restored.shape[1] != count,
        noise_level=any(aval.shape == (1,) for aval in rest),
        window=count,
        spike_bins=None if counts is None else int(counts.shape[-1]),
    )
    return traits, Extent(int(count), int(rows), int(columns))


def load_exported(path: Path) -> VideoRestorer:
    """An exported network, ready to restore by tiles of its own size.

    Raises:
        InputError: there is none, or it is not for the devices here.
    """
    network = ExportedNetwork(path)
    frames, height, width = network.tile.shape
    statistics = None
    if network.traits.spike_bins is not None:  # they are part of the program, which is given counts
        statistics = SpikeStatistics(network.traits.spike_bins, mean=0.0, std=1.0, windows=1)
    return VideoRestorer(
        network,
        network.traits,
        tile=network.tile,
        # Even, for spikes of half the resolution; a clip of interpolation has a window's frames.
        overlap=Extent(min(2, frames - 1), min(20, height // 4 * 2), min(20, width // 4 * 2)),
        statistics=statistics,
        name=str(path),
    )
