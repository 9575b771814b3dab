"""The table of keys: that it is whole, and that what it says of each key is held against every configuration."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.files import load_config
from spikejax.config.keys import KEYS, check_config, leaves, named_files
from spikejax.config.relations import RELATIONS
from spikejax.config.value_rules import Flag, Number, OneOf, PathName, Pattern, Several, ValueRule, Whole
from spikejax.data.datasets.degradation import DEGRADATIONS
from spikejax.data.sources import DATASETS
from spikejax.distributed.sharding import MESH_LAYOUTS
from spikejax.errors import InputError
from spikejax.kernels.choice import Kernels
from spikejax.models.blocks import Remat
from spikejax.models.flows import FLOWS
from spikejax.models.fusion import FUSIONS
from spikejax.models.restorer import BACKBONES
from spikejax.quality.losses import LOSS_TERMS
from spikejax.quality.metrics import OF_FRAMES
from spikejax.training.monitoring.loggers import LOGGERS

DEFAULTS = dict(leaves(defaults.get_config()))


def test_the_table_and_the_defaults_have_the_same_keys() -> None:
    """Catches a key that somebody adds to one of the two alone."""
    missing = [key for key in DEFAULTS if key not in KEYS]
    assert not missing, f"add to the table in spikejax/config/keys.py: {', '.join(missing)}"
    gone = [key for key in KEYS if key not in DEFAULTS]
    assert not gone, f"in spikejax/config/keys.py, but not in spikejax/config/defaults.py: {', '.join(gone)}"


def test_the_defaults_keep_to_the_table() -> None:
    """Catches a default that the table refuses."""
    check_config(defaults.get_config(), paths=False)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("data.degradation", DEGRADATIONS),
        ("data.source", DATASETS),
        ("model.kernels", get_args(Kernels)),
        ("model.remat", get_args(Remat)),
        ("loss.terms", LOSS_TERMS),
        ("training.loggers", LOGGERS),
        ("mesh.layout", MESH_LAYOUTS),
        ("model.backbone", BACKBONES),
        ("model.spike.fusion", FUSIONS),
        ("model.vrt.flow", FLOWS),
        ("validation.metrics", OF_FRAMES),
    ],
)
def test_choices_are_those_of_the_packages(key: str, names: Any) -> None:
    """Catches a new entry of a package's table that no configuration may name, or one that is gone."""
    rule = KEYS[key].rule
    choices = rule.entry if isinstance(rule, Several) else rule
    assert isinstance(choices, OneOf)
    assert set(choices.values) == set(names)


def wrong_values(rule: ValueRule, default: Any) -> Iterator[Any]:
    """Values that a rule has to refuse: of other kinds, and just outside of its range."""
    yield None
    if isinstance(rule, Whole):
        yield from (value for value in (rule.low - 1, rule.high + 1) if value not in rule.also)
        yield from ("3", float(rule.low), True, (rule.low,))
    elif isinstance(rule, Number):
        yield from (float("nan"), float("inf"), float("-inf"), "1.0", True, (rule.low,))
        yield rule.low if rule.above else math.nextafter(rule.low, -math.inf)
        yield rule.high if rule.below else math.nextafter(rule.high, math.inf)
    elif isinstance(rule, Flag):
        yield from (0, 1, "True")
    elif isinstance(rule, OneOf):
        yield from ("no_such_name", "no such:name:", 99, 1.5, ())
    elif isinstance(rule, Several):
        yield from (3, "abc", list(default) or [1])
        entries = rule.entry if isinstance(rule.entry, tuple) else (rule.entry,) * max(len(default), 1)
        if rule.names:
            yield from (default[:-1], (*default, default[-1]))
        elif rule.shortest:
            yield default[: rule.shortest - 1]
        if rule.distinct:
            yield (*default, default[0])
            if isinstance(rule.entry, OneOf) and rule.entry.code:
                yield from ((*default, "a.py:X", "b.py:X"), (*default, f"a.py:{rule.entry.values[-1]}"))
        for index, entry in enumerate(entries):
            for value in wrong_values(entry, None):
                yield (*default[:index], value, *default[index + 1 :])
    else:  # texts
        yield from (3, 1.5, ("a",))
        if isinstance(rule, Pattern):
            yield from ("(", "[", "*a", "()", ".*", "spynet|", "^", "x?")
        if isinstance(rule, PathName):
            yield "a\0b"


