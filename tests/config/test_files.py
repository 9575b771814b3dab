"""Configurations from files, from the command line, and from the JSON beside checkpoints."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.files import (
    differences,
    holds_checkpoint,
    load_config,
    parse_with_overrides,
    read_saved_config,
    read_saved_model,
    save_config,
)
from spikejax.config.keys import leaves
from spikejax.errors import InputError
from spikejax.train import main

ROOT = Path(__file__).parents[2]
DEFAULTS = Path(defaults.__file__)


# ---- Which file ----


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("quickstart", "configs/quickstart.py"),
        ("vrt:006", "configs/vrt.py:006"),
        ("spike:baseline", "configs/spike.py:baseline"),
    ],
)
def test_bare_names_find_the_installed_files(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a name that is looked for in the folder that one happens to be in."""
    monkeypatch.chdir(tmp_path)
    assert differences(load_config(name), load_config(ROOT / file)) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "quikstart",
            "expected a configuration, one of long, quickstart, spike, vrt or a file FILE.py, found 'quikstart'",
        ),
        ("vrd:006", "expected a configuration, one of long, quickstart, spike, vrt or a file FILE.py, found 'vrd'"),
        ("", "expected a configuration, one of long, quickstart, spike, vrt or a file FILE.py, found ''"),
        (":006", "expected a configuration, one of long, quickstart, spike, vrt or a file FILE.py, found ''"),
        (
            "__init__",
            "expected a configuration, one of long, quickstart, spike, vrt or a file FILE.py, found '__init__'",
        ),
        (
            "__init__:x",
            "expected a configuration, one of long, quickstart, spike, vrt or a file FILE.py, found '__init__'",
        ),
        ("nowhere.py", "expected a configuration, a Python file, found no file: nowhere.py"),
        ("nowhere.py:006", "expected a configuration, a Python file, found no file: nowhere.py"),
        (".", "expected a configuration, a Python file, found a folder: ."),
        ("config.json", "expected a configuration, a Python file, found another file: config.json"),
    ],
)
def test_a_configuration_that_is_not_there(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a traceback for a mistyped name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value) == message


@pytest.mark.parametrize("package", [True, False])
@pytest.mark.parametrize("folder", ["mine", "my experiments-2"])
def test_a_file_imports_its_neighbour(tmp_path: Path, folder: str, package: bool) -> None:
    """Catches a file that is run outside of its folder's package, and modules that stay behind."""
    (tmp_path / folder).mkdir()
    if package:
        (tmp_path / folder / "__init__.py").write_text("STEPS = 30\n")
    steps = "from . import STEPS" if package else "STEPS = 30"
    (tmp_path / folder / "base.py").write_text(f"{steps}\n")
    (tmp_path / folder / "my-run.py").write_text(
        "from configs import quickstart\nfrom . import base\n\ndef get_config(name='1'):\n"
        "    from .base import STEPS\n    config = quickstart.get_config()\n"
        "    config.training.steps = STEPS * int(name) + base.STEPS\n    return config\n"
    )
    before = set(sys.modules)
    assert load_config(tmp_path / folder / "my-run.py").training.steps == 60
    assert load_config(f"{tmp_path / folder / 'my-run.py'}:2").training.steps == 90
    assert {name for name in set(sys.modules) - before if "base" in name or "_spikejax_" in name} == set()


@pytest.mark.parametrize(
    "line", ["from other import X", "import other", "import other.more", "from other.more import X"]
)
@pytest.mark.parametrize("neighbour", ["other.py", "other/__init__.py"])
def test_a_neighbour_that_is_imported_as_if_it_were_installed(tmp_path: Path, line: str, neighbour: str) -> None:
    """Catches Python's message alone, for a file that stands right beside the configuration."""
    (tmp_path / neighbour).parent.mkdir(exist_ok=True)
    (tmp_path / neighbour).write_text("X = 3\n")
    (tmp_path / "mine.py").write_text(f"{line}\n")
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "mine.py")
    hint = "ModuleNotFoundError: No module named 'other'; a file imports its neighbour as `from . import other`"
    assert str(caught.value) == f"{tmp_path / 'mine.py'}: {hint}"
    (tmp_path / neighbour).unlink()
    with pytest.raises(InputError, match=r"No module named 'other'$"):
        load_config(tmp_path / "mine.py")


