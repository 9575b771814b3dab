"""Whole plans of the small stand-in: for CPUs here, for TPUs and GPUs where their compilers are installed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.models.rngs import make_rngs
from spikejax.models.traits import NetworkTraits
from spikejax.planning import step_plan
from spikejax.planning.hlo import parse
from spikejax.planning.plan_text import WIDTH, sweep_line, to_json, to_text
from spikejax.planning.step_plan import plan_step
from spikejax.planning.topology import open_topology
from spikejax.training.step import describe_network
from tests.stand_ins import StandIn, build_stand_in, tiny_config

# The stand-in's layers, which are all products with a kernel at every pixel.
NETWORK = describe_network(lambda: build_stand_in(tiny_config().model.to_dict(), rngs=make_rngs(0)))
FORWARD_FLOPS = sum(2 * leaf.size for leaf in jax.tree.leaves(NETWORK.shapes) if leaf.ndim > 1)
FIRST_FLOPS = 2 * NETWORK.shapes["first"]["kernel"].size


@pytest.fixture
def config() -> ConfigDict:
    """A batch of 16 clips of 2x16x16."""
    config = tiny_config()
    config.data.batch_size = 16
    return config


@pytest.mark.slow
def test_plan_for_the_host(config: ConfigDict) -> None:
    """Catches memory or work of another step than the configuration's, and a report that is wider than a terminal."""
    plan = plan_step(config, open_topology(f"cpu:{jax.device_count()}"), build=build_stand_in)
    pixels = 16 * 2 * 16 * 16 // jax.device_count()
    assert plan.fits and plan.memory is not None and plan.traffic is not None
    assert plan.parameters == NETWORK.size
    assert plan.model_flops == 3 * FORWARD_FLOPS * pixels
    # Backward, the first layer's input needs no gradient.
    assert plan.flops == (3 * FORWARD_FLOPS - FIRST_FLOPS) * pixels
    state = 3 * NETWORK.size * 4  # parameters and two moments, float32
    batch = pixels * (3 + 3 + 4) * 4
    assert state + batch <= plan.memory.arguments <= state + batch + 1024
    assert state <= plan.memory.aliased <= plan.memory.outputs <= state + 1024
    assert plan.memory.total == plan.needed
    assert plan.traffic.memory_bytes > batch
    assert plan.roofline is None
    assert max(map(len, (to_text(plan) + "\n" + sweep_line(plan)).splitlines())) <= WIDTH
    assert json.loads(json.dumps(to_json(plan)))["memory"]["total"] == plan.needed


@pytest.mark.slow
def test_perceptual_term_is_planned(config: ConfigDict) -> None:
    """Catches a plan of another loss than training's: VGG's weights take memory, and its work is most of a step's."""
    topology = open_topology(f"cpu:{jax.device_count()}")
    config.loss.perceptual_weights_file = "/a/file/of/the/cluster.safetensors"
    with_term = plan_step(config, topology, build=build_stand_in)
    config.loss.perceptual_weight = 0.0
    without = plan_step(config, topology, build=build_stand_in)
    assert with_term.memory is not None and without.memory is not None
    weights, products = 0, 0
    # VGG19's convolutions up to relu3_3, for pictures of 16x16: channels in and out, and the side of the result.
    layers = [(3, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8), (128, 256, 4), (256, 256, 4), (256, 256, 4)]
    for channels, features, side in layers:
        weights += 9 * channels * features + features
        products += 2 * 9 * channels * features * side**2
    assert 4 * weights <= with_term.memory.arguments - without.memory.arguments <= 4 * weights + 1024
    # Of the sharp frames forward; of the restored ones forward, and backward to the pictures. The products are counted
    # as traced, where the convolution's own derivative by the kernel stands too, which the compiler leaves out.
    frames = 16 * 2 // jax.device_count()
    assert with_term.flops - without.flops == 4 * products * frames
    assert with_term.model_flops == without.model_flops


