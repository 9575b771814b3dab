"""Low-rank adapters, merged; the numbers were computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from convert.adapters import merge_adapters
from convert.array_files import read_all
from convert.stored_arrays import stored
from spikejax.errors import InputError

# [outputs, inputs] = [2, 3], rank 1 and 2.
BASE = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
A1, B1 = np.array([[1, 0, 2]], np.float32), np.array([[3], [-1]], np.float32)
A2, B2 = np.array([[1, 0, 0], [0, 1, 1]], np.float32), np.array([[1, 2], [0, 1]], np.float32)
# B1 A1 = [[3, 0, 6], [-1, 0, -2]], times 16 / 1; B2 A2 = [[1, 2, 2], [0, 1, 1]], times 16 / 2.
MERGED_1 = np.array([[49, 2, 99], [-12, 5, -26]], np.float32)
MERGED_2 = np.array([[9, 18, 19], [4, 13, 14]], np.float32)


def network(base: str = "base.", factor: str = "") -> dict[str, Any]:
    """Two adapted layers, one with a bias, and an array beside them."""
    arrays = {
        f"q.{base}weight": BASE, f"q.{base}bias": BASE[0, :2], f"q.lora_A.{factor}weight": A1,
        f"q.lora_B.{factor}weight": B1, f"k.{base}weight": BASE, f"k.lora_A.{factor}weight": A2,
        f"k.lora_B.{factor}weight": B2, "norm.weight": BASE[0],
    }  # fmt: skip
    return {key: stored(array) for key, array in arrays.items()}


@pytest.mark.parametrize(("base", "factor"), [("base.", ""), ("base_layer.", "default."), ("", "")])
def test_merged(base: str, factor: str) -> None:
    """Catches a scale, an order of the factors or a rank that is another's, and keys that stay an adapter's."""
    notes: list[str] = []
    merged = merge_adapters(network(base, factor), {}, alpha=16, note=notes.append)
    assert list(merged) == ["q.weight", "q.bias", "k.weight", "norm.weight"]
    np.testing.assert_array_equal(merged["q.weight"], MERGED_1)
    np.testing.assert_array_equal(merged["k.weight"], MERGED_2)
    np.testing.assert_array_equal(merged["q.bias"], BASE[0, :2])
    assert notes == ["merged: 2 adapters of rank 1, 2, alpha 16: q, k"]


def test_alpha_of_the_file() -> None:
    """Catches an alpha that is looked for in one place alone, several that disagree, and none that is guessed."""
    numbers = [{"lora_alpha": 16.0}, {"lora.alpha": 16.0, "lora.rank": 8.0, "epoch": 3.0}, {"alpha": 16.0}]
    for one in numbers:
        merged = merge_adapters(network(), one, alpha=None, note=print)
        np.testing.assert_array_equal(merged["k.weight"], MERGED_2)
    with_arrays = network() | {"q.alpha": stored(np.array(16.0)), "k.alpha": stored(np.array([16]))}
    merged = merge_adapters(with_arrays, {}, alpha=None, note=print)
    assert list(merged) == ["q.weight", "q.bias", "k.weight", "norm.weight"]
    np.testing.assert_array_equal(merged["q.weight"], MERGED_1)
    with pytest.raises(InputError, match="expected one alpha of all adapters, found 8, 16"):
        merge_adapters(with_arrays, {"lora_alpha": 8.0}, alpha=None, note=print)
    with pytest.raises(InputError, match=r"expected --lora-alpha or an alpha in the file, found 2 adapters of rank 1 "):
        merge_adapters(network(), {}, alpha=None, note=print)
    with pytest.raises(InputError, match="with --lora-alpha, found none"):
        merge_adapters({"a": stored(BASE)}, {}, alpha=16, note=print)


def test_adapters_that_were_not_trained_yet() -> None:
    """Catches a factor of zeros that needs an alpha, which would change nothing."""
    arrays = network() | {"q.lora_B.weight": stored(0 * B1), "k.lora_B.weight": stored(0 * B2)}
    notes: list[str] = []
    merged = merge_adapters(arrays, {}, alpha=None, note=notes.append)
    np.testing.assert_array_equal(merged["q.weight"], BASE)
    assert notes == ["merged: 2 adapters of rank 1, 2, B is zero: q, k"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"q.base.weight": None}, "expected the weight that an adapter changes, found none: q.weight"),
        ({"q.lora_B.weight": None}, "expected lora_A and lora_B of a layer, found lora_A alone: q"),
        ({"q.lora_A.weight": A1[:, :2]}, r"for a weight \[2, 3\], found \[1, 2\] and \[2, 1\]: q.weight"),
        ({"q.lora_B.weight": B2}, r"for a weight \[2, 3\], found \[1, 3\] and \[2, 2\]: q.weight"),
    ],
)
def test_adapters_that_do_not_fit(change: dict[str, Any], told: str) -> None:
    """Catches adapters of another network that are merged all the same, or end in a traceback."""
    arrays = network()
    for key, array in change.items():
        arrays.pop(key)
        if array is not None:
            arrays[key] = stored(array)
    with pytest.raises(InputError, match=told):
        merge_adapters(arrays, {}, alpha=16, note=print)


def test_adapters_in_a_file_of_their_own(tmp_path: Path) -> None:
    """Catches adapters that are merged before the file that they adapt is read."""
    save_file({"q.lora_A.weight": A1, "q.lora_B.weight": B1}, tmp_path / "adapters.safetensors")
    save_file({"q.weight": BASE}, tmp_path / "base.safetensors")
    for names in (("adapters", "base"), ("base", "adapters")):
        arrays = read_all([tmp_path / f"{name}.safetensors" for name in names], lora_alpha=16).arrays
        np.testing.assert_array_equal(arrays["q.weight"], MERGED_1)
