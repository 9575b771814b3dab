"""The files at the project's door agree with the project."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from spikejax import __version__

ROOT = Path(__file__).parents[1]


def pinned(tool: str) -> str:
    """The version of a tool that [dev] asks for."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    found = re.search(rf"^{tool}==(\S+)$", setup["options.extras_require"]["dev"], re.MULTILINE)
    assert found, f"[dev] does not pin {tool}"
    return found[1]


def test_hooks_have_the_pinned_tools() -> None:
    """Catches a commit that the hook formats in one way and continuous integration wants in another."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]
    for hook in repository["hooks"]:
        assert hook["additional_dependencies"] == [f"ruff=={pinned('ruff')}"]


def test_continuous_integration_is_the_script() -> None:
    """Catches a workflow that checks something else than what contributors are told to run."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["run"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    (python,) = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["options"]["python_requires"] == f">={python}", "the oldest Python is the one to test with"
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_citation() -> None:
    """Catches a version that was raised in one place, and a citation that other programs cannot read."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"
    (paper,) = citation["references"]
    bibtex = (ROOT / "README.md").read_text().partition("```bibtex")[2]
    for value in (paper["journal"], paper["volume"], paper["start"], paper["end"], paper["year"]):
        assert str(value) in bibtex
    for author in paper["authors"]:
        assert author["family-names"] in bibtex


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_test_command_is_named(name: str) -> None:
    """Catches a page whose command for the tests is not the one that continuous integration runs."""
    (command,) = re.findall(r"^tests='(.*)'$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert command in (ROOT / name).read_text()
