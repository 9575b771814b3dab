"""Patterns of parameters' names."""

import pytest

from spikejax.errors import InputError
from spikejax.training.parameter_patterns import matching

PARAMS = {"flow": {"blocks": {0: {"kernel": 1.0}}}, "other": 2.0}


@pytest.mark.parametrize(
    ("pattern", "flow", "other"), [("", False, False), (r"^flow\.blocks\.0", True, False), ("k|o", True, True)]
)
def test_matching(pattern: str, flow: bool, other: bool) -> None:
    """Catches a pattern that is searched for in other names than the messages say."""
    assert matching(PARAMS, pattern, key="k") == {"flow": {"blocks": {0: {"kernel": flow}}}, "other": other}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("no_such", r"expected a part of some parameter's name \(flow, other, ...\), found 'no_such'$"),
        ("blokcs", "found 'blokcs'; did you mean 'blocks'"),
        ("(", r"expected a regular expression, found '\(': missing"),
    ],
)
def test_wrong_pattern_stops(pattern: str, message: str) -> None:
    """Catches a misspelt pattern that silently trains, or keeps, what it should not."""
    with pytest.raises(InputError, match=f"optimizer.frozen: .*{message}"):
        matching(PARAMS, pattern, key="optimizer.frozen")
