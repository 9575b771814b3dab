"""Which form of an operation runs: plain JAX, or a kernel for TPUs (Pallas, Mosaic) or for GPUs (Pallas, Triton).

`choose` alone decides, by the configuration's `model.kernels`, the platform that a program is traced for, and what the
kernel says of dtype and shape. The platform is no property of what is traced: whoever compiles says it, by
`trace_for`, with the mesh if there are several devices, since XLA does not partition kernels by itself. Where nobody
says anything, plain JAX is traced, which runs everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeVar

import jax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

Kernels = Literal["auto", "plain", "pallas"]
Form = Literal["plain", "tpu", "gpu"]
Result = TypeVar("Result")

_FORMS: dict[str, Form] = {"tpu": "tpu", "cuda": "gpu", "gpu": "gpu"}


@dataclass(frozen=True)
class Target:
    """What a program is traced for.

    Attributes:
        platform: "cpu", "tpu", "cuda" or "gpu".
        mesh: of its devices if they share the arrays; None for a program of one device.
        batch: axes of the mesh that split clips.
        rows: axis of the mesh that splits the rows of pictures.
    """

    platform: str
    mesh: Mesh | None = None
    batch: tuple[str, ...] = ()
    rows: str | None = None


@dataclass(frozen=True)
class Choice:
    """The form of one operation.

    Attributes:
        form: "plain", or the kernel for TPUs or for GPUs.
        interpret: whether the kernel is run step by step in plain JAX, as on CPUs, where it is only tested.
        target: what for.
    """

    form: Form
    interpret: bool = False
    target: Target = Target("cpu")


# JAX keeps what was traced under one target apart from what was traced under another.
_target = jax.make_user_context(None)
_kernels = jax.make_user_context("auto")


@contextmanager
def trace_for(target: Target | None) -> Iterator[None]:
    """Context in which programs are traced for `target`."""
    with _target(target):
        yield


@contextmanager
def use_kernels(kernels: Kernels) -> Iterator[None]:
    """Context in which `choose` follows this value of `model.kernels`."""
    with _kernels(kernels):
        yield


def choose(fits: Callable[[Form], bool]) -> Choice:
    """The form of an operation here and now.

    "auto": the kernel for the target's platform, if it fits. "pallas": the same, and on CPUs the kernel for TPUs,
    interpreted. Where no kernel fits, and with "plain", plain JAX.

    Args:
        fits: whether the operation's kernel of that form takes the dtype and the shape at hand.
    """
    mode, aim = _kernels.value, _target.value
    if mode == "plain" or (mode == "auto" and aim is None):
        return Choice("plain")
    aim = Target(jax.default_backend()) if aim is None else aim
    form = _FORMS.get(aim.platform, "plain")
    interpret = mode == "pallas" and form == "plain"
    form = "tpu" if interpret else form
    return Choice(form, interpret, aim) if form != "plain" and fits(form) else Choice("plain")


def shares_rows(choice: Choice) -> bool:
    """Whether devices share the rows of a clip, which some kernels would do whole on each: XLA exchanges rows."""
    target = choice.target
    return target.mesh is not None and target.rows is not None and target.mesh.shape[target.rows] > 1


# What the leading dimensions of an array are, such as ("clips", "rows"); no others are split over devices.
Dimensions = tuple[Literal["clips", "rows"] | None, ...]


def _is_dimensions(tree: Any) -> bool:
    return isinstance(tree, tuple) and all(name is None or isinstance(name, str) for name in tree)


def over_devices(
    function: Callable[..., Result],
    choice: Choice,
    *arguments: Array | None,
    inputs: Sequence[Dimensions],
    outputs: Any,
) -> Result:
    """`function(axes of the mesh, *arguments)` with each device working on its own clips and rows.

    Args:
        function: of the mesh axes that split clips and rows, {"clips": axes, "rows": axes}, over which it has to sum
            what is of no clip or row in particular, and of one device's parts of the arguments.
        choice: says which devices there are.
        arguments: whole arrays; None stays.
        inputs: dimensions of each argument.
        outputs: dimensions of its results, in a tree as they are.
    """
    mesh = choice.target.mesh
    if mesh is None or mesh.size == 1:
        return function({"clips": (), "rows": ()}, *arguments)
    axes_of = {"clips": choice.target.batch, "rows": (choice.target.rows,) if choice.target.rows else ()}
    # What the axes do not divide, each device does whole.
    sizes = [
        (name, argument.shape[axis])
        for argument, names in zip(arguments, inputs, strict=True)
        if argument is not None
        for axis, name in enumerate(names)
        if name is not None
    ]
    used = {
        name: axes
        if all(size % prod(mesh.shape[axis] for axis in axes) == 0 for other, size in sizes if other == name)
        else ()
        for name, axes in axes_of.items()
    }

    def spec(names: Dimensions) -> PartitionSpec:
        return PartitionSpec(*((used[name] or None) if name else None for name in names))

    given = [(argument, spec(names)) for argument, names in zip(arguments, inputs, strict=True) if argument is not None]

    def of_part(*parts: Array) -> Result:
        left = iter(parts)
        return function(used, *(None if argument is None else next(left) for argument in arguments))

    mapped = jax.shard_map(
        of_part,
        mesh=mesh,
        in_specs=tuple(spec for _, spec in given),
        out_specs=jax.tree.map(spec, outputs, is_leaf=_is_dimensions),
        check_vma=False,
    )
    return mapped(*(argument for argument, _ in given))
