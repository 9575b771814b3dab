"""The configuration files, and what loading them accepts and refuses."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from spikejax.config.files import differences, leaves, load_config, read_saved_config, save_config
from spikejax.config.networks import PUBLISHED, SPIKE_VARIANTS
from spikejax.errors import InputError
from spikejax.train import main

CONFIGS = Path(__file__).parents[2] / "configs"
DEFAULTS = Path(__file__).parents[2] / "spikejax" / "config" / "defaults.py"
# Of a file that holds several configurations, all of them.
NAMES = {"vrt.py": PUBLISHED, "spike.py": SPIKE_VARIANTS}
FILES = [
    f"{path}{name}"
    for path in sorted(CONFIGS.glob("*.py"))
    if path.name != "__init__.py"
    for name in ([f":{name}" for name in NAMES[path.name]] if path.name in NAMES else [""])
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.rpartition("/")[2])
def test_every_file_has_the_default_keys(path: str) -> None:
    """Catches a config that adds a key of its own, or leaves itself unlocked so that a typing error would add one."""
    config = load_config(path)
    assert config.is_locked
    assert [key for key, _ in leaves(config)] == [key for key, _ in leaves(load_config(DEFAULTS))]


def test_every_key_has_a_comment() -> None:
    """Catches a key added to defaults.py without its unit or meaning."""
    lines = (DEFAULTS).read_text().splitlines()
    for key, _ in leaves(load_config(DEFAULTS)):
        name = key.rpartition(".")[2]
        assert any(line.strip().startswith(f"{name}=") and "#" in line for line in lines), key


def test_recipe_of_the_spike_design() -> None:
    """Catches a default that drifts away from the design's recipe."""
    config = load_config(CONFIGS / "spike.py:baseline")
    assert (config.seed, config.data.crop, config.data.frames) == (123, 256, 5)
    assert (config.optimizer.peak_learning_rate, config.optimizer.weight_decay) == (2e-4, 1e-4)
    assert (config.optimizer.kind, config.optimizer.beta1, config.optimizer.beta2) == ("adamw", 0.9, 0.99)
    assert (config.optimizer.warmup_steps, config.optimizer.clip_norm) == (5_000, 1.0)
    assert (config.loss.perceptual_weight, config.optimizer.final_learning_rate) == (0.1, 0.0)
    assert (config.validation.every, config.validation.pictures_every) == (1_000, 10_000)
    assert config.loss.charbonnier_epsilon == 1e-3
    assert config.model.compute_dtype == "bfloat16"
    assert (config.model.spike.bins, config.model.spike.fused_stages) == (32, (1, 2, 3, 4))
    assert (config.model.spike.residual, config.model.vrt.window) == ("features", (5, 8, 8))


