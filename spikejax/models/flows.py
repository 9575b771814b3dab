"""The flows between the frames of a clip, by any network that estimates the flow of a pair (docs/vrt.md, section 3).

Flow vectors are (dx, dy) in pixels. Names: `backward[k-1][:, t]` brings frame t+k to t, `forward[k-1][:, t]` brings
frame t to t+k. All pairs of neighbouring frames, in both directions, are one batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Float

from spikejax.extensions import find_entry
from spikejax.models.spynet import SpyNet
from spikejax.models.warp import warp


@runtime_checkable
class FlowNetwork(Protocol):
    """What estimates the optical flow of pairs of pictures; an `nnx.Module` that is made by `Entry(rngs=rngs)`."""

    def __call__(
        self, reference: Float[Array, "n h w 3"], supporting: Float[Array, "n h w 3"]
    ) -> tuple[Float[Array, "n _h _w 2"], ...]:
        """The flows at the scales 1, 1/2, 1/4 and 1/8, in pixels of their scale, that warp `supporting` to `reference`.

        Both are RGB in [0, 1], their sides multiples of 8; flows have the pictures' dtype.
        """


# To add a flow network: a module with the call of `FlowNetwork`, and a line here; or model.vrt.flow="FILE.py:NAME".
FLOWS: dict[str, Callable[..., Any]] = {"spynet": SpyNet}


def find_flow_network(name: str) -> Callable[..., Any]:
    """What makes the flow network of that name, called with `rngs`; see `FLOWS`."""
    return find_entry(FLOWS, name, key="model.vrt.flow", kind=Callable)


class ClipFlows(NamedTuple):
    """The flows of a clip at one scale; entry k-1 of each tuple spans k frames and is [b, t-k, h, w, 2]."""

    backward: tuple[Array, ...]
    forward: tuple[Array, ...]


def clip_flows(network: FlowNetwork, clip: Float[Array, "b t h w 3"], reach: int) -> tuple[ClipFlows, ...]:
    """The flows of `clip` at the scales 1, 1/2, 1/4 and 1/8, between frames up to `reach` (1 to 3) apart."""
    batch = clip.shape[0]
    earlier, later = clip[:, :-1], clip[:, 1:]
    # The clips are the outermost axis of the batch, so that one that is split over devices stays split.
    references, supportings = (
        rearrange(jnp.stack(frames), "d b t h w c -> (b d t) h w c") for frames in ((earlier, later), (later, earlier))
    )
    with jax.default_matmul_precision("highest"):  # flows are positions: 8 bits of them would be whole pixels
        flows = network(references, supportings)
    by_scale = []
    for flow in flows:
        backward, forward = rearrange(flow, "(b d t) h w c -> d b t h w c", d=2, b=batch)
        by_scale.append(_compose(backward, forward, reach))
    return tuple(by_scale)


def _compose(backward: Array, forward: Array, reach: int) -> ClipFlows:
    """Longer flows from those between neighbours: to the frame in between, plus the rest where that one leads."""
    backwards, forwards = [backward], [forward]
    for span in range(2, min(reach, backward.shape[1]) + 1):
        near, rest = backwards[-1][:, :-1], backward[:, span - 1 :]
        backwards.append(near + _warp_frames(rest, near))
        near, rest = forwards[-1][:, 1:], forward[:, : forward.shape[1] - span + 1]
        forwards.append(near + _warp_frames(rest, near))
    return ClipFlows(tuple(backwards), tuple(forwards))


def _warp_frames(image: Float[Array, "b t h w c"], flow: Float[Array, "b t h w 2"]) -> Array:
    return warp(image.reshape(-1, *image.shape[2:]), flow.reshape(-1, *flow.shape[2:])).reshape(image.shape)
