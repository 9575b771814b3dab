"""The networks that weights are converted for, by the names of `spikejax.config.networks`."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import jax
import numpy as np
from flax import nnx

from spikejax.config.files import read_saved_model
from spikejax.config.networks import PUBLISHED, published_model, spike_model
from spikejax.errors import InputError
from spikejax.io.weights import MismatchError, Weights, compare_params, flatten_params, nest_params
from spikejax.models.fusion import ENCODER_SCALES, find_fusion
from spikejax.models.restorer import Restorer, build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.spynet import SpyNet

from .network_names import SPIKE_PREFIX, SPYNET_NAME, network_names, restorer_names
from .perceptual_keys import PERCEPTUAL, Perceptual
from .rules import Counterpart, Rule, find_counterparts, nest
from .spike_keys import FUSE_BLOCKS, TIME_BIAS_KEYS, spike_branch_rules
from .transfer import Buffer, from_torch, to_torch
from .vrt_keys import SPYNET, attention_buffers, spynet_buffers, vrt_rules

_SPIKE_KEYS = ("spike_encoder.", "spike_temporal_sa.", *(keys.torch for keys in FUSE_BLOCKS.values()))


@dataclass(frozen=True)
class ConvertibleNetwork:
    """What converting needs to know of a network.

    Attributes:
        name: for messages.
        kind: of `Weights`.
        model: the `model` section of its configuration, None if the kind says everything.
        counterparts: of all parameters, by PyTorch key.
        buffers: what its PyTorch form keeps beside them, by key.
        copies: keys of its PyTorch form that hold the same as another key.
        restore: the tile and overlap that it restores with, see `Weights`.
    """

    name: str
    kind: str
    model: dict[str, Any] | None
    counterparts: Mapping[str, Counterpart]
    buffers: Mapping[str, Buffer]
    copies: Mapping[str, str] = field(default_factory=dict)
    restore: dict[str, Any] | None = None

    def from_torch(self, arrays: Mapping[str, Any]) -> Weights:
        """The weights that a state dict holds.

        Raises:
            MismatchError: they do not fit; the error lists all that is wrong.
        """
        arrays = self.published_keys(arrays)
        params = from_torch(self.counterparts, arrays, buffers=self.buffers, network=self.name)
        return Weights(self.kind, self.model, nest_params(params), restore=self.restore)

    def to_torch(self, weights: Weights, *, dtype: np.dtype) -> dict[str, Any]:
        """The PyTorch state dict of `weights`, which has the parameters of this network; see `transfer.to_torch`.

        Raises:
            MismatchError: they have other parameters.
        """
        params = flatten_params(weights.params)
        wanted = {
            counterpart.parameter: jax.ShapeDtypeStruct(counterpart.parameter_shape, np.float32)
            for counterpart in self.counterparts.values()
        }
        if problems := compare_params(params, wanted):
            raise MismatchError(f"the parameters of {self.name}", problems)
        state_dict = to_torch(self.counterparts, params, buffers=self.buffers, dtype=dtype)
        return state_dict | {key: state_dict[other] for key, other in self.copies.items()}

    def published_keys(self, arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        """`arrays` by the keys that `counterparts` has, where other programs have other keys for the same."""
        if self.kind in PERCEPTUAL:
            return PERCEPTUAL[self.kind].published_keys(arrays)
        if self.model is not None and _has_branch(self.model):
            return _below_vrt(arrays)
        return arrays


@cache
def get_network(name: str) -> ConvertibleNetwork:
    """The network of that name; finding out its shapes takes seconds, once.

    Raises:
        InputError: there is none.
    """
    if name not in network_names():
        raise InputError(f"expected a network, one of {', '.join(network_names())}, found {name!r}")
    if name == SPYNET_NAME:
        return _spynet()
    if name in PERCEPTUAL:
        return _perceptual(PERCEPTUAL[name])
    network = restorer_network(model_section(name), name)
    return replace(network, restore=asdict(PUBLISHED[name].tiles)) if name in PUBLISHED else network


def model_section(name: str) -> dict[str, Any]:
    """The `model` section of the configuration of a VRT or a variant of the spike design."""
    if name.startswith(SPIKE_PREFIX):
        return spike_model(name.removeprefix(SPIKE_PREFIX)).to_dict()
    return published_model(name).to_dict()


def restorers() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, model section) of all VRTs and variants of the spike design."""
    for name in restorer_names():
        yield name, model_section(name)


