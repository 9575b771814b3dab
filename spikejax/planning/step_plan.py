"""One plan: the training step of a configuration, compiled for a topology, and what that says."""

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from spikejax.hardware.chips import Chip
from spikejax.hardware.flops import BACKWARD_AND_FORWARD, count_flops
from spikejax.models.restorer import build_restorer
from spikejax.planning.hlo import KNOWN_JAX, parse
from spikejax.planning.schedule import Schedule, schedule_of
from spikejax.planning.topology import Topology
from spikejax.planning.traffic import Traffic, measure_traffic
from spikejax.training.kept_step import save_step
from spikejax.training.objective import make_loss
from spikejax.training.program import describe_program
from spikejax.training.step import Build
from spikejax.training.step_identity import step_arguments, step_identity

_LOGGER = logging.getLogger(__name__)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device.

    Attributes:
        arguments: parameters, optimizer state and the batch.
        outputs: the state after the step.
        aliased: of the outputs, what takes the place of arguments, since the state is donated.
        temporaries: activations, gradients.
        code: the program.
    """

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        """What the device must have."""
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step if one thing alone held it up, each at its peak: no step can be faster than the longest.

    Attributes:
        compute: products, in the network's dtype.
        memory: moving arrays to and from the device's memory.
        network: sending to other devices.
    """

    compute: float
    memory: float
    network: float

    @property
    def step(self) -> float:
        """Seconds of a step in which the three run side by side."""
        return max(self.compute, self.memory, self.network)

    @property
    def limit(self) -> str:
        """What takes longest."""
        return max(("compute", "memory", "network"), key=lambda name: getattr(self, name))


@dataclasses.dataclass(frozen=True)
class StepPlan:
    """A training step on a topology. Figures are of one device and one step unless they say otherwise.

    Attributes:
        topology: as the user wrote it.
        devices: their number.
        hosts: their number.
        mesh: sizes of its axes, by name.
        batch_size: clips, over all devices.
        clip: frames, rows, columns.
        compute_dtype: of the network's features.
        remat: what the backward pass computes again.
        steps: of the whole run.
        parameters: of the network.
        available: bytes of memory.
        memory: of a device; None if the compiler refused, since it does not fit.
        needed: bytes of memory; if the compiler refused, of temporaries alone or as it says; None if it does not say.
        flops: of products, recomputation included.
        model_flops: the same that the network's definition needs: three times the forward pass.
        cost_analysis: XLA's own "flops" and "bytes accessed", which count each loop's body once.
        traffic: what a device moves; None without a compiled program, or for one whose text cannot be read.
        roofline: what a step takes at the least; None without a compiled program, or for devices of unknown peaks.
        schedule: the same with one instruction after the other; None likewise.
        model_flop_utilisation: at `seconds`.
        compile_seconds: what compiling took.
    """

    topology: str
    devices: int
    hosts: int
    mesh: Mapping[str, int]
    batch_size: int
    clip: tuple[int, int, int]
    compute_dtype: str
    remat: str
    steps: int
    parameters: int
    available: int
    memory: Memory | None
    needed: int | None
    flops: float
    model_flops: float
    cost_analysis: Mapping[str, float]
    traffic: Traffic | None
    roofline: Roofline | None
    schedule: Schedule | None
    model_flop_utilisation: float | None
    compile_seconds: float

    @property
    def seconds(self) -> float | None:
        """Of a step, at the least: of what takes longest by the roofline, and of all instructions in turn."""
        if self.roofline is None:
            return None
        return max(self.roofline.step, self.schedule.seconds if self.schedule is not None else 0.0)

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.memory is not None and self.memory.total <= self.available


