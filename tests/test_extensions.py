"""Entries of tables and of the user's code, by name."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spikejax.errors import InputError
from spikejax.extensions import find_entry, is_code

TABLE: dict[str, object] = {"concat": 1, "cross_attention": 2}


def test_names() -> None:
    """Catches an entry that is taken for code, and code that is taken for an entry."""
    assert is_code("my/file.py:TOY") and is_code("package.module:TOY") and is_code("C:/x.py:TOY")
    assert not any(map(is_code, ("concat", "", ":", "x:", ":TOY", "a:1", "a:b c")))


def test_entries_of_a_table_and_of_a_file(tmp_path: Path) -> None:
    """Catches a file's entry that is not found, one that stays behind, and dataclasses that cannot be defined in it."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Toy:\n    size: int = 3\n\nTOY = Toy()\n\ndef double(x):\n    return 2 * x\n"
    )
    before = set(sys.modules)
    assert find_entry(TABLE, "concat", key="k") == 1
    assert find_entry({}, f"{file}:TOY", key="k").size == 3  # type: ignore[attr-defined]
    assert find_entry({}, f"{file}:double", key="k", kind=Callable)(4) == 8  # type: ignore[operator]
    assert find_entry({}, "math:pi", key="k", kind=float) == pytest.approx(3.14159, abs=1e-5)
    assert {name for name in set(sys.modules) - before if "mine" in name} == set()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "concta",
            "model.fusion: expected one of concat, cross_attention or FILE.py:NAME, found 'concta'; did",
        ),
        ("nowhere.py:TOY", "model.fusion: expected a Python file, found none: nowhere.py"),
        ("no.such.module:TOY", "model.fusion: ModuleNotFoundError: No module named 'no'"),
        ("math:TOY", "model.fusion: expected TOY to be defined, found no such name: math"),
        ("math:pi", "model.fusion: expected int, found float: math:pi"),
    ],
)
def test_what_cannot_be_found_is_one_line(name: str, message: str) -> None:
    """Catches a traceback, or a message without the key that the name was given for."""
    with pytest.raises(InputError) as caught:
        find_entry(TABLE, name, key="model.fusion", kind=int)
    assert message in str(caught.value)


def test_what_cannot_be_called_is_said_in_words() -> None:
    """Catches the name of Python's abstract class, which is no word of a user's."""
    with pytest.raises(InputError, match="^loss.terms: expected a function or class, found float: math:pi$"):
        find_entry({}, "math:pi", key="loss.terms", kind=Callable)


def test_a_file_that_fails_is_one_line(tmp_path: Path) -> None:
    """Catches the traceback of the user's own mistake."""
    file = tmp_path / "broken.py"
    for text, kind in (("def f(:\n", "SyntaxError"), ("raise SystemExit(3)\n", "SystemExit")):
        file.write_text(text)
        with pytest.raises(InputError, match=rf"k: {kind}: .*broken\.py"):
            find_entry(TABLE, f"{file}:TOY", key="k")
    (tmp_path / "other.py").touch()
    file.write_text("from other import X\n")
    with pytest.raises(InputError, match=r"k: ModuleNotFoundError: .*'other'; .* if PYTHONPATH names it: .*broken\.py"):
        find_entry(TABLE, f"{file}:TOY", key="k")
