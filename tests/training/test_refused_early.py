"""What a configuration cannot mean is refused before anything is compiled or written."""

import re
from pathlib import Path
from typing import Any

import pytest

from spikejax.config.keys import KEYS, takes_code
from spikejax.config.value_rules import Pattern, Several
from spikejax.errors import InputError
from spikejax.train import main
from tests.small_run import overrides

# TensorFlow's import warns about Python's and its own deprecations.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow.*", "ignore::FutureWarning:tensorflow.*"),
]


@pytest.fixture(autouse=True)
def no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that writes or compiles may be called."""

    def called(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the configuration was taken for a good one")

    for name in ("open_inputs", "Checkpoints", "Trainer"):
        monkeypatch.setattr(f"spikejax.training.loop.{name}", called)


def refusal(folder: Path, key: str, value: str) -> str:
    """What training says of a value; nothing may be left of the run."""
    arguments = ["--config", "quickstart", "--workdir", str(folder / "run"), *overrides()]
    with pytest.raises(InputError) as caught:
        main([*arguments, f"--config.{key}={value}"])
    assert not (folder / "run").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


CODE_KEYS = [key for key, row in KEYS.items() if takes_code(row.rule)]


@pytest.mark.parametrize("key", CODE_KEYS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NUMBER", r"expected .*, found int: .*mine\.py:NUMBER"),
        ("MISSING", r"expected MISSING to be defined, found no such name: .*mine\.py"),
    ],
)
def test_code_that_is_not_of_the_kind(
    key: str, name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a number where a function or a class is needed, found out when it is called."""
    (tmp_path / "mine.py").write_text("NUMBER = 3\n")
    before = "psnr," if key == "validation.metrics" else ""
    assert isinstance(KEYS[key].rule, Several) or not before
    text = refusal(tmp_path, key, f"{before}{tmp_path / 'mine.py'}:{name}")
    assert re.fullmatch(f"{re.escape(key)}: {message}", text), text
    assert "network:" not in capsys.readouterr().out


@pytest.mark.parametrize("key", [key for key, row in KEYS.items() if isinstance(row.rule, Pattern)])
@pytest.mark.parametrize("value", ["no_such", "()", ".*", "spynet|"])
def test_patterns_that_mean_nothing_or_everything(key: str, value: str, tmp_path: Path) -> None:
    """Catches a pattern that is found out after the data was written, or that freezes the whole network."""
    assert refusal(tmp_path, key, value).startswith(f"{key}: expected ")
