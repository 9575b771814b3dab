"""State dicts found among what training leaves: wrappers, prefixes, averages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from convert.array_files import read_arrays
from convert.pickle_machine import Unknown
from convert.state_dicts import WRAPPERS, find_state_dict
from convert.stored_arrays import stored
from spikejax.errors import InputError
from tests.convert.arrays import SMALL, assert_same

OTHER = {key: np.zeros_like(array) for key, array in SMALL.items()}


def held(arrays: dict[str, np.ndarray], prefix: str = "") -> dict[str, Any]:
    """Arrays as the readers of files hand them on."""
    return {prefix + key: stored(array) for key, array in arrays.items()}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped(wrapper: str) -> None:
    """Catches a wrapper that stays in the keys, and a dict of the same name that holds no arrays."""
    value = {"epoch": 3, "optimizer": {"state": {0: held(OTHER)}}, wrapper: held(SMALL)}
    assert_same(find_state_dict(value, "a.pth").arrays, SMALL)
    options = {"params_ema": {"decay": 0.999}, "state_dict": {wrapper: held(SMALL)}}
    assert_same(find_state_dict(options, "a.pth").arrays, SMALL)


@pytest.mark.parametrize(
    ("averaged", "own"),
    [
        ("params_ema", "params"),
        ("state_dict_ema", "state_dict"),
        ("generator_ema", "generator"),
        ("net_g_ema", "net_g"),
    ],
)
def test_the_average_is_taken(averaged: str, own: str) -> None:
    """Catches the last update's weights where the average over training is there, and a choice that is not said."""
    notes: list[str] = []
    for value in ({own: held(OTHER), averaged: held(SMALL)}, {averaged: held(SMALL), own: held(OTHER)}):
        assert_same(find_state_dict(value, "a.pth", note=notes.append).arrays, SMALL)
        assert notes.pop() == f"taken: {averaged}; left aside: {own}: a.pth"


PREFIXES = (
    "module.", "_orig_mod.", "model.", "net_g.", "generator.", "generator_ema.", "ema_model.", "module._orig_mod.",
    "_orig_mod.module.", "model._orig_mod.", "module.model.", "model.net_g.module.", "generator_ema.module.",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(prefix: str) -> None:
    """Catches a chain of prefixes of which one stays, in any order, and one that is removed without a word."""
    notes: list[str] = []
    assert_same(find_state_dict({"state_dict": held(SMALL, prefix)}, "a.pth", note=notes.append).arrays, SMALL)
    assert notes == [f"taken: the keys that begin with {prefix}: a.pth"]


@pytest.mark.parametrize("averaged", ["generator_ema.", "ema_model.", "net_g_ema."])
def test_one_of_many_networks(averaged: str) -> None:
    """Catches a framework's counters and other networks taken for the network's, or the average left aside."""
    notes: list[str] = []
    beside = held({"step_counter": np.zeros(1)}) | held(OTHER, "discriminator.") | {"discriminator.z": Unknown("a.b")}
    own = beside | held(SMALL, "generator.")
    assert_same(find_state_dict(own, "a.pth", note=notes.append).arrays, SMALL)
    assert notes.pop() == "taken: the keys that begin with generator.; left aside: 5 arrays without it: a.pth"
    both = beside | held(OTHER, "generator.") | held(SMALL, averaged)
    assert_same(find_state_dict(both, "a.pth", note=notes.append).arrays, SMALL)
    assert notes == [f"taken: the keys that begin with {averaged}; left aside: 8 arrays without it: a.pth"]


def test_a_prefix_that_the_user_names() -> None:
    """Catches a framework that is not known here and cannot be named either."""
    value = held(SMALL, "restorer.") | held(OTHER, "critic.")
    assert_same(find_state_dict(value, "a.pth", prefix="restorer.").arrays, SMALL)
    with pytest.raises(InputError, match="keys that begin with net., found restorer.a.weight and others: a.pth"):
        find_state_dict(value, "a.pth", prefix="net.")


def test_prefix_that_not_all_keys_have(tmp_path: Path) -> None:
    """Catches a network's own part called "module" that loses its name."""
    save_file({"module.a": np.zeros(1), "b": np.zeros(1)}, tmp_path / "a.safetensors")
    assert set(read_arrays(tmp_path / "a.safetensors")) == {"module.a", "b"}


def test_names_that_a_terminal_would_obey() -> None:
    """Catches a key of a file that clears the screen it is shown on."""
    arrays = find_state_dict(held({"a\x1b[2J": np.zeros(1), "b\nc": np.zeros(1)}), "a.pth").arrays
    assert list(arrays) == ["a\\x1b[2J", "b\\nc"]
