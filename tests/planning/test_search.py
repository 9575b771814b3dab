"""The search for the largest batch, on memories that are known."""

import dataclasses
import math

import pytest

from spikejax.config import defaults
from spikejax.errors import InputError
from spikejax.planning.search import largest_batch, meshes, with_changes
from spikejax.planning.step_plan import Memory, StepPlan


def plan(count: int, needed: int, *, available: int = 1000, refused: bool = False) -> StepPlan:
    """A plan of `count` clips that needs that much."""
    return StepPlan(
        topology="cpu:1",
        devices=1,
        hosts=1,
        mesh={"data": 1},
        batch_size=count,
        clip=(2, 16, 16),
        compute_dtype="float32",
        remat="none",
        steps=10,
        parameters=1,
        available=available,
        memory=None if refused else Memory(0, 0, 0, needed, 0),
        needed=needed,
        flops=1.0,
        model_flops=1.0,
        cost_analysis={},
        traffic=None,
        roofline=None,
        schedule=None,
        model_flop_utilisation=None,
        compile_seconds=0.0,
    )


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize(
    ("base", "of_a_clip", "most_plans"), [(100, 300, 4), (10, 7, 6), (900, 101, 2), (0, 1000, 3), (990, 0.01, 26)]
)
def test_finds_the_largest_in_few_compilations(base: float, of_a_clip: float, most_plans: int, refuses: bool) -> None:
    """Catches a batch one too small or too large, and a search that compiles its way up clip by clip."""
    made = []

    def plan_of(count: int) -> StepPlan:
        made.append(count)
        needed = math.ceil(base + of_a_clip * count)
        return plan(count, needed, refused=refuses and needed > 1000)

    expected = max((n for n in range(2000) if math.ceil(base + of_a_clip * n) <= 1000 and n), default=None)
    found = largest_batch(plan_of)
    assert (found and found.batch_size) == expected
    assert len(made) == len(set(made)) <= most_plans


def test_memory_that_is_not_in_proportion() -> None:
    """Catches a search that trusts the straight line, or never ends, when memory grows in jumps."""

    def plan_of(count: int) -> StepPlan:
        return plan(count, 10 * count + 200 * (count // 8))

    found = largest_batch(plan_of, known={1: plan_of(1)})
    assert found is not None and found.batch_size == max(n for n in range(1, 100) if plan_of(n).fits)


def test_compiler_that_does_not_say_how_much_is_missing() -> None:
    """Catches arithmetic with a figure that is not there."""

    def plan_of(count: int) -> StepPlan:
        one = plan(count, 100 * count, refused=count > 10)
        return one if count <= 10 else dataclasses.replace(one, needed=None)

    found = largest_batch(plan_of)
    assert found is not None and found.batch_size == 10


def test_changes_leave_the_configuration_alone() -> None:
    """Catches a sweep that changes what it sweeps from, and axes left at the size they had."""
    config = defaults.get_config()
    config.mesh.fsdp = 4
    changed = with_changes(config, mesh={"data": 8}, batch_size=16, remat="blocks")
    assert (changed.mesh.data, changed.mesh.fsdp, changed.data.batch_size) == (8, 1, 16)
    assert (changed.model.remat, config.model.remat, config.mesh.fsdp) == ("blocks", "none", 4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mesh": {"rows": 2}}, "--mesh: expected axes of data, fsdp.*, found rows"),
        ({"remat": "all"}, "--remat: expected one of none, blocks, everything, found 'all'"),
    ],
)
def test_changes_that_do_not_exist(changes: dict, told: str) -> None:
    """Catches a slip that plans something else than asked for."""
    with pytest.raises(InputError, match=told):
        with_changes(defaults.get_config(), **changes)


def test_meshes_divide_the_batch() -> None:
    """Catches choices that could only fail, or miss the plain ones."""
    config = defaults.get_config()
    found = meshes(config, devices=16, batch_size=16)
    assert {axis: size for axis, size in found[0].items() if size > 1} == {"data": 16}
    assert {axis: size for axis, size in found[1].items() if size > 1} == {"fsdp": 16}
    assert all(math.prod(sizes.values()) == 16 for sizes in found)
    assert not [sizes for sizes in meshes(config, devices=16, batch_size=3) if sizes["data"] * sizes["fsdp"] > 1]
