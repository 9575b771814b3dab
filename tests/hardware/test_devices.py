"""What a command says that it computes on."""

from pathlib import Path

import jax
import pytest

from spikejax.errors import InputError
from spikejax.hardware.devices import describe_devices, unused_hardware, use_required


@pytest.fixture
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for the CPU, and JAX uses it."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")


@pytest.mark.parametrize(
    ("sign", "words"),
    [("proc/driver/nvidia/gpus/0000:01:00.0", "an NVIDIA GPU is present"), ("dev/accel0", "a TPU is present")],
)
def test_hardware_that_is_not_used(
    sign: str, words: str, tmp_path: Path, on_a_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches days on a CPU beside an idle GPU, and a warning where the user chose the CPU or has nothing better."""
    assert unused_hardware(tmp_path) is None
    (tmp_path / sign).mkdir(parents=True)
    assert str(unused_hardware(tmp_path)).startswith(words)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert unused_hardware(tmp_path) is None
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert unused_hardware(tmp_path) is None


def test_a_required_platform(on_a_cpu: None) -> None:
    """Catches --require that lets a CPU pass, or refuses where nothing is required."""
    use_required(None)
    with pytest.raises(InputError, match=r"^expected a tpu \(--require\), found \d+ cpu device"):
        use_required("tpu")


def test_words() -> None:
    """Catches a plural of one device, and a kind that only repeats the platform."""
    count = len(jax.local_devices())
    assert describe_devices() == f"{count} cpu device{'s' if count > 1 else ''}"