def network_of(weights: Weights) -> ConvertibleNetwork:
    """The network that weights of ours are for."""
    if weights.kind == SPYNET_NAME:
        return _spynet()
    if weights.kind in PERCEPTUAL:
        return _perceptual(PERCEPTUAL[weights.kind])
    if weights.model is None:
        raise InputError(f"expected weights with the model that they are of, found {weights.kind} without one")
    return restorer_network(read_saved_model(weights.model, source="the weights"), "the network they say they are for")


def restorer_network(model: dict[str, Any], name: str) -> ConvertibleNetwork:
    """The network that the `model` section of a configuration describes."""
    fusion = model["spike"]["fusion"]
    kind = find_fusion(fusion)
    if kind is not None and kind.torch_form is None:
        raise InputError(f"{name}: no PyTorch form of the fusion {fusion} is known")
    time = model["spike"].get("time", "none")
    if _has_branch(model) and time not in TIME_BIAS_KEYS:
        raise InputError(f"{name}: no PyTorch form of model.spike.time {time!r} is known")
    flow = model["vrt"].get("flow", SPYNET_NAME)
    if flow != SPYNET_NAME:
        raise InputError(f"{name}: no PyTorch form of the flow network {flow} is known")
    restorer = nnx.eval_shape(lambda: build_restorer(model, rngs=make_rngs(0)))
    counterparts = find_counterparts(parameter_shapes(restorer), restorer_rules(restorer))
    buffers = attention_buffers(restorer, counterparts)
    if restorer.vrt.spynet is not None:
        prefix = "spynet." if restorer.spike_branch is None else "vrt.spynet."
        buffers |= {prefix + key: buffer for key, buffer in spynet_buffers().items()}
    return ConvertibleNetwork(name, "restorer", model, counterparts, buffers)


def _has_branch(model: Mapping[str, Any]) -> bool:
    """Whether spikes have a branch of their own, beside which VRT's keys begin with "vrt."."""
    kind = find_fusion(model["spike"]["fusion"])
    return kind is not None and kind.acts != "input"


def restorer_rules(model: Restorer) -> tuple[Rule, ...]:
    """The rules of `model`: a published VRT has its keys at the top, the spike network has them below "vrt."."""
    config = model.vrt.config
    backbone = vrt_rules(upscale=config.upscale, warp_frames=config.warp_frames)
    if model.spike_branch is None:
        return nest("vrt.", "", backbone)
    spikes = model.spike_branch
    assert spikes.kind.torch_form is not None
    branch = spike_branch_rules(spikes.kind.torch_form, scales=ENCODER_SCALES, time=spikes.config.time)
    return (*nest("vrt.", "vrt.", backbone), *nest("spike_branch.", "", branch))


def _spynet() -> ConvertibleNetwork:
    shapes = parameter_shapes(nnx.eval_shape(lambda: SpyNet(rngs=make_rngs(0))))
    return ConvertibleNetwork(SPYNET_NAME, SPYNET_NAME, None, find_counterparts(shapes, SPYNET), spynet_buffers())


def _perceptual(network: Perceptual) -> ConvertibleNetwork:
    shapes = parameter_shapes(nnx.eval_shape(lambda: network.make(make_rngs(0))))
    counterparts = find_counterparts(shapes, network.rules)
    return ConvertibleNetwork(network.kind, network.kind, None, counterparts, network.buffers, network.copies)


def parameter_shapes(model: nnx.Module) -> dict[str, tuple[int, ...]]:
    """{dotted name: shape} of the parameters of a network, which may be shapes alone."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): tuple(variable.shape) for path, variable in flat}


def _below_vrt(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    """A spike branch joined with a VRT that was trained without one has the keys of the latter at the top."""
    if any(key.startswith("vrt.") for key in arrays):
        return arrays
    return {key if key.startswith(_SPIKE_KEYS) else f"vrt.{key}": array for key, array in arrays.items()}
