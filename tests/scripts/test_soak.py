"""Three minutes of `scripts/soak.py`: whatever goes wrong around runs, they come to the end of undisturbed ones."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_three_minutes(tmp_path: Path) -> None:
    """Catches updates that are lost or done twice, frames that differ, and ends that are not documented."""
    command = [sys.executable, "scripts/soak.py", "--minutes", "3", "--seed", "1", "--folder", str(tmp_path / "soak")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(ended.stdout)
    logs = "".join(path.read_text() for path in (tmp_path / "soak").glob("problem_*.log"))
    assert ended.returncode == 0, ended.stdout + ended.stderr + logs
    assert "runs like the undisturbed one: " in ended.stdout
    assert "like the undisturbed one: none" not in ended.stdout
