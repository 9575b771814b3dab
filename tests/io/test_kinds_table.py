from pathlib import Path

import pytest

from tests.io.kinds_table import KINDS, line

PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"


def test_the_page_has_a_row_for_each_kind() -> None:
    """Catches a kind that was added and is not in the documentation."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(KINDS) >= 40 and all(f"\n| {name} | " in text for name in KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_what_comes_out_is_what_the_page_says(name: str) -> None:
    """Catches an input that comes out as another kind than is promised, or is refused, or is changed without a word."""
    assert line(name) in PAGE.read_text(encoding="utf-8").splitlines()
