"""Changes of the command line, over every key of the table: what a key may be decides how its text is read."""

import argparse
from typing import Any

import pytest
from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.files import OVERRIDE_PREFIX, apply_override, load_config, parse_with_overrides
from spikejax.config.keys import KEYS, leaves
from spikejax.config.value_rules import Flag, OneOf, PathName, Pattern, Several, Text, ValueRule, Whole
from spikejax.errors import InputError

CONFIGS = {name: dict(leaves(load_config(name))) for name in ("quickstart", "spike:baseline", "vrt:004", "vrt:008")}
CONFIGS["defaults"] = dict(leaves(defaults.get_config()))


def erased(key: str) -> ConfigDict:
    """The defaults, with a value of `key` that no text says."""
    config = defaults.get_config()
    *sections, name = key.split(".")
    owner = config
    for section in sections:
        owner = owner[section]
    with owner.unlocked():
        del owner[name]
        owner[name] = ...
    return config


def changed(key: str, *words: str) -> Any:
    """The value of `key` after the words of a command line were read."""
    _, overrides = parse_with_overrides(argparse.ArgumentParser(allow_abbrev=False), words)
    config = erased(key)
    for override in overrides:
        apply_override(config, override)
    return dict(leaves(config))[key]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_value_is_read_as_it_is_printed(name: str, key: str) -> None:
    """Catches a key whose own value is refused, or comes back as another value or type, in either form of a change."""
    value = CONFIGS[name][key]
    texts = {str(value)}
    if isinstance(value, tuple):
        texts |= {repr(list(value)), ",".join(map(str, value)), ", ".join(map(repr, value))}
    for text in texts:
        for words in ([f"{OVERRIDE_PREFIX}{key}={text}"], [f"{OVERRIDE_PREFIX}{key}", text]):
            read = changed(key, *words)
            assert read == value, words
            assert type(read) is type(value), words


@pytest.mark.parametrize("key", [key for key, row in KEYS.items() if isinstance(row.rule, Flag)])
def test_flags(key: str) -> None:
    """Catches words of absl's flags that are refused, and an argument behind a flag that is taken for its value."""
    option, negation = f"{OVERRIDE_PREFIX}{key}", f"--noconfig.{key}"
    on = ([option], [f"{option}=True"], [option, "true"], [f"{option}=t"], [option, "1"], [negation, option])
    off = ([negation], [f"{option}=False"], [option, "false"], [f"{option}=F"], [option, "0"], [option, negation])
    assert {changed(key, *words) for words in on} == {True}
    assert {changed(key, *words) for words in off} == {False}
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    options, overrides = parse_with_overrides(parser, [option, "0.png", negation])
    assert (options.file, overrides) == ("0.png", [option, f"{option}=False"])


def nearest_to_none(rule: ValueRule) -> Any:
    """What None says of a key, or ... where it has no such value."""
    if isinstance(rule, Text):
        return ""
    if isinstance(rule, OneOf) and "none" in rule.values:
        return "none"
    return () if isinstance(rule, Several) and not rule.names and not rule.shortest else ...


@pytest.mark.parametrize("key", KEYS)
def test_none(key: str) -> None:
    """Catches a folder called None, and a None that a number or a flag would become."""
    expected = nearest_to_none(KEYS[key].rule)
    if expected is ...:
        with pytest.raises(InputError, match=rf"^{key}: expected .*, found .*None"):
            changed(key, f"{OVERRIDE_PREFIX}{key}=None")
    else:
        assert changed(key, f"{OVERRIDE_PREFIX}{key}", "None") == expected
        assert KEYS[key].rule.normalised(None) == expected


@pytest.mark.parametrize("key", [key for key, row in KEYS.items() if isinstance(row.rule, PathName | Pattern)])
@pytest.mark.parametrize("text", ["/data/my set, v2", "a=b", "-x", "'quoted'", "(1, 2)", "3", "True", "a|b|c"])
def test_texts_are_taken_as_they_are(key: str, text: str) -> None:
    """Catches a text that is cut at a space, comma or equals sign, loses its quotes, or is read as a number."""
    for words in ([f"{OVERRIDE_PREFIX}{key}={text}"], [f"{OVERRIDE_PREFIX}{key}", text]):
        assert changed(key, *words) == text


@pytest.mark.parametrize("key", [key for key, row in KEYS.items() if isinstance(row.rule, Whole) and row.rule.also])
def test_negative_numbers_are_values(key: str) -> None:
    """Catches -1 that is taken for an option."""
    assert changed(key, f"{OVERRIDE_PREFIX}{key}", "-1") == -1


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("data.noise_sigma", "0.5,25", (0.5, 25)),
        ("data.noise_sigma", "(0.5, 2.5e1)", (0.5, 25.0)),
        ("model.vrt.independent", "9", (9,)),
        ("model.vrt.independent", "9,", (9,)),
        ("model.vrt.independent", "", ()),
        ("validation.metrics", "psnr", ("psnr",)),
        ("validation.metrics", "'psnr'", ("psnr",)),
        ("validation.metrics", '"psnr", "ssim"', ("psnr", "ssim")),
        ("validation.metrics", "(psnr, ssim)", ("psnr", "ssim")),
        ("validation.metrics", "[psnr]", ("psnr",)),
        ("validation.metrics", "psnr,my metrics.py:A", ("psnr", "my metrics.py:A")),
        ("validation.metrics", "psnr,3d.py:A", ("psnr", "3d.py:A")),
        ("validation.metrics", "('psnr', 'a,b.py:A')", ("psnr", "a,b.py:A")),
        ("mesh.extra", "model=2,expert=-1", ("model=2", "expert=-1")),
    ],
)
def test_tuples(key: str, text: str, value: tuple) -> None:
    """Catches tuples of floats and texts that are refused, and entries that are cut or keep their quotes."""
    for words in ([f"{OVERRIDE_PREFIX}{key}={text}"], [f"{OVERRIDE_PREFIX}{key}", text]):
        assert changed(key, *words) == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--noconfig.data.flip"], 'there is no configuration key "data.flip"; did you mean "data.flips"?'),
        (["--noconfig.data.root"], "expected --config.data.root=VALUE, found --noconfig.data.root"),
        (["--noconfig.data.flips=1"], "expected --config.data.flips=VALUE, found --noconfig.data.flips=1"),
        (["--config.data.flips=yes"], "data.flips: expected True or False, found 'yes'"),
        (["--config.data.flips=2"], "data.flips: expected True or False, found 2"),
        (["--config.training.step", "3"], 'no configuration key "training.step"; did you mean "training.steps"?'),
        (["--config.training.steps", "--config.data.flips"], "expected --config.training.steps=VALUE, VALUE a whole"),
        (["--config.validation.metrics=(psnr"], "validation.metrics: expected a tuple of at least 1, each entry psnr"),
        (["--config.validation.metrics='\\d'"], "validation.metrics: expected a tuple of at least 1, each entry psnr"),
        (["--config.data.noise_sigma=1"], "data.noise_sigma: expected (least, largest), each a number from 0 to 255"),
        (["--config.data.noise_sigma=nan,1"], "data.noise_sigma: expected (least, largest), each a number from 0 to"),
    ],
)
def test_wrong_changes_say_so_in_one_line(words: list[str], message: str) -> None:
    """Catches a mistake that is taken for something else, or that a warning of Python's own explains."""
    with pytest.raises(InputError) as caught:
        changed("seed", *words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
