"""Kinds of values; tests/config/test_keys.py holds every key of the table against its own."""

from typing import Any

import pytest

from spikejax.config.value_rules import AxisSize, Flag, Number, OneOf, Pattern, Several, Text, ValueRule, Whole


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        (Whole(1), "12", 12),
        (Whole(1), "-1", -1),
        (Number(), "1e-3", 1e-3),
        (Number(), "2", 2.0),
        (Flag(), "false", False),
        (OneOf((1, 2, 4)), "4", 4),
        (OneOf(("a", "b"), code=True), "mine.py:A", "mine.py:A"),
        (Text(), "(1, 2)", "(1, 2)"),
        (Pattern(), r"head\.", r"head\."),
        (Several(Whole()), "1,2", (1, 2)),
        (Several(Whole()), "(1,)", (1,)),
        (Several(Whole()), "[]", ()),
        (Several(Whole()), "", ()),
        (Several(Number()), "0.5, 2", (0.5, 2)),
        (Several(OneOf(("a", "b"))), "a, b", ("a", "b")),
        (Several(OneOf(("a", "b"))), "('a', 'b')", ("a", "b")),
        (Several(AxisSize()), "model=2", ("model=2",)),
    ],
)
def test_texts_of_the_command_line(rule: ValueRule, text: str, value: Any) -> None:
    """Catches a text that is read as another value, or as one of another type."""
    parsed = rule.normalised(rule.parse(text))
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["", "many", "1;2", "f(1)", "(1", "__import__('os')"])
def test_texts_that_say_no_value(text: str) -> None:
    """Catches a text of the command line that is run as code, or that fails with another error."""
    for rule in (Whole(), Flag(), *([Several(Whole())] if text else [])):  # no text is a tuple of no entries
        with pytest.raises(ValueError):
            rule.parse(text)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Whole(1, also=(-1,)), "-1 or a whole number from 1"),
        (Whole(0, 7), "a whole number from 0 to 7"),
        (Number(0, 1, below=True), "a number from 0 to below 1"),
        (Number(0, above=True), "a number above 0"),
        (OneOf((3,)), "3"),
        (OneOf(("a", "b"), code=True), "a, b or FILE.py:NAME"),
        (Several(Whole(1), ("rows", "columns")), "(rows, columns), each a whole number from 1"),
        (Several((Whole(1), Flag()), ("rows", "on")), "(rows, on): rows a whole number from 1, on True or False"),
        (Several(Whole(1), shortest=2), "a tuple of at least 2, each entry a whole number from 1"),
        (Several(Whole(1), distinct=True), "a tuple, each entry a whole number from 1, none twice"),
        (Pattern(), "a regular expression that needs a character to match, or nothing"),
    ],
)
def test_rules_in_words(rule: ValueRule, words: str) -> None:
    """Catches a message or page that says another range than the one that is checked."""
    assert rule.expected == words


@pytest.mark.parametrize("value", ["model=0", "model=-2", "model", "=2", "2=2", "model=2.0", "model=1e9999"])
def test_sizes_of_axes_that_cannot_be(value: str) -> None:
    """Catches a mesh axis without devices."""
    assert AxisSize().allows("model=2") and AxisSize().allows("model=-1")
    assert not AxisSize().allows(value)