@pytest.mark.parametrize(
    ("name", "value"),
    [("parse", lambda text: parse("HloModule another\n\nentry = {\n}\n")), ("KNOWN_JAX", ("0.1",))],
    ids=["another text", "another JAX"],
)
def test_a_text_that_is_not_known_leaves_the_rest(
    config: ConfigDict, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    """Catches half an hour of compiling thrown away since another XLA writes otherwise, and figures of its text."""
    monkeypatch.setattr(step_plan, name, value)
    plan = plan_step(config, open_topology(f"cpu:{jax.device_count()}"), build=build_stand_in)
    assert plan.fits and plan.memory is not None and plan.needed == plan.memory.total and plan.flops > 0
    assert plan.traffic is None and plan.roofline is None
    text = to_text(plan)
    assert "roofline: not known for this JAX" in text and "memory of a device" in text
    assert max(map(len, (text + "\n" + sweep_line(plan)).splitlines())) <= WIDTH
    assert json.loads(json.dumps(to_json(plan)))["traffic"] is None


class NeedsNoiseLevel(StandIn):
    """A stand-in for a denoising network."""

    traits = NetworkTraits(noise_level=True, spike_bins=4)

    def __call__(self, blur: jax.Array, voxels: jax.Array | None, key: jax.Array | None = None) -> jax.Array:
        """Of the picture alone, but the noise level must be there."""
        assert blur.shape[-1] == 4, f"expected three colours and the noise level, found {blur.shape}"
        return super().__call__(blur[..., :3], voxels, key)


@pytest.mark.slow
def test_noise_level_is_part_of_the_input(config: ConfigDict) -> None:
    """Catches a plan of a denoising network for clips without the noise level."""
    topology = open_topology(f"cpu:{jax.device_count()}")
    plan = plan_step(config, topology, build=lambda _, *, rngs: NeedsNoiseLevel(16, 4, drop=0.0, rngs=rngs))
    assert plan.fits


EIGHT = """
import json, sys
from spikejax.models.traits import NetworkTraits
from spikejax.planning import step_plan
from spikejax.planning.hlo import parse
from spikejax.planning.plan_text import to_json
from spikejax.planning.step_plan import plan_step
from spikejax.planning.topology import open_topology
from spikejax.training.step import describe_network
from tests.stand_ins import build_stand_in, tiny_config

topology = open_topology("cpu:8")
answers = []
for data, fsdp in ((8, 1), (1, 8)):
    config = tiny_config()
    config.data.batch_size = 16
    config.mesh.update(dict(data=data, fsdp=fsdp))
    answers.append(to_json(plan_step(config, topology, build=build_stand_in)))
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_plan_for_eight_devices() -> None:
    """Catches figures of all devices instead of one, and a state that `fsdp` leaves whole."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    root = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", EIGHT], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    data, fsdp = json.loads(answer.stdout)
    pixels = 2 * 2 * 16 * 16
    assert data["devices"] == 8 and data["model_flops"] == 3 * FORWARD_FLOPS * pixels
    gradient = data["traffic"]["collectives"]["all-reduce"]
    assert NETWORK.size * 4 <= gradient["bytes"] <= NETWORK.size * 4 + 64
    assert gradient["sent"] == pytest.approx(gradient["bytes"] * 2 * 7 / 8)
    batch = pixels * (3 + 3 + 4) * 4
    # Everything but the last layer's bias, of 3 channels, is split.
    whole, split = (answer["memory"]["arguments"] - batch for answer in (data, fsdp))
    assert split < 0.25 * whole
    assert fsdp["traffic"]["collectives"].keys() & {"all-gather", "reduce-scatter", "all-to-all"}


@pytest.mark.needs("plan-tpu")
def test_plan_for_a_pod(config: ConfigDict) -> None:
    """Catches a step for the host in place of the TPU's, and figures that come without a roofline."""
    config.mesh.data, config.mesh.fsdp = 2, -1
    plan = plan_step(config, open_topology("v5e:2x4"), build=build_stand_in)
    assert plan.fits and plan.roofline is not None and plan.traffic is not None
    assert (plan.devices, plan.hosts, dict(plan.mesh)) == (8, 2, {"data": 2, "fsdp": 4, "space": 1})
    assert plan.traffic.collectives and plan.traffic.unknown_loops == 0
    assert plan.roofline.compute == plan.flops / 197e12
    assert plan.roofline.step >= plan.roofline.memory > 0
    assert max(map(len, (to_text(plan) + "\n" + sweep_line(plan)).splitlines())) <= WIDTH


@pytest.mark.needs("plan-gpu")
def test_plan_for_gpus(config: ConfigDict) -> None:
    """Catches a card whose description the compiler does not take, and memory that nobody compares."""
    plan = plan_step(config, open_topology("h100:8"), build=build_stand_in)
    assert plan.fits and plan.roofline is not None and plan.memory is not None
    assert plan.available == int(85e9 * 0.75)
    assert plan.traffic is not None and plan.traffic.collectives["all-reduce"].bytes >= NETWORK.size * 4


def test_batch_that_the_mesh_does_not_divide(config: ConfigDict) -> None:
    """Catches a compiler's traceback in place of one line."""
    config.data.batch_size = 0
    with pytest.raises(InputError, match="data.batch_size"):
        plan_step(config, open_topology(f"cpu:{jax.device_count()}"), build=build_stand_in)