@pytest.mark.parametrize("key", KEYS)
def test_every_key_refuses_what_it_cannot_be(key: str) -> None:
    """Catches a row whose range is not checked, and a message that names neither the key nor what was found."""
    values = list(wrong_values(KEYS[key].rule, DEFAULTS[key]))
    assert len(values) > 3
    for value in values:
        config = changed(defaults.get_config(), {key: value})
        with pytest.raises(InputError) as caught:
            check_config(config, paths=False)
        message = str(caught.value)
        assert message.startswith(f"{key}: expected {KEYS[key].rule.expected}"), value
        assert ", found " in message
        assert "\n" not in message


def changed(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    """The configuration with other values, whatever their types."""
    fields = config.to_dict()
    for key, value in changes.items():
        *sections, name = key.split(".")
        owner = fields
        for section in sections:
            owner = owner[section]
        owner[name] = value
    return ConfigDict(fields).lock()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_takes_the_ends_of_its_range(key: str) -> None:
    """Catches a range that leaves out its own ends."""
    rule = KEYS[key].rule
    if isinstance(rule, Whole):
        assert all(map(rule.allows, (rule.low, rule.high, *rule.also)))
    if isinstance(rule, Number):
        assert rule.allows(rule.low) is not rule.above and rule.allows(rule.high) is not rule.below
    if isinstance(rule, OneOf):
        assert all(map(rule.allows, rule.values)) and rule.allows("mine.py:NAME") is rule.code


def test_all_wrong_values_are_told_at_once() -> None:
    """Catches a user who mends one value after the other, each after a start of the program."""
    config = changed(defaults.get_config(), {"seed": -1, "training.log_every": 0, "data.flips": 2})
    with pytest.raises(InputError) as caught:
        check_config(config)
    assert str(caught.value) == "seed: expected a whole number from 0 to 4294967295, found -1"
    assert caught.value.details == (
        "data.flips: expected True or False, found 2",
        "training.log_every: expected a whole number from 1, found 0",
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**31, "training.steps: expected a whole number from 1 to 2147483647, found 2147483648"),
        ("9" * 5000, f"training.steps: expected a whole number from 1, found '{'9' * 99}..."),
    ],
)
def test_values_that_are_too_large(value: Any, message: str) -> None:
    """Catches a message that does not say why a number is refused, or that fills the screen."""
    with pytest.raises(InputError) as caught:
        check_config(changed(defaults.get_config(), {"training.steps": value}), paths=False)
    assert str(caught.value) == message


def test_a_configuration_with_other_keys() -> None:
    """Catches a configuration of another program, or one of an older version, that ends in a traceback."""
    with pytest.raises(InputError, match='there is no configuration key "a"'):
        check_config(ConfigDict({"a": 1}))
    config = defaults.get_config().copy_and_resolve_references()
    with config.unlocked():
        del config.training
    with pytest.raises(InputError, match=r"training\.steps: expected a whole number from 1, found no such key"):
        check_config(config)