def test_a_file_is_run_anew(tmp_path: Path) -> None:
    """Catches a configuration that is remembered from before it was changed."""
    for steps in (30, 4000):
        (tmp_path / "mine.py").write_text(
            "from configs import quickstart\n\ndef get_config():\n    config = quickstart.get_config()\n"
            f"    config.training.steps = {steps}\n    return config\n"
        )
        assert load_config(tmp_path / "mine.py").training.steps == steps


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("config.training.stepz = 3\n    return config", 'no configuration key "stepz"; did you mean "steps"?'),
        (
            "config.training.steps = 'many'\n    return config",
            "training.steps: expected a whole number from 1, found many",
        ),
        ("config.training.steps = 0\n    return config", "training.steps: expected a whole number from 1, found 0"),
        ("return None", "expected get_config() to return a ConfigDict, found NoneType"),
        ("return {}", "expected get_config() to return a ConfigDict, found dict"),
        ("return confg", "NameError"),
        ("raise SystemExit(3)", "expected a function get_config(), found sys.exit(3)"),
        ("return config\nget_config = 3", "expected a function get_config(), found none"),
    ],
)
def test_a_wrong_file_stops(tmp_path: Path, body: str, message: str) -> None:
    """Catches a user's own config that fails with a traceback, ends the program or silently adds a key."""
    path = tmp_path / "mine.py"
    path.write_text(
        f"from spikejax.config import defaults\n\ndef get_config():\n    config = defaults.get_config()\n    {body}\n"
    )
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_forms_of_a_value(tmp_path: Path) -> None:
    """Catches lists and whole numbers that a file gives where configurations hold tuples and floats."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\nfrom configs import quickstart\n\ndef get_config():\n"
        "    fields = quickstart.get_config().to_dict()\n    fields['model']['vrt']['window'] = [2, 4, 4]\n"
        "    fields['optimizer']['clip_norm'] = 2\n    return ConfigDict(fields)\n"
    )
    config = load_config(path)
    assert config.model.vrt.window == (2, 4, 4) and type(config.model.vrt.window) is tuple
    assert config.optimizer.clip_norm == 2.0 and type(config.optimizer.clip_norm) is float


# ---- Changes of the command line ----


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.log_every=200", "training.log_every", 200),
        ("optimizer.peak_learning_rate=1e-3", "optimizer.peak_learning_rate", 1e-3),
        ("optimizer.clip_norm=2", "optimizer.clip_norm", 2.0),
        ("data.flips=false", "data.flips", False),
        ("data.flips=True", "data.flips", True),
        ("data.reverse_time", "data.reverse_time", True),
        ("data.root=/tmp/a b=c", "data.root", "/tmp/a b=c"),
        ("data.noise_sigma=0.5,25", "data.noise_sigma", (0.5, 25)),
        ("model.vrt.window=(5,8,8)", "model.vrt.window", (5, 8, 8)),
        ("model.vrt.window=5,8,8", "model.vrt.window", (5, 8, 8)),
        ("model.vrt.window=[5, 8, 8]", "model.vrt.window", (5, 8, 8)),
        ("model.vrt.independent=()", "model.vrt.independent", ()),
        ("validation.metrics=psnr,ssim", "validation.metrics", ("psnr", "ssim")),
        ("validation.metrics=('psnr', 'ssim')", "validation.metrics", ("psnr", "ssim")),
        ("validation.metrics=psnr", "validation.metrics", ("psnr",)),
        ("mesh.space=-1", "mesh.space", -1),
    ],
)
def test_override(override: str, key: str, value: object) -> None:
    """Catches an override that is lost, lands in another key or arrives as another type."""
    path = f"{ROOT}/configs/spike.py:backbone"
    more = ["--config.mesh.data=1"] if key.startswith("mesh") else []
    before = dict(leaves(load_config(path, more)))
    after = dict(leaves(load_config(path, [*more, f"--config.{override}"])))
    assert after == before | {key: value}
    assert type(after[key]) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.training.stepz=200", 'no configuration key "training.stepz"; did you mean "training.steps"?'),
        ("--config.steps=200", 'no configuration key "steps"; did you mean "training.steps"?'),
        ("--config.data.learning_rate=1", 'did you mean "optimizer.peak_learning_rate"?'),
        ("--config.training=3", 'no configuration key "training"; did you mean "training.'),
        ("--config.training.steps=many", "training.steps: expected a whole number from 1, found 'many'"),
        ("--config.training.steps=2.5", "training.steps: expected a whole number from 1, found 2.5"),
        ("--config.training.steps=True", "training.steps: expected a whole number from 1, found True"),
        ("--config.training.steps=None", "training.steps: expected a whole number from 1, found None"),
        ("--config.training.steps=", "training.steps: expected a whole number from 1, found ''"),
        ("--config.data.flips=2", "data.flips: expected True or False, found 2"),
        ("--config.optimizer.clip_norm=x", "optimizer.clip_norm: expected a number from 0, found 'x'"),
        ("--config.model.vrt.dims=96", "model.vrt.dims: expected a tuple of at least 8, each entry a whole number"),
        ("--config.model.vrt.window=(1.5,8,8)", "(frames, rows, columns), each a whole number from 1, found (1.5, 8"),
        ("--config.training.steps", "expected --config.training.steps=VALUE, VALUE a whole number from 1, found no"),
        ("training.steps=3", "expected --config.KEY=VALUE, found 'training.steps=3'"),
    ],
)
def test_a_wrong_override_stops(override: str, message: str) -> None:
    """Catches a mistyped key or value that trains something else, and a message that does not help."""
    with pytest.raises(InputError) as caught:
        load_config(DEFAULTS, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_changes_among_other_arguments() -> None:
    """Catches a value that is taken for an argument, an argument taken for a value, and the order of changes lost."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--overwrite", action="store_true")
    arguments = ["--config", "c.py", "--config.a.b", "-1", "--config.c=2", "--config.flag", "--overwrite"]
    arguments += ["--config.t", "(1, 2)", "--config.last"]
    options, overrides = parse_with_overrides(parser, arguments)
    assert (options.config, options.overwrite) == ("c.py", True)
    assert overrides == [
        *("--config.a.b=-1", "--config.c=2", "--config.flag", "--config.t=(1, 2)", "--config.last"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "c.py"], "--workdir"),
        (["--config", "c.py", "--workdir", "w", "--steps=3"], "unrecognized arguments: --steps=3"),
        (["--config", "c.py", "--workdir", "w", "3"], "unrecognized arguments: 3"),
    ],
)
def test_command_line_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an option that is swallowed instead of refused."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


