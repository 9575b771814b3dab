"""What scripts/benchmark.py measures, by a stand-in; the network itself takes minutes."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spikejax.training import step
from tests.stand_ins import build_stand_in, tiny_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with small matrices."""
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "scripts" / "benchmark.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "GEMM_SIZE", 64)
    return module


@pytest.mark.parametrize("part", ["forward", "train_step"])
def test_what_is_measured_is_what_training_runs(
    benchmark: ModuleType, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a step of the benchmark's own, whose figure no training has, and figures that are missing."""
    traced: list[Any] = []
    update = step.Update.__call__
    monkeypatch.setattr(step.Update, "__call__", lambda self, *given: traced.append(self) or update(self, *given))
    config = tiny_config()
    figures = benchmark.measure(part, config, repeats=2, build=build_stand_in)
    assert len(traced) == (part == "train_step")
    kinds = ("seconds", "bound_ratio", "compile_seconds", "peak_bytes")
    assert figures.keys() == {"gemm_gflops", *(f"{part}_{kind}" for kind in kinds)}
    bound = benchmark.FORWARD_FLOP / figures["gemm_gflops"] / 1e9
    assert figures[f"{part}_bound_ratio"] == pytest.approx(figures[f"{part}_seconds"] / bound)


def test_the_recipe_is_the_published_one(benchmark: ModuleType) -> None:
    """Catches a figure of another network, clip or optimizer than the page of results says."""
    config = benchmark.configuration("blocks")
    assert (config.model.remat, config.optimizer.kind, config.model.compute_dtype) == ("blocks", "adam", "float32")
    data = config.data
    assert (data.batch_size, data.frames, data.crop, data.crop, 3) == benchmark.CLIP