# By relation, what breaks it and what is said: (configuration, changes, message).
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("quickstart", {"model.vrt.dims": (24,) * 9}, "model.vrt.dims: expected 8 entries, as many as model.vrt.depths"),
    ("quickstart", {"model.vrt.heads": (3,) * 9}, "model.vrt.heads: expected 8 entries"),
    ("vrt:006", {"model.vrt.dims": (96,) * 7 + (126,) * 4}, "model.vrt.dims: expected multiples of 4"),
    ("vrt:006", {"model.vrt.dims": (96, 48, *(96,) * 5) + (120,) * 4}, "expected entry 6 to equal entry 2, 48"),
    ("vrt:006", {"model.vrt.dims": (96,) * 7 + (120, 60, 120, 120)}, "all entries from the 8th on to be equal"),
    ("vrt:006", {"model.vrt.heads": (5,) * 11}, "model.vrt.heads: expected entry 1 to divide that of model.vrt.dims"),
    ("vrt:006", {"model.vrt.independent": (9, 11)}, "model.vrt.independent: expected indices from 7 to 10"),
    ("vrt:006", {"model.vrt.deformable_groups": 5}, "model.vrt.deformable_groups: expected one of 1, 2, 3, 4, 6, 8"),
    ("vrt:002", {"model.vrt.deformable_groups": 4}, "model.vrt.deformable_groups: expected one of 3, 6, 9, 12, 15"),
    ("vrt:009", {"model.vrt.upscale": 4}, "model.vrt.upscale: expected 1 for a network that interpolates"),
    ("vrt:009", {"model.vrt.noise_map": True}, "model.vrt.noise_map: expected False for a network that interpolates"),
    ("vrt:001", {"model.vrt.noise_map": True}, "model.vrt.noise_map: expected False with model.vrt.upscale 4"),
    ("vrt:009", {"model.vrt.window": (5, 8, 8)}, "model.vrt.window: expected an even number of frames"),
    ("vrt:009", {"model.spike.fusion": "concat"}, "model.spike.fusion: expected none for a network that interpolates"),
    ("spike:baseline", {"model.spike.fused_stages": (1, 2, 4, 5)}, "expected (1, 2, 3, 4), or on to 7 at most"),
    ("spike:baseline", {"model.spike.channels": (96, 96, 96, 48)}, "model.spike.channels: expected (96, 96, 96, 96)"),
    ("spike:baseline", {"model.spike.heads": 5}, "model.spike.heads: expected a number that divides"),
    ("spike:early_concat", {"model.spike.steps": 3}, "model.spike.steps: expected 4 at least, found 3"),
    ("vrt:001", {"data.degradation": "noise"}, "data.degradation: expected bicubic or gaussian or none for a network"),
    ("vrt:006", {"model.vrt.noise_map": True}, "a network that takes a noise level (model.vrt.noise_map True), found"),
    ("vrt:006", {"data.degradation": "bicubic"}, "data.degradation: expected none for a network that neither"),
    ("vrt:008", {"data.noise_sigma": (50, 0)}, "data.noise_sigma: expected the least first, then the largest"),
    ("vrt:009", {"data.frames": 6}, "data.frames: expected 4, the frames of model.vrt.window"),
    ("vrt:009", {"data.repeat_last": 1}, "data.repeat_last: expected 0 to interpolate, found 1"),
    ("vrt:003", {"data.repeat_last": 8}, "data.repeat_last: expected 0 to 7, below data.frames, found 8"),
    ("vrt:009", {"validation.frames": 6}, "validation.frames: expected 4, the frames of model.vrt.window"),
    ("vrt:006", {"training.accumulate": 3}, "data.batch_size: expected a multiple of training.accumulate, 3, found 8"),
    ("quickstart", {"data.frames": 9}, "data.scenes.frames: expected at least 9, what a clip of data.frames 9"),
    ("quickstart", {"data.scenes.height": 33, "data.scenes.width": 33}, "data.scenes.width: expected a number that"),
    ("quickstart", {"data.crop": 144}, "data.crop: expected at most 128, data.scenes 128x128, found 144"),
    ("quickstart", {"model.vrt.upscale": 2}, "model.vrt.upscale: expected 1 with spikes of the embedded data set"),
    ("quickstart", {"training.steps": 20}, "optimizer.warmup_steps: expected 0 to 19, below training.steps, found 20"),
    ("quickstart", {"optimizer.peak_learning_rate": 1e-6}, "expected at most optimizer.peak_learning_rate, 1e-06"),
    ("vrt:006", {"training.deterministic": True}, "model.kernels: expected plain with training.deterministic"),
    ("spike:baseline", {"optimizer.kind": "adam"}, 'optimizer.weight_decay: expected 0 with optimizer.kind "adam"'),
    ("quickstart", {"validation.metrics": ("ssim",)}, "validation.metrics: expected psnr among them"),
    ("quickstart", {"mesh.fsdp": -1}, "mesh.fsdp: expected a whole number from 1 beside mesh.data -1"),
    ("quickstart", {"mesh.data": 1, "mesh.fsdp": -1, "mesh.space": -1}, "mesh.space: expected a whole number from 1"),
    ("quickstart", {"mesh.extra": ("model=2",)}, "mesh.extra: expected none with mesh.layout standard"),
    (
        "quickstart",
        {"mesh.layout": "mine.py:LAYOUT", "mesh.extra": ("model=2", "model=3")},
        "mesh.extra: expected each axis once",
    ),
    (
        "quickstart",
        {"mesh.layout": "mine.py:LAYOUT", "mesh.extra": ("model=-1",)},
        "mesh.extra: expected one axis of all at most to be -1, of mesh.data",
    ),
    ("quickstart", {"restore.overlap": (1, 65, 20)}, "restore.overlap: expected at most half of restore.tile"),
]


