"""A plan of restoring as text that fits 80 columns, and as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from spikejax.planning.restore_plan import RestorePlan
from spikejax.progress import byte_text, duration, rate

_UNKNOWN = "not known (no peaks of these devices, or of this JAX's compiler)"


def restore_text(plan: RestorePlan) -> str:
    """A plan in full."""
    given = plan.input
    frames = "frames" if given.frames is None else f"{given.frames:,} frames"
    in_time = "" if plan.clips is None else f", {plan.clips:,} time{'s' * (plan.clips != 1)} in all"
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    lines = [
        f"{given.name}: {frames} of {given.height}x{given.width} (height x width)",
        f"  on            {plan.devices}",
        f"  tile          {plan.tile} (frames, height, width), overlapping by {plan.overlap}",
        f"  tiles         {plan.tiles} for a frame{in_time}",
        f"  memory        {byte_text(plan.needed)} of {byte_text(plan.available)} for a tile: {verdict}",
        f"  compiling     {duration(plan.compile_seconds)} (once for each kind of tile, then it is kept)",
    ]
    if plan.seconds_a_frame is None:
        return "\n".join([*lines, f"  time          {_UNKNOWN}"])
    how = "measured on one tile" if plan.measured else "at the least: products and memory traffic at their peaks"
    whole = "" if plan.seconds is None else f", {duration(plan.seconds)} in all"
    return "\n".join(
        [*lines, f"  time          {rate(plan.seconds_a_frame, 'frame')}{whole}", f"                ({how})"]
    )


def restore_json(plan: RestorePlan) -> dict[str, Any]:
    """All figures of a plan, with those that are computed from others."""
    computed = {name: getattr(plan, name) for name in ("fits", "seconds_a_frame", "seconds")}
    return dataclasses.asdict(plan) | computed
