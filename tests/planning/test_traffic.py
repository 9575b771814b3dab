"""What a program's text says about communication and memory, on a text short enough to count by hand."""

import pytest

from spikejax.planning.hlo import Shape, parse
from spikejax.planning.traffic import measure_traffic

# As the TPU compiler writes it: a loop of 6 rounds whose gathering is shown three times under one channel, a reduction
# that is fused with the slice that a device keeps, and groups written in all three ways.
PROGRAM = """HloModule jit_f, is_scheduled=true

%start (p0: bf16[1,8,2]) -> (bf16[1,8,2], bf16[1,8,8], u32[]) {
  %p0 = bf16[1,8,2]{2,1,0} parameter(0)
  %all-gather.1 = bf16[1,8,8]{2,1,0} all-gather(%p0), channel_id=9, replica_groups=mesh['a'=1,'b'=4] {'b'}, dimensions={2}
  ROOT %custom-call.4 = (bf16[1,8,2]{2,1,0}, bf16[1,8,8]{2,1,0}, u32[]) custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%done (p1: bf16[1,8,2], p2: u32[]) -> bf16[1,8,8] {
  %p1 = bf16[1,8,2]{2,1,0} parameter(0)
  %p2 = u32[] parameter(1)
  ROOT %all-gather.2 = bf16[1,8,8]{2,1,0} all-gather(%p1), channel_id=9, replica_groups=mesh['a'=1,'b'=4] {'b'}, dimensions={2}
}

%all-reduce-scatter.clone (input: f32[8,8]) -> f32[8,2] {
  %input = f32[8,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %all-reduce.5 = f32[8,8]{1,0} all-reduce(%input), channel_id=6, replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %slice = f32[8,2]{1,0} dynamic-slice(%all-reduce.5, %zero, %zero), dynamic_slice_sizes={8,2}
}

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%condition (state: (s32[], f32[8,8], bf16[6,8,2])) -> pred[] {
  %six = s32[]{:T(128)} constant(6)
  %state = (s32[]{:T(128)}, f32[8,8]{1,0}, bf16[6,8,2]{2,1,0}) parameter(0)
  %round = s32[]{:T(128)} get-tuple-element(%state), index=0
  ROOT %less = pred[] compare(%round, %six), direction=LT
}

%take (weights: bf16[6,8,2], at: s32[]) -> bf16[1,8,2] {
  %weights = bf16[6,8,2]{2,1,0} parameter(0)
  %at = s32[] parameter(1)
  %null = s32[] constant(0)
  ROOT %layer = bf16[1,8,2]{2,1,0} dynamic-slice(%weights, %at, %null, %null), dynamic_slice_sizes={1,8,2}
}

%body (state.1: (s32[], f32[8,8], bf16[6,8,2])) -> (s32[], f32[8,8], bf16[6,8,2]) {
  %state.1 = (s32[], f32[8,8]{1,0}, bf16[6,8,2]{2,1,0}) parameter(0)
  %n = s32[] get-tuple-element(%state.1), index=0
  %grid = f32[8,8]{1,0} get-tuple-element(%state.1), index=1
  %all = bf16[6,8,2]{2,1,0} get-tuple-element(%state.1), index=2
  %own = bf16[1,8,2]{2,1,0:S(1)} fusion(%all, %n), kind=kLoop, calls=%take
  %begun = (bf16[1,8,2]{2,1,0:S(1)}, bf16[1,8,8]{2,1,0:S(1)}, u32[]{:S(2)}) fusion(%own), kind=kCustom, calls=%start
  %part = bf16[1,8,2]{2,1,0:S(1)} get-tuple-element(%begun), index=0
  %flag = u32[]{:S(2)} get-tuple-element(%begun), index=2
  %whole = bf16[1,8,8]{2,1,0:S(1)} fusion(%part, %flag), kind=kCustom, calls=%done
  %kept = f32[8,2]{1,0:S(1)} fusion(%grid), kind=kCustom, calls=%all-reduce-scatter.clone
  ROOT %next = (s32[], f32[8,8]{1,0}, bf16[6,8,2]{2,1,0}) tuple(%n, %grid, %all)
}

ENTRY %main (w: bf16[6,8,2], g: f32[8,8]) -> f32[8,8] {
  %w = bf16[6,8,2]{2,1,0} parameter(0)
  %g = f32[8,8]{1,0} parameter(1)
  %i = s32[] constant(0)
  %start.1 = (s32[], f32[8,8]{1,0}, bf16[6,8,2]{2,1,0}) tuple(%i, %g, %w)
  %loop = (s32[], f32[8,8]{1,0}, bf16[6,8,2]{2,1,0}) while(%start.1), condition=%condition, body=%body
  %out = f32[8,8]{1,0} get-tuple-element(%loop), index=1
  %moved = f32[8,8]{1,0} collective-permute(%out), channel_id=11, source_target_pairs={{0,1},{1,0}}
  ROOT %mean = f32[8,8]{1,0} all-reduce(%moved), channel_id=12, replica_groups=[2,2]<=[4], to_apply=%add
}
"""  # noqa: E501


