"""How long a program's text says that it takes, on texts short enough to count by hand."""

from dataclasses import replace

import pytest

from spikejax.hardware.chips import CHIPS
from spikejax.kernels.cycles import in_metadata
from spikejax.planning.hlo import parse
from spikejax.planning.schedule import GATHER_CYCLES, SCATTER_CYCLES, Schedule, schedule_of

V5E = CHIPS["v5e"]
CLOCK = 1.5e9
# A loop of 3 rounds with a fusion that XLA estimates and one that is held up by its bytes; a gather, a scatter in a
# fusion, and a kernel, as the TPU compiler writes them.
PROGRAM = """HloModule jit_f, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%spread (pixels: f32[1000,8], where: s32[10,1], more: f32[10,8]) -> f32[1000,8] {
  %pixels = f32[1000,8]{1,0} parameter(0)
  %where = s32[10,1]{1,0} parameter(1)
  %more = f32[10,8]{1,0} parameter(2)
  ROOT %added = f32[1000,8]{1,0} scatter(%pixels, %where, %more), update_window_dims={1}, to_apply=%add
}

%square (z: f32[1000,8]) -> f32[1000,8] {
  %z = f32[1000,8]{1,0} parameter(0)
  ROOT %zz = f32[1000,8]{1,0} multiply(%z, %z)
}

%condition (state: (s32[], f32[1000,8])) -> pred[] {
  %three = s32[] constant(3)
  %state = (s32[], f32[1000,8]{1,0}) parameter(0)
  %round = s32[] get-tuple-element(%state), index=0
  ROOT %less = pred[] compare(%round, %three), direction=LT
}

%body (state.1: (s32[], f32[1000,8])) -> (s32[], f32[1000,8]) {
  %state.1 = (s32[], f32[1000,8]{1,0}) parameter(0)
  %n = s32[] get-tuple-element(%state.1), index=0
  %grid = f32[1000,8]{1,0} get-tuple-element(%state.1), index=1
  %slow = f32[1000,8]{1,0} fusion(%grid), kind=kLoop, calls=%square, backend_config={"estimated_cycles":"900000"}
  %quick = f32[1000,8]{1,0} fusion(%slow), kind=kLoop, calls=%square, backend_config={"estimated_cycles":"1"}
  ROOT %next = (s32[], f32[1000,8]{1,0}) tuple(%n, %quick)
}

ENTRY %main (p: f32[1000,8], i: s32[10,1], u: f32[10,8]) -> f32[1000,8] {
  %p = f32[1000,8]{1,0} parameter(0)
  %i = s32[10,1]{1,0} parameter(1)
  %u = f32[10,8]{1,0} parameter(2)
  %zero = s32[] constant(0)
  %start = (s32[], f32[1000,8]{1,0}) tuple(%zero, %p)
  %loop = (s32[], f32[1000,8]{1,0}) while(%start), condition=%condition, body=%body
  %out = f32[1000,8]{1,0} get-tuple-element(%loop), index=1
  %rows = f32[10,8]{1,0} gather(%out, %i), offset_dims={1}, collapsed_slice_dims={0}, slice_sizes={1,8}
  %fused = f32[1000,8]{1,0} fusion(%out, %i, %rows), kind=kCustom, calls=%spread
  %kernel = f32[1000,8]{1,0} custom-call(%fused), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"schedule_cycles":"3000000"
}}, metadata={op_name="x"}
  ROOT %same = f32[1000,8]{1,0} bitcast(%kernel), frontend_attributes={kernel_metadata={
"schedule_cycles":"3000000"
}}
}
"""  # noqa: E501


def test_each_instruction_by_what_holds_it_up() -> None:
    """Catches loops that count once, causes that are added, and a kernel that nobody reads or counts twice."""
    schedule = schedule_of(parse(PROGRAM), V5E)
    array = 1000 * 8 * 4
    assert schedule.units == pytest.approx(3 * 900_000 / CLOCK)
    assert schedule.memory == pytest.approx(3 * 2 * array / 819e9)
    assert (schedule.gathered, schedule.scattered) == (10, 10)
    assert schedule.rows == pytest.approx(10 * (GATHER_CYCLES + SCATTER_CYCLES) / CLOCK)
    assert schedule.kernels == pytest.approx(3_000_000 / CLOCK, rel=0.01)
    parts = (schedule.memory, schedule.units, schedule.rows, schedule.kernels)
    assert schedule.seconds == pytest.approx(sum(parts))


def test_a_chip_without_a_clock_moves_bytes() -> None:
    """Catches cycles of one chip that are taken for another's."""
    schedule = schedule_of(parse(PROGRAM), replace(V5E, clock=0.0))
    assert (schedule.units, schedule.rows, schedule.kernels) == (0, 0, 0)
    assert schedule.memory > schedule_of(parse(PROGRAM), V5E).memory
    assert schedule_of(parse(PROGRAM), CHIPS["h100"]).units == 0


def test_clocks_are_those_of_the_peaks() -> None:
    """Catches a clock that does not go with the products that a chip's makers publish."""
    cores = {"v4": 1, "v5e": 1, "v5p": 2}
    for name, count in cores.items():
        assert CHIPS[name].clock == pytest.approx(CHIPS[name].bfloat16_flops / (count * 4 * 128 * 128 * 2), rel=0.01)


def test_what_a_kernel_says_is_read() -> None:
    """Catches a name in the kernels that the plan does not look for."""
    name, cycles = next(iter(in_metadata(12.4).items()))
    text = PROGRAM.replace("schedule_cycles", name).replace("3000000", cycles)
    assert schedule_of(parse(text), V5E).kernels == 0  # its bytes take longer
    assert schedule_of(parse(text.replace(cycles, "3000000")), V5E) == schedule_of(parse(PROGRAM), V5E)


def test_nothing_takes_no_time() -> None:
    """Catches a sum that does not begin at zero."""
    assert Schedule().seconds == 0
