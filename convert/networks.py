"""The rules of whole networks."""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from convert.rules import Rule, nest, parameters_from_torch
from convert.spike import spike_branch_rules
from convert.vrt import vrt_rules
from spikejax.models.fusion import ENCODER_SCALES
from spikejax.models.restorer import Restorer


def restorer_rules(model: Restorer) -> tuple[Rule, ...]:
    """The rules of `model`: a published VRT has its keys at the top, the spike network has them below "vrt."."""
    config = model.vrt.config
    backbone = vrt_rules(upscale=config.upscale, warp_frames=config.warp_frames)
    if model.spike_branch is None:
        return nest("vrt/", "", backbone)
    branch = spike_branch_rules(scales=ENCODER_SCALES)
    return (*nest("vrt/", "vrt.", backbone), *nest("spike_branch/", "", branch))


def restorer_from_torch(model: Restorer, arrays: Mapping[str, Any]) -> nnx.State:
    """The parameters of `model` with the values of a PyTorch state dict; see `parameters_from_torch`."""
    return parameters_from_torch(nnx.state(model, nnx.Param), restorer_rules(model), arrays)
