"""Rules: names, keys and layouts of a made-up network."""

import numpy as np
import pytest

from convert.rules import ARRAY, CONV, LINEAR_1X1, Rule, find_counterparts, linear, nest, norm

RULES = (
    *nest("parts.{i}.", "part{i*2+1}.", (*linear("first", "conv.0", CONV), *norm("norm", "ln"))),
    Rule("blocks.table", "blocks.{layer}.table", ARRAY),
    Rule("head.kernel", "head.weight", LINEAR_1X1),
)
SHAPES = {
    "parts.3.first.kernel": (5, 4, 2, 3),
    "parts.3.first.bias": (3,),
    "parts.10.norm.scale": (7,),
    "blocks.table": (2, 6, 5),
    "head.kernel": (2, 8),
}


def test_keys_and_shapes() -> None:
    """Catches a number that is not calculated with, a dot that stands for any letter, and axes in another order."""
    counterparts = find_counterparts(SHAPES, RULES)
    assert {key: (own.parameter, own.layer, own.shape) for key, own in counterparts.items()} == {
        "part7.conv.0.weight": ("parts.3.first.kernel", None, (3, 2, 5, 4)),
        "part7.conv.0.bias": ("parts.3.first.bias", None, (3,)),
        "part21.ln.weight": ("parts.10.norm.scale", None, (7,)),
        "blocks.0.table": ("blocks.table", 0, (6, 5)),
        "blocks.1.table": ("blocks.table", 1, (6, 5)),
        "head.weight": ("head.kernel", None, (8, 2, 1, 1)),
    }


@pytest.mark.parametrize("name", ["headxkernel", "parts.a.norm.scale", "parts.1.norm.scale.more"])
def test_a_parameter_without_a_rule(name: str) -> None:
    """Catches a parameter that a rule of another one is taken for."""
    with pytest.raises(AssertionError, match=f"{name}: 0 rules"):
        find_counterparts({name: (1,)}, RULES)


def test_a_parameter_with_two_rules() -> None:
    """Catches a table in which the first of two rules wins silently."""
    with pytest.raises(AssertionError, match=r"head.kernel: 2 rules"):
        find_counterparts({"head.kernel": (1, 1)}, (*RULES, Rule("head.kernel", "other", ARRAY)))


def test_layouts_by_hand() -> None:
    """Catches an axis at another's place in either direction, and a layer taken from another block."""
    counterparts = find_counterparts(SHAPES, RULES)
    theirs = np.arange(120, dtype=np.float32).reshape(3, 2, 5, 4)
    ours = counterparts["part7.conv.0.weight"].to_ours(theirs)
    assert ours.shape == SHAPES["parts.3.first.kernel"]
    assert ours[4, 3, 1, 2] == theirs[2, 1, 4, 3]
    np.testing.assert_array_equal(counterparts["part7.conv.0.weight"].to_torch(ours), theirs)
    table = np.arange(60).reshape(2, 6, 5)
    np.testing.assert_array_equal(counterparts["blocks.1.table"].to_torch(table), table[1])