def test_collectives_by_kind_with_loops_in_full() -> None:
    """Catches a loop's body that counts once, a collective shown thrice that counts thrice, and wrong group sizes."""
    traffic = measure_traffic(parse(PROGRAM))
    assert traffic.unknown_loops == 0
    found = {kind: (one.count, one.bytes, one.sent) for kind, one in traffic.collectives.items()}
    assert found == {
        "all-gather": (6, 6 * 128, 6 * 128 * 3 / 4),
        "reduce-scatter": (6, 6 * 256, 6 * 256 * 3 / 4),
        "collective-permute": (1, 256, 256),
        "all-reduce": (1, 256, 2 * 256 * 1 / 2),
    }
    assert traffic.sent == sum(sent for _, _, sent in found.values())


def test_bytes_of_the_main_memory() -> None:
    """Catches a weight of which a slice is read that counts whole in every round, and on-chip memory that counts."""
    # Per round: a slice of 32 bytes, its place of 4, the grid of 256; then two collectives read and write 256.
    assert measure_traffic(parse(PROGRAM)).memory_bytes == 6 * (32 + 4 + 256) + 2 * 512


CHANGES = """HloModule jit_g, is_scheduled=true

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

ENTRY %main (p: f32[1000,8], i: s32[10,1], u: f32[10,8]) -> f32[1000,8] {
  %p = f32[1000,8]{1,0} parameter(0)
  %i = s32[10,1]{1,0} parameter(1)
  %u = f32[10,8]{1,0} parameter(2)
  %fused = f32[1000,8]{1,0} fusion(%p, %i, %u), kind=kCustom, calls=%spread
  ROOT %bare = f32[1000,8]{1,0} scatter(%fused, %i, %u), update_window_dims={1}, to_apply=%add
}
"""


def test_bytes_of_a_change_in_place() -> None:
    """Catches a gradient that counts whole, twice, in every round of a loop that adds to some of its pixels."""
    # Where, what, and as much read and written: once in a fusion, once outside.
    assert measure_traffic(parse(CHANGES)).memory_bytes == 2 * (40 + 320 + 2 * 320)


def test_a_loop_of_unknown_length_is_reported() -> None:
    """Catches a figure that is silently too small."""
    traffic = measure_traffic(parse(PROGRAM.replace("s32[]{:T(128)} constant(6)", "s32[]{:T(128)} copy(%state)")))
    assert traffic.unknown_loops == 1
    assert traffic.collectives["all-gather"].count == 1


def test_noted_number_of_rounds() -> None:
    """Catches a note of the CPU and GPU compilers that is not read."""
    noted = PROGRAM.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert measure_traffic(parse(noted)).collectives["all-gather"].count == 5


@pytest.mark.parametrize(
    ("shape", "stored"),
    [
        (Shape("f32", (5, 256, 256, 3), "3,2,1,0:T(8,128)"), 5 * 256 * 256 * 128 * 4),
        (Shape("f32", (5, 256, 256, 3), "2,1,3,0:T(8,128)"), 5 * 256 * 256 * 3 * 4),
        (Shape("bf16", (100, 96), "1,0:T(8,128)(2,1)"), 104 * 128 * 2),
        (Shape("bf16", (100, 96), "1,0"), 100 * 96 * 2),
        (Shape("f32", (100, 96), "1,0:T(8,128)S(1)"), 0),
        (Shape("pred", (), ""), 1),
    ],
)
def test_tiles_are_filled_up(shape: Shape, stored: int) -> None:
    """Catches memory that is counted without the filling of tiles, in which three channels take the room of 128."""
    assert shape.stored == stored


def test_text_that_is_no_program() -> None:
    """Catches an empty answer for what could not be read."""
    with pytest.raises(ValueError, match="no entry computation"):
        parse("HloModule nothing")
