"""Many plans: the largest batch that fits, and the table of meshes and rematerialisation policies."""

import itertools
from collections.abc import Callable, Mapping
from typing import get_args

from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.errors import InputError
from spikejax.models.blocks import Remat
from spikejax.planning.step_plan import StepPlan

# What a sweep tries at most along the axis that splits rows: beyond that, halos are as large as the parts.
_MAX_ROW_PARTS = 8
# How far beyond what is known to fit the straight line is believed.
_MAX_GROWTH = 32


def with_changes(
    config: ConfigDict,
    *,
    mesh: Mapping[str, int] | None = None,
    batch_size: int | None = None,
    remat: str | None = None,
) -> ConfigDict:
    """A copy of `config` with another mesh, batch or rematerialisation.

    Args:
        config: see `spikejax.config.defaults`.
        mesh: sizes by axis; what it does not name is 1.
        batch_size: clips over all devices.
        remat: policy.

    Raises:
        InputError: the mesh has no such axis, or there is no such policy.
    """
    changed = config.copy_and_resolve_references()
    if mesh is not None:
        changed.mesh.update(sharding.with_sizes(config.mesh.to_dict(), mesh))
    if batch_size is not None:
        changed.data.batch_size = batch_size
    if remat is not None:
        if remat not in get_args(Remat):
            raise InputError(f"--remat: expected one of {', '.join(get_args(Remat))}, found {remat!r}")
        changed.model.remat = remat
    return changed


def largest_batch(
    plan_of: Callable[[int], StepPlan], *, known: Mapping[int, StepPlan] | None = None
) -> StepPlan | None:
    """The plan with the most clips that fits, or None if not even one for each part of the mesh does.

    Memory grows nearly in proportion to the clips, so two plans tell where it is used up; the plans on both sides of
    that number are made, and what they say counts.

    Args:
        plan_of: makes the plan for a number of clips in each part of the batch.
        known: plans that are made already.
    """
    plans = dict(known or {})
    while True:
        fitting = max((count for count, plan in plans.items() if plan.fits), default=0)
        too_many = min((count for count, plan in plans.items() if not plan.fits), default=None)
        if too_many == fitting + 1:
            return plans.get(fitting)
        count = _next_count(plans, fitting, too_many) if plans else 1
        plans[count] = plan_of(count)


def _next_count(plans: Mapping[int, StepPlan], fitting: int, too_many: int | None) -> int:
    """The number of clips to try next: by the straight line through two plans, else half or twice as many."""
    middle = (fitting + too_many) // 2 if too_many else 2 * fitting
    guess = middle
    first, second = (fitting or min(plans), too_many) if too_many and fitting else (min(plans), max(plans))
    low, high = plans[first].needed, plans[second].needed
    # Later by halves in between: memory that grows in jumps would lead the line along in small steps.
    straight = len(plans) <= 5 or len(plans) % 2
    if straight and low is not None and high is not None and high > low:
        line = first + int((plans[first].available - low) * (second - first) / (high - low))
        guess = max(line, fitting + 1)  # if the line says that no more fits, to see it
    limit = too_many - 1 if too_many else _MAX_GROWTH * max(fitting, 1)
    return min(max(guess, fitting + 1), limit)


def meshes(config: ConfigDict, *, devices: int, batch_size: int) -> list[dict[str, int]]:
    """Meshes worth trying: parameters everywhere or split over all, and rows split or not.

    Args:
        config: says which axes there are, and how many rows a clip has.
        devices: their number.
        batch_size: clips; meshes that do not divide them are left out.
    """
    layout = sharding.mesh_layout(config.mesh.to_dict())
    candidates: list[dict[str, int]] = []
    for row_parts in itertools.takewhile(lambda size: size <= _MAX_ROW_PARTS, (2**n for n in itertools.count())):
        parts = devices // row_parts
        if devices % row_parts == 0 and config.data.crop % row_parts == 0 and batch_size % parts == 0:
            candidates += sharding.worthwhile_sizes(layout, parts=parts, row_parts=row_parts)
    return candidates
