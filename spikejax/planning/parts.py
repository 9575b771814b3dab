"""The costly parts of a network, each compiled for itself with its gradients: which one takes how long, and how much.

Compiling a whole training step takes minutes and gigabytes; its parts say sooner what a change of one of them does.
Parts are those of the network that the configuration describes, at the size of its clips: what is done at several
scales is taken at the first, and counts for all of them by their pixels. What stands between the parts is left out:
convolutions at both ends, changes of resolution, the linear layers behind each group, the optimizer.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.hardware.flops import BACKWARD_AND_FORWARD, count_flops
from spikejax.hardware.host import peak_host_bytes
from spikejax.kernels.choice import Target, trace_for, use_kernels
from spikejax.models.flows import ClipFlows, clip_flows
from spikejax.models.remat import remat_if
from spikejax.models.restorer import Restorer, build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.vrt import STAGE_SCALES, U_STAGES
from spikejax.planning.schedule import Schedule
from spikejax.planning.step_plan import Memory, memory_of, read_program
from spikejax.planning.topology import Topology


@dataclass(frozen=True)
class Part:
    """A part of a network.

    Attributes:
        name: for people.
        module: of the network without its numbers.
        run: (module, *arguments) -> features.
        arguments: shapes of one clip's.
        times: how often the whole network has it, by pixels.
    """

    name: str
    module: nnx.Module
    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    times: float


@dataclass(frozen=True)
class PartPlan:
    """What a part takes for one clip, forward and backward, on one device.

    Attributes:
        name: of the part.
        times: how often the whole network has it, by pixels.
        memory: of the device.
        memory_bytes: moved through the main memory; None if the program's text cannot be read.
        flops: of products, recomputation and what kernels add included.
        model_flops: of products that the mathematics need: three times the forward pass.
        schedule: one instruction after the other; None for devices of unknown peaks.
        seconds: at the least; None likewise.
        utilisation: of the device's peak by `model_flops`, then.
        compile_seconds: what compiling took, tracing included.
        host_bytes: the most memory that this process has had so far.
    """

    name: str
    times: float
    memory: Memory
    memory_bytes: float | None
    flops: float
    model_flops: float
    schedule: Schedule | None
    seconds: float | None
    utilisation: float | None
    compile_seconds: float
    host_bytes: int


def parts_of(config: ConfigDict) -> dict[str, Part]:
    """The parts of the network that a configuration describes, by name.

    Args:
        config: see `spikejax.config.defaults`; its `data` says the size of a clip.

    Raises:
        InputError: the network is not a VRT.
    """
    network = nnx.eval_shape(lambda: build_restorer(config.model.to_dict(), rngs=make_rngs(0)))
    if not isinstance(network, Restorer):
        raise InputError(f"--parts: expected the backbone vrt, found {config.model.backbone!r}")
    return {part.name: part for part in _parts(network, config)}


def _parts(network: Restorer, config: ConfigDict) -> Iterator[Part]:
    frames, (rows, columns) = config.data.frames, network.padded_size(config.data.crop, config.data.crop)
    recompute = config.model.remat == "everything"
    dtype = jnp.dtype(config.model.compute_dtype)

    def clip(width: int, of: jnp.dtype = dtype, count: int = frames) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, count, rows, columns, width), of)

    def call(module: nnx.Module, *arguments: Any) -> Any:
        return remat_if(recompute, lambda module, *arguments: module(*arguments))(module, *arguments)

    branch, vrt = network.spike_branch, network.vrt
    if branch is not None:
        widths, stages = branch.config.channels, branch.config.fused_stages
        encode = partial(branch.encoder.__class__.__call__, recompute=recompute)
        yield Part("spike encoder", branch.encoder, encode, (clip(branch.config.bins),), 1)
        times = _times(len(stages))
        if branch.temporal_attention is not None:
            yield Part("attention over time", branch.temporal_attention[0], call, (clip(widths[0]),), times)
        yield Part("fusion", branch.fuse_blocks[0], call, (clip(widths[0]),) * 2, times)
    width, times = vrt.config.dims[0], _times(U_STAGES)
    stage = vrt.stages[0]
    for name, group in (("mutual attention", stage.mutual_group), ("self-attention", stage.self_group)):
        if jax.tree.leaves(nnx.state(group)):  # a short stage has blocks of one kind alone
            yield Part(name, group, lambda module, x: module(x), (clip(width),), times)
    reach = vrt.config.reach
    if stage.warping is not None:
        flows: Any = tuple(clip(2, jnp.dtype(jnp.float32), frames - apart) for apart in range(1, reach + 1))
        yield Part("alignment", stage.warping, call, (clip(width), ClipFlows(flows, flows)), times)
        run = remat_if(recompute, partial(clip_flows, reach=reach))
        assert vrt.spynet is not None
        yield Part("optical flow", vrt.spynet, run, (clip(vrt.config.input_channels, jnp.dtype(jnp.float32)),), 1)
    groups = list(vrt.reconstruction_groups)
    own = [index - U_STAGES for index in range(U_STAGES, len(vrt.config.depths)) if index in vrt.config.independent]
    for name, indices in (
        ("stage 8 of all frames", [index for index in range(len(groups)) if index not in own]),
        ("stage 8 of one frame", own),
    ):
        if indices:
            width = vrt.config.dims[U_STAGES + indices[0]]
            yield Part(name, groups[indices[0]], lambda module, x: module(x), (clip(width),), len(indices))


def _times(stages: int) -> float:
    """What is done at the first stages, over what is done at the first of them."""
    return sum(1 / STAGE_SCALES[stage] ** 2 for stage in range(stages))


def plan_part(
    part: Part, config: ConfigDict, topology: Topology, *, options: Mapping[str, Any] | None = None
) -> PartPlan:
    """What a part takes on a device of a topology.

    Args:
        part: of `parts_of(config)`.
        config: the same, with `model.kernels` and `model.precision` as they shall be.
        topology: the devices, of which one is taken.
        options: of the compiler.
    """
    started = time.monotonic()
    with topology.described():
        traced = trace_part(part, config, topology)
        lowered = traced.lower()
    compiled = lowered.compile(compiler_options=dict(options or {}))
    compile_seconds = time.monotonic() - started
    chip, dtype, precision = topology.chip, config.model.compute_dtype, config.model.precision
    flops = count_flops(traced.jaxpr, platform=topology.platform)
    model_flops = BACKWARD_AND_FORWARD * _forward_flops(part)
    traffic, schedule = read_program(compiled, chip)
    seconds = None
    if chip is not None and schedule is not None:
        seconds = max(schedule.seconds, flops / chip.flops(dtype, precision))
    return PartPlan(
        name=part.name,
        times=part.times,
        memory=memory_of(compiled),
        memory_bytes=None if traffic is None else traffic.memory_bytes,
        flops=flops,
        model_flops=model_flops,
        schedule=schedule,
        seconds=seconds,
        utilisation=None if not seconds or chip is None else model_flops / (seconds * chip.flops(dtype, precision)),
        compile_seconds=compile_seconds,
        host_bytes=peak_host_bytes(),
    )


def trace_part(part: Part, config: ConfigDict, topology: Topology) -> Any:
    """The gradients of a part by its parameters and arguments, traced for a device of a topology."""
    place = jax.sharding.SingleDeviceSharding(topology.devices[0])
    gradients, parameters = gradients_of(part)
    on_device = partial(jax.tree.map, lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place))
    with (
        trace_for(Target(topology.platform)),
        use_kernels(config.model.kernels),
        jax.default_matmul_precision(config.model.precision),
    ):
        return gradients.trace(on_device(parameters), *on_device(part.arguments))


def gradients_of(part: Part) -> tuple[Any, nnx.State]:
    """The jitted gradients of a part, a function of its parameters and its arguments, and the parameters' shapes."""
    definition, parameters = nnx.split(part.module)

    def loss(parameters: Any, *arguments: Any) -> Array:
        results = jax.tree.leaves(part.run(nnx.merge(definition, parameters), *arguments))
        return jnp.stack([result.astype(jnp.float32).sum() for result in results]).sum()

    return jax.jit(jax.grad(loss, argnums=tuple(range(1 + len(part.arguments))))), parameters


def _forward_flops(part: Part) -> float:
    """The products of the plain form's forward pass."""
    definition, parameters = nnx.split(part.module)
    with use_kernels("plain"):
        forward = jax.make_jaxpr(lambda parameters, *arguments: part.run(nnx.merge(definition, parameters), *arguments))
        return count_flops(forward(parameters, *part.arguments), platform="cpu")