# ---- The JSON beside checkpoints and weights ----


def write_fields(folder: Path, **changes: Any) -> Path:
    """A saved configuration in which values, by dotted key with __ for dots, are others; a value of ... is left out."""
    fields = load_config("quickstart").to_dict()
    for key, value in changes.items():
        *sections, name = key.split("__")
        owner = fields
        for section in sections:
            owner = owner[section]
        if value is ...:
            del owner[name]
        else:
            owner[name] = value
    path = folder / "config.json"
    path.write_text(json.dumps(fields))
    return path


def test_json_keeps_values_and_types(tmp_path: Path) -> None:
    """Catches a saved configuration that comes back with lists for tuples, or unlocked."""
    config = load_config("spike:baseline")
    save_config(config, tmp_path / "config.json")
    again = read_saved_config(tmp_path / "config.json")
    assert again.is_locked
    assert {key: (value, type(value)) for key, value in leaves(again)} == {
        key: (value, type(value)) for key, value in leaves(config)
    }
    assert differences(again, config) == []


@pytest.mark.parametrize("missing", ["model", "training", "model__vrt__noise_map", "restore__overlap", "validation"])
def test_an_older_run_is_filled_from_the_defaults(
    tmp_path: Path, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a run of before a key existed that ends in a traceback, or a warning about nothing."""
    key = missing.replace("__", ".")
    config = read_saved_config(write_fields(tmp_path, **{missing: ...}))
    quickstart, usual = (dict(leaves(one)) for one in (load_config("quickstart"), defaults.get_config()))
    expected = {name: usual[name] if f"{name}.".startswith(f"{key}.") else quickstart[name] for name in quickstart}
    assert dict(leaves(config)) == expected
    assert caplog.records == []


def test_what_is_not_known_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catches a key of another version that is dropped without a word, or that ends in a traceback."""
    path = write_fields(tmp_path, model__vrt__colour=3, sharpening={"radius": 2, "amount": 0.5})
    with caplog.at_level(logging.WARNING):
        config = read_saved_config(path)
    assert differences(config, load_config("quickstart")) == []
    (record,) = caplog.records
    assert record.getMessage() == (
        f"left out, not known to this version of spikejax: model.vrt.colour, sharpening: {path}"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": [1]}, "model: expected a section, found list"),
        ({"model": 1}, "model: expected a section, found int"),
        ({"model__vrt": None}, "model.vrt: expected a section, found NoneType"),
        (
            {"model__vrt__depths": 3},
            "model.vrt.depths: expected a tuple of at least 8, each entry a whole number from 1",
        ),
        ({"model__vrt__window": [0, 4, 4]}, "model.vrt.window: expected (frames, rows, columns), each a whole"),
        ({"restore__tile": "2,128,128"}, "restore.tile: expected (frames, rows, columns): frames 0 or a whole"),
        ({"training__steps": {}}, "training.steps: expected a whole number from 1, found {}"),
    ],
)
def test_a_saved_value_of_another_kind(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Catches a damaged or foreign configuration that ends in a traceback somewhere else."""
    path = write_fields(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_saved_config(path)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(f": {path}")


def test_a_saved_config_that_is_none(tmp_path: Path) -> None:
    """Catches a traceback when a workdir is no workdir, or its config.json is damaged or another program's."""
    path = tmp_path / "config.json"
    with pytest.raises(InputError, match="found no file"):
        read_saved_config(path)
    path.write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        read_saved_config(path)
    path.write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(InputError, match="found no such section"):
        read_saved_config(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"model__spike__fusion": "evil.py:FUSION"},
        {"data__source": "os:system"},
        {"validation__metrics": ["psnr", "evil.py:METRIC"]},
    ],
)
def test_code_that_comes_with_a_network_is_not_taken_up(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Catches a folder that somebody gave away and that decides what runs here."""
    path = write_fields(tmp_path, **changes)
    with pytest.raises(
        InputError, match=r"expected an entry of the package \(--trust-code .*, found .*: .*config.json"
    ):
        read_saved_config(path)
    config = read_saved_config(path, trust_code=True)
    ((key, value),) = changes.items()
    assert dict(leaves(config))[key.replace("__", ".")] == (tuple(value) if isinstance(value, list) else value)


def test_the_model_of_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catches weights of before a key existed, of another program, or that name code, taken up as they are."""
    model = json.loads(json.dumps(load_config("quickstart").model.to_dict()))
    assert read_saved_model(model, source="w") == load_config("quickstart").model.to_dict()
    del model["remat"], model["spike"]["zero_init"]
    model["spike"]["colour"] = 3
    with caplog.at_level(logging.WARNING):
        filled = read_saved_model(model, source="w")
    assert (filled["remat"], filled["spike"]["zero_init"]) == ("none", True)
    assert caplog.records[0].getMessage() == "left out, not known to this version of spikejax: model.spike.colour: w"
    with pytest.raises(InputError, match=r"^model: expected a section, found list: w$"):
        read_saved_model([model], source="w")
    model["spike"]["fusion"] = "evil.py:FUSION"
    with pytest.raises(InputError, match=r"model.spike.fusion: expected an entry of the package"):
        read_saved_model(model, source="w")
    assert read_saved_model(model, source="w", trust_code=True)["spike"]["fusion"] == "evil.py:FUSION"


def test_differences_names_changed_and_missing_keys() -> None:
    """Catches a comparison that misses a nested change or a key only one side has."""
    saved = ConfigDict({"a": {"b": 1, "c": 2}, "d": 3})
    wanted = ConfigDict({"a": {"b": 1, "c": 4}, "e": 5})
    assert differences(saved, wanted) == ["a.c: 2 -> 4", "d: 3 -> (absent)", "e: (absent) -> 5"]


def test_a_workdir_that_holds_a_checkpoint(tmp_path: Path) -> None:
    """Catches a fresh workdir that is taken for a run to continue, and one that is not there."""
    assert not holds_checkpoint(tmp_path / "nowhere")
    (tmp_path / "checkpoints" / "last").mkdir(parents=True)
    assert not holds_checkpoint(tmp_path)
    (tmp_path / "checkpoints" / "last" / "250").mkdir()
    assert holds_checkpoint(tmp_path)


def test_the_code_of_a_loss_is_no_reason_to_refuse_a_network(tmp_path: Path) -> None:
    """Catches a network that cannot be restored with, because of code that only training would run."""
    config = defaults.get_config()
    config.loss.terms = ("charbonnier", "edges.py:edges")
    save_config(config, tmp_path / "config.json")
    assert read_saved_config(tmp_path / "config.json").loss.terms == config.loss.terms
    config.model.spike.fusion = "gated.py:GATED"
    save_config(config, tmp_path / "config.json")
    with pytest.raises(InputError, match="model.spike.fusion: expected an entry of the package"):
        read_saved_config(tmp_path / "config.json")
