"""Kernels as JAX of this version lowers them for TPUs and GPUs, which takes no compiler of theirs."""

import contextlib

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from spikejax.config.files import load_config
from spikejax.kernels.choice import Target, trace_for
from spikejax.models.layers import Conv3D
from spikejax.models.rngs import make_rngs
from spikejax.planning.parts import Part, gradients_of, parts_of
from spikejax.planning.topology import _GPU_CARDS, lowering_for_gpu

PARTS = {
    "tpu": (
        *("attention over time", "fusion", "mutual attention", "self-attention", "alignment"),
        "stage 8 of one frame",
    ),
    "cuda": ("mutual attention", "self-attention", "alignment"),
}
CALLS = {"tpu": "tpu_custom_call", "cuda": "__gpu$xla.gpu.triton"}


def lowered(platform: str, part: Part, *, card: str = "NVIDIA H100 80GB HBM3") -> str:
    """A part with its gradients, lowered."""
    gradients, parameters = gradients_of(part)
    there = lowering_for_gpu(card) if platform == "cuda" else contextlib.nullcontext()
    with there, trace_for(Target(platform)):
        return gradients.trace(parameters, *part.arguments).lower(lowering_platforms=(platform,)).as_text()


def test_a_convolution_over_time() -> None:
    """Catches the same in the kernel of which the spike encoder has many."""
    layer = nnx.eval_shape(lambda: Conv3D(16, 8, rngs=make_rngs(0)))
    clip = jax.ShapeDtypeStruct((1, 3, 16, 32, 16), jnp.bfloat16)
    part = Part("3-D convolution", layer, lambda layer, x: layer(x, relu=True), (clip,), times=1)
    assert CALLS["tpu"] in lowered("tpu", part)


@pytest.mark.parametrize(("platform", "name"), [(platform, name) for platform in PARTS for name in PARTS[platform]])
def test_a_part_with_its_gradients(platform: str, name: str) -> None:
    """Catches operations within a kernel that one version of JAX knows and another does not, as erf's derivative."""
    assert CALLS[platform] in lowered(platform, parts()[name])


@pytest.mark.parametrize("card", [description for description, _, _ in _GPU_CARDS.values()])
def test_every_card_that_is_planned_for(card: str) -> None:
    """Catches a card that JAX's kernels for Triton do not know by the name that the planner gives it."""
    assert CALLS["cuda"] in lowered("cuda", parts()["alignment"], card=card)


def parts() -> dict[str, Part]:
    """The parts of the spike network, on a small crop."""
    changes = ("model.compute_dtype=bfloat16", "data.frames=5", "data.crop=32")
    return parts_of(load_config("configs/spike.py:baseline", [f"--config.{change}" for change in changes]))
