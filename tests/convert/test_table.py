"""The table of what a file of weights holds."""

import numpy as np

from convert.table import format_table


def test_columns_and_totals() -> None:
    """Catches numbers or bytes that are counted wrongly, and a scalar that has no shape to show."""
    arrays = {
        "a": np.zeros((2, 3, 4), np.float16),
        "b": np.zeros((), np.float64),
        "c": np.zeros((1000, 300), np.float32),
    }
    lines = list(format_table(arrays))
    assert [line.split() for line in lines[:4]] == [
        ["name", "shape", "dtype"],
        ["a", "2x3x4", "float16"],
        ["b", "scalar", "float64"],
        ["c", "1000x300", "float32"],
    ]
    assert {len(line) for line in lines[:4]} == {80}
    assert lines[-1] == "3 arrays, 300,025 numbers, 1.2 MB"


def test_a_long_name_has_a_line_of_its_own() -> None:
    """Catches a row that is wider than a terminal, or a name that is cut off."""
    name = "stage1.residual_group1.blocks.0.attn.relative_position_bias_table.and.more"
    lines = list(format_table({name: np.zeros((675, 6))}))
    assert (lines[1], lines[2].split()) == (name, ["675x6", "float64"])
    assert max(map(len, lines)) == 80
