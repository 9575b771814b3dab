"""The page of all keys in the documentation."""

from pathlib import Path

from spikejax.config.keys import KEYS
from spikejax.config.keys_page import page
from spikejax.config.relations import RELATIONS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    """Catches a key, default, range or relation that changed without the page."""
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), "stale: python -m spikejax.config.keys_page > docs/configuration.md"


def test_the_page_has_everything() -> None:
    """Catches a section that the page leaves out."""
    assert all(page().count(f"| `{key}` |") == 1 for key in KEYS)
    assert all(relation.rule in page() for relation in RELATIONS)
