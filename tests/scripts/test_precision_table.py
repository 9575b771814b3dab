"""Products of fewer bits, emulated, and the tables that scripts/precision_table.py makes of them."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from spikejax.errors import InputError
from spikejax.models.traits import NetworkTraits

SCRIPTS = Path(__file__).parents[2] / "scripts"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script as a module; `sys.path` and the modules that it imports are left as they were."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    for imported in (name, "accelerator_parts", "rounded_products"):
        monkeypatch.delitem(sys.modules, imported, raising=False)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rounded(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/rounded_products.py."""
    return load("rounded_products", monkeypatch)


def normal(*shape: int) -> jax.Array:
    """Random numbers in float32."""
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


def in_a_loop(a: jax.Array, b: jax.Array) -> jax.Array:
    """Products within a scan, a branch, a recomputed and a jitted function, and one with a gradient of its own."""

    @jax.custom_vjp
    def own(a: jax.Array, b: jax.Array) -> jax.Array:
        return a @ b

    own.defvjp(lambda a, b: (a @ b, None), lambda saved, dy: (dy, dy))

    def body(total: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
        added = lax.cond(row[0] > 0, lambda: jax.jit(own)(row[np.newaxis], b), lambda: row[np.newaxis] @ b)
        return total + added, None

    return jax.checkpoint(lambda a: lax.scan(body, jnp.zeros((1, b.shape[1])), a)[0])(a)


def convolved(a: jax.Array, b: jax.Array) -> jax.Array:
    """A convolution over the first matrix' rows."""
    return lax.conv_general_dilated(a[np.newaxis], b[np.newaxis], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))


@pytest.mark.parametrize("function", [jnp.matmul, in_a_loop, convolved])
def test_one_pass_is_a_product_of_bfloat16(function: Any, rounded: ModuleType) -> None:
    """Catches products that are not reached, within whatever they stand, and rounding towards zero."""
    a, b = normal(9, 8), normal(8, 5)
    narrow = function(*(x.astype(jnp.bfloat16).astype(jnp.float32) for x in (a, b)))
    answer = rounded.with_rounded_products(function, rounded.one_pass)(a, b)
    np.testing.assert_allclose(answer, narrow, rtol=1e-6, atol=1e-6)
    assert np.abs(answer - function(a, b)).max() > 1e-3


def test_each_keeps_its_bits(rounded: ModuleType) -> None:
    """Catches a rounding of other bits than its name says: by how much the products of 65,536 numbers miss."""
    a, b = normal(65536), normal(65537)[:65536]
    exact = np.asarray(a, np.float64) * np.asarray(b, np.float64)

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.dot_general(a, b, (((), ()), ((0,), (0,))))

    errors = {
        name: np.abs(rounded.with_rounded_products(product, getattr(rounded, name))(a, b) / exact - 1).max()
        for name in ("one_pass", "tensor_float_32", "three_passes")
    }
    # Twice half a unit of the last bit, of each operand; of three passes the product of both rests is left out.
    assert 0.9 * 2**-7 < errors["one_pass"] < 1.01 * 2**-7
    assert 0.9 * 2**-10 < errors["tensor_float_32"] < 1.01 * 2**-10
    assert 2**-17 < errors["three_passes"] < 2**-15


def test_what_asks_for_all_bits_keeps_them(rounded: ModuleType) -> None:
    """Catches flows, which ask for it, rounded like the rest, and products of other types that are touched."""

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return a @ b

    a, b = normal(9, 8), normal(8, 5)
    np.testing.assert_array_equal(rounded.with_rounded_products(product, rounded.one_pass)(a, b), a @ b)
    narrow = [x.astype(jnp.bfloat16) for x in (a, b)]
    answer = rounded.with_rounded_products(jnp.matmul, rounded.one_pass)(*narrow)
    np.testing.assert_array_equal(answer, narrow[0] @ narrow[1])


@pytest.mark.slow
def test_the_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Catches rows of the wrong network or form: fewer bits miss by more, in the goldens and in the scenes."""
    script = load("precision_table", monkeypatch)
    scenes = script._scenes

    def parts(*arguments: Any) -> Iterator[dict[str, np.ndarray]]:
        """Two frames of 48 x 48 of each: compiling is long enough."""
        for scene in scenes(*arguments):
            yield {name: array[:2, 40:88, 40:88] for name, array in scene.items() if array.ndim == 4}

    monkeypatch.setattr(script, "_scenes", parts)
    monkeypatch.setattr(script, "ROUNDINGS", {key: split for key, split in script.ROUNDINGS.items() if key[1] == "TPU"})
    script.main(["--goldens", "tiny_deblur", "--clips", "1", "--json", str(tmp_path / "x.json")])
    printed = capsys.readouterr().out
    assert printed.count("| tiny_deblur |") == 3 and "| PSNR |" in printed
    rows = json.loads((tmp_path / "x.json").read_text())
    errors = [row["mean error of PyTorch's"] for row in rows["goldens"]]
    highest, three, one = errors
    assert highest < 2 < three < one
    scores = {(row["precision"], row["device"]): row for row in rows["scenes"]}
    assert scores["highest", "TPU and GPU"]["largest"] == 0
    assert scores["highest", "TPU and GPU"]["PSNR"] == pytest.approx(29.4, abs=0.5)
    assert 0 < scores["high", "TPU"]["largest"] < scores["default", "TPU"]["largest"]


@pytest.mark.parametrize(("bins", "message"), [(None, "no spikes"), (4, "4 bins")])
def test_a_network_of_other_spikes_is_refused(bins: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches scenes that a network does not take, which would end in a traceback of shapes."""
    script = load("precision_table", monkeypatch)
    network = SimpleNamespace(traits=NetworkTraits(spike_bins=bins))
    monkeypatch.setattr(script, "load", lambda path, dtype: network)
    with pytest.raises(InputError, match=f"--network: expected one with 8 voxel bins, found {message}: runs/other"):
        next(script.scene_rows("runs/other", 1))


def test_an_unknown_golden_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches minutes of work before a name that nobody knows."""
    with pytest.raises(InputError, match="--goldens: expected names of tiny_deblur, .*, found 'tiny'"):
        load("precision_table", monkeypatch).main(["--goldens", "tiny"])