@pytest.mark.parametrize(("name", "changes", "message"), BROKEN, ids=lambda value: value if value is str else None)
def test_keys_that_do_not_fit_together(name: str, changes: dict[str, Any], message: str) -> None:
    """Catches a network that cannot be built, or a run that fails after its data was written or its step compiled."""
    with pytest.raises(InputError) as caught:
        check_config(changed(load_config(name), changes), paths=False)
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "changes", "message"), BROKEN, ids=lambda value: value if value is str else None)
def test_a_relation_names_the_key_that_was_changed(name: str, changes: dict[str, Any], message: str) -> None:
    """Catches a message about one key alone where the user has changed another one."""
    config = changed(load_config(name), changes)
    for relation in RELATIONS:
        expected = relation.check(config)
        if expected is not None and len(relation.keys) > 1:
            assert any(key in expected for key in relation.keys[1:]) or relation.keys[0] in changes, expected


# Their entries belong to stages, of which several are alike.
_BY_STAGE = {"model.vrt.depths", "model.vrt.dims", "model.vrt.heads", "model.spike.channels"}


@pytest.mark.parametrize(
    "key",
    [key for key, row in KEYS.items() if isinstance(row.rule, Several) and not row.rule.names and key not in _BY_STAGE],
)
def test_no_entry_comes_twice(key: str) -> None:
    """Catches a term that is added twice, or a metric that is measured twice under one name."""
    values = DEFAULTS[key] or ("model=2",)
    config = changed(defaults.get_config(), {key: (*values, values[-1]), "mesh.layout": "mine.py:LAYOUT"})
    with pytest.raises(InputError, match=f"^{key}: expected .*, found"):
        check_config(config, paths=False)


def test_every_relation_is_broken_above() -> None:
    """Catches a relation that nobody tries."""
    configs = [changed(load_config(name), changes) for name, changes, _ in BROKEN]
    untried = [relation.rule for relation in RELATIONS if all(relation.check(config) is None for config in configs)]
    assert untried == []


def test_relations_are_about_keys() -> None:
    """Catches a relation that names a key of before a renaming."""
    assert {key for relation in RELATIONS for key in relation.keys} <= KEYS.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.perceptual_weights_file": "nowhere"}, "loss.perceptual_weights_file: expected a file or folder, found"),
        ({"validation.lpips_weights_file": "nowhere"}, "validation.lpips_weights_file: expected a file or folder"),
        ({"training.start_from": "nowhere"}, "training.start_from: expected a file or folder, found none: nowhere"),
        ({"data.root": "nowhere"}, "data.root: expected a folder, found none: nowhere"),
        ({"data.root": __file__}, "data.root: expected a folder, found none: "),
        ({"data.source": "folder"}, "data.root: expected the folder of the data set (--config.data.root=DIR), found"),
        ({"model.spike.fusion": "nowhere.py:MINE"}, "model.spike.fusion: expected a Python file, found none: nowhere"),
        ({"validation.metrics": ("psnr", "nowhere.py:MINE")}, "validation.metrics: expected a Python file, found none"),
    ],
)
def test_what_is_named_has_to_be_there(changes: dict[str, Any], message: str) -> None:
    """Catches a file that is missed only after compiling, or never since its weight is 0."""
    config = changed(load_config("quickstart"), {"loss.perceptual_weight": 0.0, **changes})
    check_config(config, paths=False)
    with pytest.raises(InputError) as caught:
        check_config(config)
    assert message in str(caught.value)


def test_a_run_may_start_from_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches the name of a network taken for a file that is missing, and one that stands for nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "vrt:006", "hf://me/net@v1"):
        check_config(changed(load_config("quickstart"), {"training.start_from": name}))
    for name, told in (("vrt:010", "found vrt:010"), ("hf://me", "expected hf://USER/NAME")):
        with pytest.raises(InputError, match=told):
            check_config(changed(load_config("quickstart"), {"training.start_from": name}))


def test_files_of_weights() -> None:
    """Catches a file beside which a compile cache would be read."""
    assert named_files(defaults.get_config()) == []
    keys = ("loss.perceptual_weights_file", "training.start_from", "validation.lpips_weights_file")
    assert named_files(changed(defaults.get_config(), {key: key for key in (*keys, "data.root")})) == list(keys)


def test_a_run_that_goes_on_needs_no_start(tmp_path: Path) -> None:
    """Catches a run that cannot be continued since the weights it started from are gone."""
    config = changed(load_config("quickstart"), {"training.start_from": str(tmp_path / "gone.safetensors")})
    check_config(config, continued=True)
    with pytest.raises(InputError, match="training.start_from"):
        check_config(config)
