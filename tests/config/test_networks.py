"""The networks that the configurations describe: as many parameters as the originals."""

import json
import math
from pathlib import Path

import jax
import pytest

from spikejax.config.files import load_config
from spikejax.config.networks import PUBLISHED, SPIKE_VARIANTS
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training.parameter_patterns import matching
from spikejax.training.step import describe_network

CONFIGS = Path(__file__).parents[2] / "configs"
MANIFESTS = Path(__file__).parents[1] / "golden" / "manifests"

# The published networks with an architecture of their own, and which share it.
ARCHITECTURES = {
    "001_videosr_bi_REDS_6frames": ("001",),
    "002_videosr_bi_REDS_16frames": ("002",),
    "003_videosr_bi_Vimeo_7frames": ("003", "004"),
    "006_videodeblurring_GoPro": ("005", "006", "007"),
    "008_videodenoising_DAVIS": ("008",),
    "009_videofi_Vimeo_4frames": ("009",),
}


def manifest(name: str) -> dict:
    """The original's constructor arguments, parameter shapes and their total."""
    return json.loads((MANIFESTS / f"{name}.json").read_text())


def model(config: str) -> dict:
    """The `model` section of a configuration, FILE:NAME."""
    return load_config(f"{CONFIGS}/{config}").model.to_dict()


def size(config: str) -> int:
    """Parameters of a configuration's network; nothing is computed."""
    return describe_network(lambda: build_restorer(model(config), rngs=make_rngs(0))).size


def test_every_published_network_is_tested() -> None:
    """Catches a network whose total nobody compares."""
    assert sorted(name for names in ARCHITECTURES.values() for name in names) == sorted(PUBLISHED)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_of_published_networks(architecture: str) -> None:
    """Catches a width, depth or window of a published network that is not its own."""
    first, *others = ARCHITECTURES[architecture]
    assert size(f"vrt.py:{first}") == manifest(architecture)["params"]
    for other in others:
        assert model(f"vrt.py:{other}") == model(f"vrt.py:{first}")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_published_networks_have_their_constructor_arguments(architecture: str) -> None:
    """Catches what a total does not show: heads, groups of equal size, which windows hold a single frame."""
    original = manifest(architecture)["config"]
    vrt = model(f"vrt.py:{ARCHITECTURES[architecture][0]}")["vrt"]
    ours = {
        "upscale": vrt["upscale"],
        "window_size": list(vrt["window"]),
        "depths": list(vrt["depths"]),
        "embed_dims": list(vrt["dims"]),
        "num_heads": list(vrt["heads"]),
        "indep_reconsts": list(vrt["independent"]),
        "pa_frames": vrt["warp_frames"],
        "deformable_groups": vrt["deformable_groups"],
        "nonblind_denoising": vrt["noise_map"],
        "out_chans": vrt["output_channels"],
    }
    # img_size only sizes the original's masks.
    compared = original.keys() - {"img_size"}
    assert {key: ours[key] for key in compared} == {key: original[key] for key in compared}


@pytest.mark.slow
def test_what_is_trained_later_and_slower() -> None:
    """Catches flow or offsets that a renamed parameter takes out of the recipe's pattern, and others within it."""
    config = load_config(f"{CONFIGS}/vrt.py:006")
    shapes = describe_network(lambda: build_restorer(config.model.to_dict(), rngs=make_rngs(0))).shapes
    slow = matching(shapes, config.optimizer.slow, key="optimizer.slow")
    chosen = jax.tree.map(lambda leaf, later: leaf.size if later else 0, shapes, slow)
    original = manifest("006_videodeblurring_GoPro")["shapes"]
    later = [key for key in original if key.startswith("spynet.basic") or ".conv_offset." in key]
    assert sum(jax.tree.leaves(chosen)) == sum(math.prod(original[key]) for key in later)


def parameters(shapes: dict[str, list[int]], prefix: str) -> int:
    """Parameters of the original whose key begins with `prefix`."""
    return sum(math.prod(shape) for key, shape in shapes.items() if key.startswith(prefix))


@pytest.mark.slow
def test_parameters_of_the_spike_design() -> None:
    """Catches a variant that is built of other parts than the design's, counted from the original's own shapes."""
    original = manifest("vrt_spike_baseline")
    shapes = original["shapes"]
    backbone, encoder = parameters(shapes, "vrt."), parameters(shapes, "spike_encoder.")
    attention, fusion = parameters(shapes, "spike_temporal_sa."), parameters(shapes, "cross_attn_fuse.")
    assert backbone + encoder + attention + fusion == original["params"] == 23_672_319
    sizes = {name: size(f"spike.py:{name}") for name in SPIKE_VARIANTS}
    assert sizes == {
        "baseline": original["params"],
        # 9 differences, 4 heads, both attentions of 4 stages.
        "time": original["params"] + 9 * 4 * 2 * 4,
        "normalized_query": original["params"],
        # Three stages more, of four equal ones.
        "stages_1_to_7": original["params"] + 3 * (attention + fusion) // 4,
        "concat": backbone + encoder + 4 * (192 * 96 + 96),
        # conv_first has 9 times 4 channels more, and 3x3 taps.
        "early_concat": backbone + 9 * 4 * 96 * 9,
        "backbone": backbone,
    }