def test_recipe_of_vrt() -> None:
    """Catches a published model whose recipe or evaluation is another's, or the spike design's."""
    config = load_config(f"{CONFIGS}/vrt.py:006")
    assert (config.optimizer.peak_learning_rate, config.optimizer.final_learning_rate) == (4e-4, 1e-7)
    assert (config.optimizer.kind, config.optimizer.beta1, config.optimizer.beta2) == ("adam", 0.9, 0.99)
    assert (config.optimizer.warmup_steps, config.optimizer.weight_decay, config.optimizer.clip_norm) == (0, 0.0, 0.0)
    assert (config.optimizer.slow_steps, config.optimizer.slow_factor) == (20_000, 1 / 8)
    assert (config.loss.perceptual_weight, config.model.vrt.drop_path, config.model.compute_dtype) == (
        0,
        0.2,
        "float32",
    )
    assert (config.training.steps, config.data.batch_size) == (300_000, 8)
    assert config.loss.charbonnier_epsilon**2 == pytest.approx(1e-9)
    sizes = {}
    for name in PUBLISHED:
        config = load_config(f"{CONFIGS}/vrt.py:{name}")
        sizes[name] = (config.data.frames, config.data.crop, config.restore.tile, config.restore.overlap)
    assert sizes["001"] == (6, 64, (40, 128, 128), (2, 20, 20))
    assert sizes["002"] == (16, 64, (40, 128, 128), (2, 20, 20))
    assert sizes["003"] == sizes["004"] == (7, 64, (32, 128, 128), (2, 20, 20))
    assert sizes["005"] == sizes["006"] == sizes["007"] == sizes["008"] == (6, 192, (12, 256, 256), (2, 20, 20))
    assert sizes["009"] == (4, 192, (0, 0, 0), (0, 0, 0))
    made = [load_config(f"{CONFIGS}/vrt.py:{name}").data.degradation for name in sorted(PUBLISHED)]
    assert made == ["bicubic"] * 3 + ["gaussian"] + ["none"] * 3 + ["noise", "interpolation"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "vrt.py",
            'expected ":NAME" behind the file, NAME one of 001, 002, 003, 004, 005, 006, 007, 008, 009; got none',
        ),
        ("vrt.py:010", "one of 001, 002, 003, 004, 005, 006, 007, 008, 009; got '010'"),
        ("quickstart.py:006", 'holds one configuration, which has no name, got ":006"'),
        ("nothing.py:006", "found no file"),
    ],
)
def test_wrong_name_stops(path: str, told: str) -> None:
    """Catches a name that is ignored, and a missing or mistyped one that ends in a traceback."""
    with pytest.raises(InputError) as caught:
        load_config(CONFIGS / path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.steps=200", "training.steps", 200),
        ("optimizer.peak_learning_rate=1e-3", "optimizer.peak_learning_rate", 1e-3),
        ("optimizer.clip_norm=2", "optimizer.clip_norm", 2.0),
        ("data.flips=false", "data.flips", False),
        ("data.flips=True", "data.flips", True),
        ("data.root=/tmp/a b=c", "data.root", "/tmp/a b=c"),
        ("model.spike.fused_stages=(1,2)", "model.spike.fused_stages", (1, 2)),
        ("model.spike.fused_stages=1,2", "model.spike.fused_stages", (1, 2)),
        ("mesh.data=-1", "mesh.data", -1),
    ],
)
def test_override(override: str, key: str, value: object) -> None:
    """Catches an override that is lost, lands in another key or arrives as another type."""
    before = dict(leaves(load_config(DEFAULTS)))
    after = dict(leaves(load_config(DEFAULTS, [f"--config.{override}"])))
    assert after == before | {key: value}
    assert type(after[key]) is type(value)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("--config.training.stepz=200", 'no configuration key "training.stepz"; did you mean "training.steps"?'),
        ("--config.steps=200", 'no configuration key "steps"; did you mean "training.steps"?'),
        ("--config.data.learning_rate=1", 'did you mean "optimizer.peak_learning_rate"?'),
        ("--config.training=3", 'no configuration key "training"; did you mean "training.'),
        ("--config.training.steps=many", "training.steps expects a whole number such as 300000, got 'many'"),
        ("--config.training.steps=2.5", "expects a whole number"),
        ("--config.training.steps=True", "expects a whole number"),
        ("--config.data.flips=1", "data.flips expects True or False such as True, got '1'"),
        ("--config.optimizer.clip_norm=x", "optimizer.clip_norm expects a number"),
        ("--config.model.vrt.dims=96", "model.vrt.dims expects a tuple of whole numbers"),
        ("--config.model.vrt.dims=(1.5,)", "model.vrt.dims expects a tuple of whole numbers"),
        ("--config.training.steps", "expected --config.KEY=VALUE"),
    ],
)
def test_wrong_override_stops(override: str, told: str) -> None:
    """Catches a mistyped key or value that trains something else, and a message that does not help."""
    with pytest.raises(InputError) as caught:
        load_config(DEFAULTS, [override])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "config.training.stepz = 3\n    return config",
            'there is no configuration key "stepz"; did you mean "steps"?',
        ),
        ("config.training.steps = 'many'\n    return config", "TypeError"),
        ("return None", "expected get_config() to return a ConfigDict, got NoneType"),
        ("return confg", "NameError"),
    ],
)
def test_wrong_file_stops(tmp_path: Path, body: str, told: str) -> None:
    """Catches a user's own config that fails with a traceback, or silently adds a key."""
    path = tmp_path / "mine.py"
    path.write_text(
        f"from spikejax.config import defaults\n\ndef get_config():\n    config = defaults.get_config()\n    {body}\n"
    )
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_stops(tmp_path: Path) -> None:
    """Catches a traceback for a mistyped file name."""
    with pytest.raises(InputError, match="found no file"):
        load_config(tmp_path / "nothing.py")


def test_json_keeps_values_and_types(tmp_path: Path) -> None:
    """Catches a saved configuration that comes back with lists for tuples, or unlocked."""
    config = load_config(CONFIGS / "spike.py:baseline")
    save_config(config, tmp_path / "config.json")
    again = read_saved_config(tmp_path / "config.json")
    assert again.is_locked
    assert dict(leaves(again)) == dict(leaves(config))
    assert differences(again, config) == []


def test_saved_config_that_is_none(tmp_path: Path) -> None:
    """Catches a traceback when a workdir is no workdir, or its config.json is damaged."""
    with pytest.raises(InputError, match="found no file"):
        read_saved_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        read_saved_config(tmp_path / "config.json")


def test_differences_names_changed_and_missing_keys() -> None:
    """Catches a comparison that misses a nested change or a key only one side has."""
    saved = ConfigDict({"a": {"b": 1, "c": 2}, "d": 3})
    wanted = ConfigDict({"a": {"b": 1, "c": 4}, "e": 5})
    assert differences(saved, wanted) == ["a.c: 2 -> 4", "d: 3 -> (absent)", "e: (absent) -> 5"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "c.py"], "--workdir"),
        (["--config", "c.py", "--workdir", "w", "--steps=3"], "unrecognized arguments: --steps=3"),
    ],
)
def test_command_line_errors(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an option that is swallowed instead of refused."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err
