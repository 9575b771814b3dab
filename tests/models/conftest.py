"""The networks behind the goldens, built from their manifests."""

import importlib.util
import json
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from flax import nnx

from spikejax.models.fusion import SpikeBranchConfig
from spikejax.models.restorer import Restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.vrt import VRTConfig
from tests.models.parameters import restorer_from_torch

GOLDEN = Path(__file__).parents[1] / "golden"


class Golden(NamedTuple):
    """A network with the published weights' stand-ins, its input and the published answers, channels last."""

    graphdef: nnx.GraphDef
    parameters: nnx.State
    clip: np.ndarray
    voxels: np.ndarray | None
    answers: dict[str, np.ndarray]

    @property
    def model(self) -> Restorer:
        """The network itself."""
        return nnx.merge(self.graphdef, self.parameters)


@cache
def golden_weights() -> ModuleType:
    """The module that makes every golden's weights and input."""
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_manifest(name: str) -> dict[str, Any]:
    """Constructor arguments and parameter shapes of a published network."""
    return json.loads((GOLDEN / "manifests" / f"{name}.json").read_text())


def abstract_model(manifest: dict[str, Any]) -> Restorer:
    """The network of a manifest, as shapes alone."""
    config = manifest["config"]
    vrt = VRTConfig(
        upscale=config["upscale"],
        window=tuple(config["window_size"]),
        depths=tuple(config["depths"]),
        dims=tuple(config["embed_dims"]),
        heads=tuple(config["num_heads"]),
        independent=tuple(config["indep_reconsts"]),
        warp_frames=config["pa_frames"],
        deformable_groups=config.get("deformable_groups", 1),
        noise_map=config.get("nonblind_denoising", False),
    )
    spike = None
    if "spike" in manifest:
        of_spikes = manifest["spike"]
        spike = SpikeBranchConfig(
            bins=of_spikes["bins"],
            channels=tuple(of_spikes["channels_per_scale"]),
            heads=of_spikes["heads"],
            residual=of_spikes["residual"],
        )
    return nnx.eval_shape(lambda: Restorer(vrt, spike, rngs=make_rngs(0)))


@cache
def load_golden(name: str) -> Golden:
    """A golden network, its input and its answers."""
    manifest = read_manifest(name)
    model = abstract_model(manifest)
    weights = golden_weights()
    parameters = restorer_from_torch(model, weights.make_state_dict(manifest["shapes"]))
    voxels = None
    if "spike" in manifest:
        shape = (1, 5, manifest["spike"]["bins"], 64, 64)
        counts = np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}/vox".encode()))).poisson(2.0, shape)
        voxels = np.moveaxis(np.log1p(counts.astype(np.float32)), 2, -1)
    # The spike golden takes its clip from its own name (tests/golden/README.md).
    clip = weights.make_video(manifest.get("input_name", name), tuple(manifest.get("input_shape", (1, 5, 3, 64, 64))))
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        answers = dict(arrays)
    return Golden(nnx.split(model)[0], parameters, np.moveaxis(clip, 2, -1), voxels, answers)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """`load_golden`: tests name the network they need."""
    return load_golden


@pytest.fixture(scope="session")
def tiny_model() -> Restorer:
    """A small network with spikes and random weights: pairs of blocks and odd ones, several heads, no zeros."""
    vrt = VRTConfig(
        window=(4, 4, 4),
        depths=(3,) * 7 + (2, 1),
        dims=(8,) * 7 + (12,) * 2,
        heads=(2,) * 9,
        independent=(8,),
        deformable_groups=2,
    )
    return Restorer(vrt, SpikeBranchConfig(bins=4, channels=(8,) * 4, heads=2), rngs=make_rngs(0))