def plan_step(
    config: ConfigDict,
    topology: Topology,
    *,
    build: Build = build_restorer,
    note: Callable[[str], None] = lambda text: None,
    save_to: Path | None = None,
) -> StepPlan:
    """The plan of the training step that `config` describes, on all devices of `topology`.

    Args:
        config: see `spikejax.config.defaults`; mesh and batch size as they shall be.
        topology: the devices.
        build: makes the network.
        note: told, in one line, of terms of the loss that are left out.
        save_to: a file for the compiled step, if there is one; None = it is not kept.

    Raises:
        InputError: the mesh does not fit the devices, or the batch the mesh; or the step cannot be kept.
    """
    started = time.monotonic()
    loss = make_loss(config.loss, note=note, abstract=True)
    program = describe_program(config, build=build, devices=topology.devices)
    mesh = program.mesh
    train_step: Any = program.train_step()
    abstract, batch, loss = arguments = step_arguments(config, program, loss)
    forward_traced = _plain_forward(config, build, topology).trace(abstract.params, batch["input"], batch.get("voxels"))
    with topology.described():
        traced = train_step.trace(abstract, batch, loss)
        lowered = traced.lower()
    compiled, refusal = _compile(lowered)

    count = len(topology.devices)
    forward_flops = count_flops(forward_traced.jaxpr, platform=topology.platform)
    if save_to is not None and compiled is not None:
        save_step(save_to, compiled, step_identity(config, program, arguments), abstract, forward_flops=forward_flops)
    model_flops = BACKWARD_AND_FORWARD * forward_flops / count
    flops = count_flops(traced.jaxpr, platform=topology.platform) / count
    memory = None if compiled is None else memory_of(compiled)
    traffic, schedule = (None, None) if compiled is None else read_program(compiled, topology.chip)
    roofline = roofline_of(topology, config.model.compute_dtype, flops, traffic, precision=config.model.precision)
    peak = topology.chip and topology.chip.flops(config.model.compute_dtype, config.model.precision)
    plan = StepPlan(
        topology=topology.name,
        devices=count,
        hosts=topology.hosts,
        mesh=dict(mesh.shape),
        batch_size=config.data.batch_size,
        clip=(config.data.frames, config.data.crop, config.data.crop),
        compute_dtype=config.model.compute_dtype,
        remat=config.model.remat,
        steps=config.training.steps,
        parameters=program.network.size,
        available=topology.memory_bytes,
        memory=memory,
        needed=_needed(refusal) if memory is None else memory.total,
        flops=flops,
        model_flops=model_flops,
        cost_analysis=_cost_analysis(compiled),
        traffic=traffic,
        roofline=roofline,
        schedule=schedule,
        model_flop_utilisation=None,
        compile_seconds=time.monotonic() - started,
    )
    if not plan.seconds or not peak:
        return plan
    return dataclasses.replace(plan, model_flop_utilisation=model_flops / (plan.seconds * peak))


def _plain_forward(config: ConfigDict, build: Build, topology: Topology) -> Any:
    """The forward pass without kernels, whose products are those of the mathematics: kernels' have zeros among them."""
    plain = ConfigDict(config.to_dict())
    plain.model.kernels = "plain"
    return describe_program(plain, build=build, devices=topology.devices).forward()


def _compile(lowered: Any) -> tuple[Any, str]:
    """The compiled program, or None and what the compiler says if there is not enough memory for it."""
    try:
        return lowered.compile(), ""
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None, str(error)


def _needed(refusal: str) -> int | None:
    """The bytes that the TPU compiler says it would have needed."""
    stated = re.search(r"temporaries \(([\d.]+)([KMGT]?)\)|Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm", refusal)
    if not stated:
        return None
    number, unit = stated[1] or stated[3], stated[2] or stated[4] or ""
    return int(float(number) * _UNITS[unit])


def memory_of(compiled: Any) -> Memory:
    """What a compiled program needs on a device."""
    analysis = compiled.memory_analysis()
    return Memory(
        arguments=analysis.argument_size_in_bytes,
        outputs=analysis.output_size_in_bytes,
        aliased=analysis.alias_size_in_bytes,
        temporaries=analysis.temp_size_in_bytes,
        code=analysis.generated_code_size_in_bytes,
    )


def read_program(compiled: Any, chip: Chip | None) -> tuple[Traffic | None, Schedule | None]:
    """What the compiled program's text says, if it can be read: bytes, and seconds on a chip that is known.

    The text is meant for people and may change with any version of XLA. Compiling may have taken half an hour, so
    whatever reading stumbles over, the rest of the plan is kept. Of a JAX whose texts nobody has looked at nothing is
    read: what looks like an answer might be wrong.
    """
    if ".".join(jax.__version__.split(".")[:2]) not in KNOWN_JAX:
        return None, None
    try:
        module = parse(compiled.as_text())
        return measure_traffic(module), None if chip is None else schedule_of(module, chip)
    except Exception as error:  # regular expressions over another program's text fail in any way
        _LOGGER.warning("the text of the compiled program cannot be read: %s: %s", type(error).__name__, error)
        return None, None


def _cost_analysis(compiled: Any) -> dict[str, float]:
    analysis = {} if compiled is None else compiled.cost_analysis() or {}
    return {name: analysis[name] for name in ("flops", "bytes accessed") if name in analysis}


def roofline_of(
    topology: Topology, dtype: str, flops: float, traffic: Traffic | None, *, precision: str = "default"
) -> Roofline | None:
    """What a program takes on a topology's device at the least; None where its peaks or the traffic are not known."""
    chip, link = topology.chip, topology.link_bandwidth
    if chip is None or link is None or traffic is None:
        return None
    return Roofline(
        compute=flops / chip.flops(dtype, precision),
        memory=traffic.memory_bytes / chip.memory_bandwidth,
        network=traffic.sent / link,
    )
