"""JSON files that hold one mapping."""

from pathlib import Path

import pytest

from spikejax.errors import InputError
from spikejax.io.json_files import read_json, write_json


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Catches values that change on the way, and a file left behind by a value that JSON does not have."""
    path = tmp_path / "run.json"
    assert read_json(path) is None
    content = {"name": "münchen", "size": [3, 4], "rate": 0.1, "none": None}
    write_json(path, content)
    assert read_json(path) == content
    with pytest.raises(TypeError):
        write_json(path, {"object": object()})
    assert read_json(path) == content and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", "null", "[" * 100_000, "\xff"])
def test_what_is_no_mapping_is_one_line(tmp_path: Path, text: str) -> None:
    """Catches a traceback of a damaged file, however it is damaged, and a message that does not name it."""
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"expected (JSON|a JSON object), found .*run\.json"):
        read_json(path)
