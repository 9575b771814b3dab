from pathlib import Path

import pytest

from tests.inference.small_input import write_inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A folder with blur, sharp and spike, see `write_inputs`."""
    return write_inputs(tmp_path)
