"""Names of topologies, and what their chips can do."""

import inspect
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from spikejax import extras
from spikejax.errors import InputError
from spikejax.hardware.chips import CHIPS, chip_of
from spikejax.inference.precision import PRECISIONS
from spikejax.planning.topology import open_topology


@pytest.mark.parametrize("name", ["v9:2x2", "h300:8", "", "16x16"])
def test_unknown_chip_is_told_the_known(name: str) -> None:
    """Catches a message without what would be right."""
    with pytest.raises(InputError, match="v6e, tpu7x, a100, h100, h200, b200, l40s, rtx4090 or cpu, as in v5e:4x4"):
        open_topology(name)


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v5e:8", "v5e:4x", "v5e:4x0", "h100:2x4", "cpu:many", "h100:0"])
def test_unknown_size(name: str) -> None:
    """Catches a compiler's own message, or a topology of another size."""
    with pytest.raises(InputError, match="expected the size after"):
        open_topology(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x2", "plan-tpu"), ("a100:8", "plan-gpu")])
def test_compiler_that_is_not_installed(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an import error where a line could say what to install."""
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"pip install 'spikejax\[{extra}\]'"):
        open_topology(name)


def test_more_cpu_devices_than_there_are() -> None:
    """Catches a plan for fewer devices than asked for."""
    with pytest.raises(InputError, match=f"at most {jax.device_count()} CPU devices"):
        open_topology("cpu:4096")


@pytest.mark.needs("plan-tpu")
@pytest.mark.parametrize(
    ("name", "devices", "hosts"), [("v5e:1x1", 1, 1), ("v5e:16x16", 256, 64), ("v5p:2x2x4", 16, 4)]
)
def test_pods(name: str, devices: int, hosts: int) -> None:
    """Catches a pod of another size, and a kind of chip whose peaks are another's."""
    topology = open_topology(name)
    assert (len(topology.devices), topology.hosts) == (devices, hosts)
    assert chip_of(topology.devices[0]) == topology.chip == CHIPS[name.partition(":")[0]]


@pytest.mark.needs("plan-tpu")
def test_a_tpu_gets_its_own_branch() -> None:
    """Catches a program for the host that compiles, where the models have another for accelerators."""
    place = jax.sharding.SingleDeviceSharding(open_topology("v5e:1x1").devices[0])

    def function(x: jax.Array) -> jax.Array:
        return lax.platform_dependent(x, cpu=jnp.sin, default=jnp.tanh)

    shape = jax.ShapeDtypeStruct((8, 128), jnp.float32, sharding=place)
    compiled = jax.jit(function).trace(shape).lower().compile().as_text()
    assert " tanh(" in compiled and " sine(" not in compiled


@pytest.mark.needs("plan-tpu")
def test_pod_that_is_not_built() -> None:
    """Catches a traceback of libtpu."""
    with pytest.raises(InputError, match="v5e:3x5"):
        open_topology("v5e:3x5")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("TPU v4", "v4"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 4060", None),
        ("cpu", None),
    ],
)
def test_chip_of_a_device(kind: str, name: str | None) -> None:
    """Catches a v5e that is taken for a v5p, whose name begins the same, and peaks for what is not listed."""
    device: Any = SimpleNamespace(device_kind=kind)
    found = inspect.unwrap(chip_of)(device)  # without the check that it is a real device
    assert (found.name if found else None) == name


def test_peaks_are_those_of_a_device() -> None:
    """Catches a whole chip's figures for each of its two devices."""
    assert CHIPS["tpu7x"].flops("bfloat16") * CHIPS["tpu7x"].devices == 2307e12
    assert CHIPS["v5e"].flops("float32") == 197e12
    assert CHIPS["h100"].flops("float32") == 494.7e12


def test_more_bits_of_float32_cost_what_they_cost_on_each_platform() -> None:
    """Catches passes that GPUs do not make, and bfloat16 that is slower for what float32 is told."""
    passes = {precision: 197e12 / CHIPS["v5e"].flops("float32", precision) for precision in PRECISIONS}
    assert passes == pytest.approx({"highest": 6, "high": 3, "default": 1})
    on_gpu = {precision: CHIPS["a100"].flops("float32", precision) for precision in PRECISIONS}
    assert on_gpu == {"highest": 19.5e12, "high": 156e12, "default": 156e12}
    assert {chip.flops("bfloat16", "highest") / chip.flops("bfloat16") for chip in CHIPS.values()} == {1}


@pytest.mark.needs("plan-gpu")
@pytest.mark.parametrize("name", [chip.name for chip in CHIPS.values() if chip.platform == "cuda"])
def test_every_gpu_is_compiled_for(name: str) -> None:
    """Catches a card without a description, or with one that XLA refuses."""
    place = jax.sharding.SingleDeviceSharding(open_topology(f"{name}:1").devices[0])
    x = jax.ShapeDtypeStruct((64, 64), jnp.bfloat16, sharding=place)
    assert jax.jit(lambda x: x @ x).lower(x).compile().memory_analysis().output_size_in_bytes == 2 * 64 * 64
