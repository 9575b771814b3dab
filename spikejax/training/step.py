"""The training state, how it comes into being on the mesh, and the two compiled programs: update and forward pass.

The network is split once into a static graph and a plain dict of arrays; everything below is a pure function of such
dicts under plain `jax.jit`, whose call is an order of magnitude cheaper than `nnx.jit`'s on a thousand arrays.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.distributed.sharding import DeviceMesh
from spikejax.errors import InputError
from spikejax.kernels.choice import trace_for
from spikejax.models.traits import NetworkTraits, traits_of
from spikejax.quality.losses import Batch, Loss, evaluate_terms

# (the `model` part of the configuration as a dict, *, rngs) -> network, as spikejax.models.restorer.build_restorer
Build = Callable[..., nnx.Module]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that changes from update to update; the same tree also holds its shapes or its shardings.

    Attributes:
        step: updates done, int32.
        params: nested dict of float32 arrays.
        optimizer: moments and counters.
        average: exponential moving average of `params`, the same dict; None = not kept.
        skipped: updates left out because a loss or gradient was not finite, int32.
    """

    step: Any
    params: Any
    optimizer: optax.OptState
    average: Any
    skipped: Any

    @property
    def best_params(self) -> Any:
        """The parameters to validate and to restore with: the average if there is one."""
        return self.params if self.average is None else self.average


@dataclasses.dataclass(frozen=True)
class NetworkDescription:
    """A network without its numbers.

    Attributes:
        build: makes one with fresh parameters.
        graph: nnx.merge(graph, params) makes the network of parameters.
        shapes: nested dict of ShapeDtypeStructs.
        axes: the same dict of each parameter's logical dimension names.
        traits: what it does to a clip.
    """

    build: Callable[[], nnx.Module]
    graph: nnx.GraphDef
    shapes: Any
    axes: Any
    traits: NetworkTraits

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.shapes))


def batch_shapes(
    data: ConfigDict, traits: NetworkTraits, *, spike_ratio: int | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """What a batch over all hosts is made of.

    Args:
        data: the `data` section of the configuration.
        traits: of the network that it is for.
        spike_ratio: size of the sharp pictures over that of the spikes; None = spikes are as large as the input.
    """
    frames, side = data.frames, data.crop
    restored, restored_side = 1 if traits.interpolates else frames, side * traits.upscale
    shapes = {
        "input": (frames, side, side, traits.input_channels),
        "sharp": (restored, restored_side, restored_side, traits.picture_channels),
    }
    if traits.spike_bins is not None:
        spike_side = side if spike_ratio is None else restored_side // spike_ratio
        shapes["voxels"] = (frames, spike_side, spike_side, traits.spike_bins)
    return {name: jax.ShapeDtypeStruct((data.batch_size, *shape), jnp.float32) for name, shape in shapes.items()}


def describe_network(build: Callable[[], nnx.Module]) -> NetworkDescription:
    """The network that `build` makes, without making it: nothing is computed or allocated."""
    model: Any = nnx.eval_shape(build)
    graph, state = nnx.split(model)
    axes = jax.tree.map(lambda param: param.axes, state, is_leaf=lambda node: isinstance(node, nnx.Variable))
    return NetworkDescription(
        build=build,
        graph=graph,
        shapes=nnx.to_pure_dict(state),
        axes=nnx.to_pure_dict(axes),
        traits=traits_of(model),
    )


def abstract_state(
    network: NetworkDescription, optimizer: optax.GradientTransformation, mesh: DeviceMesh, *, average: bool = False
) -> TrainState:
    """The state as ShapeDtypeStructs that carry their shardings: what to create, or to restore, where.

    The optimizer's moments and the average lie where their parameters lie; counters are on every device.
    """
    param_shardings = sharding.parameter_shardings(network.shapes, network.axes, mesh)
    everywhere = sharding.replicated(mesh)
    params = jax.tree.map(_placed, network.shapes, param_shardings)
    param_of = dict(jax.tree_util.tree_leaves_with_path(params))

    def placed_moment(path: jax.tree_util.KeyPath, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        # A moment's path in the optimizer's state ends with the path of its parameter. Only one of the parameter's own
        # shape lies like it: factored moments (Adafactor's rows and columns) have fewer dimensions, and are small.
        ends = (path[start:] for start in range(len(path)))
        param = next((param_of[end] for end in ends if end in param_of), None)
        return _placed(leaf, param.sharding if param is not None and param.shape == leaf.shape else everywhere)

    counter = jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere)
    return TrainState(
        step=counter,
        params=params,
        optimizer=jax.tree_util.tree_map_with_path(placed_moment, jax.eval_shape(optimizer.init, network.shapes)),
        average=params if average else None,
        skipped=counter,
    )


def create_state(
    network: NetworkDescription, optimizer: optax.GradientTransformation, abstract: TrainState, *, zeros: Any
) -> TrainState:
    """A fresh state, made by one compiled program where it belongs: no device ever holds all of it.

    Args:
        network: the network.
        optimizer: the optimizer.
        abstract: `abstract_state` of both.
        zeros: tree of bools: which parameters begin as 0 rather than as the network draws them.
    """

    def create() -> TrainState:
        drawn = nnx.to_pure_dict(nnx.split(network.build())[1])
        params = jax.tree.map(lambda leaf, zero: jnp.zeros_like(leaf) if zero else leaf, drawn, zeros)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            optimizer=optimizer.init(params),
            average=None if abstract.average is None else jax.tree.map(jnp.copy, params),
            skipped=jnp.zeros((), jnp.int32),
        )

    # Hundreds of small random draws that run once. On CPU, optimising each of them takes minutes and gains nothing.
    on_cpu = abstract.step.sharding.mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    return jax.jit(create, out_shardings=_shardings_of(abstract), compiler_options=options)()


@dataclasses.dataclass(frozen=True, eq=False)
class Update:
    """What a batch does to the state: (state, batch, loss) -> (state, metrics), see `make_train_step`.

    Attributes:
        network: the network.
        optimizer: the optimizer.
        mesh: the devices.
        frozen: tree of bools: which parameters need no gradient. What leads to them alone is not computed.
        seed: of stochastic depth.
        accumulate: parts of the batch that are computed one after the other; the gradient is their mean.
        ema_decay: of the average, if the state has one.
        skip_not_finite: updates whose loss or gradient is not finite that are left out before all stops.
        precision: of float32 products, see `spikejax.inference.precision`.
        deterministic: whether GPUs add up in a fixed order, so that the same update gives the same bits each time.
    """

    network: NetworkDescription
    optimizer: optax.GradientTransformation
    mesh: DeviceMesh
    frozen: Any
    seed: int
    accumulate: int = 1
    ema_decay: float = 0.0
    skip_not_finite: int = 0
    precision: str = "default"
    deterministic: bool = False

    def __call__(self, state: TrainState, batch: Batch, loss: Loss) -> tuple[TrainState, dict[str, Array]]:
        """The state after a batch; and "loss", each of its terms as "loss/NAME", "gradient_norm" and "skipped"."""
        key = jax.random.fold_in(jax.random.key(self.seed), state.step)
        differentiate = self._differentiate if self.accumulate == 1 else self._differentiate_in_parts
        with trace_for(sharding.kernel_target(self.mesh)), jax.default_matmul_precision(self.precision):
            (value, terms), gradient = differentiate(state.params, batch, loss, key)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        # Once too many were not finite nothing changes any more, until somebody looks.
        used = finite & (state.skipped <= self.skip_not_finite)
        before = (state.params, state.optimizer, state.average)
        after = self._apply(gradient, state)
        params, optimizer, average = jax.tree.map(lambda new, old: jnp.where(used, new, old), after, before)
        skipped = state.skipped + (~finite).astype(jnp.int32)
        metrics = {"loss": value} | {f"loss/{name}": term for name, term in terms.items()}
        metrics |= {"gradient_norm": norm, "skipped": skipped}
        return TrainState(state.step + 1, params, optimizer, average, skipped), metrics

    def _differentiate(self, params: Any, batch: Batch, loss: Loss, key: Array) -> tuple[tuple[Array, Any], Any]:
        """((the loss, its terms), the gradient by `params`)."""

        def loss_of(params: Any) -> tuple[Float[Array, ""], dict[str, Array]]:
            params = jax.tree.map(
                lambda leaf, still: jax.lax.stop_gradient(leaf) if still else leaf, params, self.frozen
            )
            restored = nnx.merge(self.network.graph, params)(batch["input"], batch.get("voxels"), key=key)
            if restored.shape != batch["sharp"].shape:  # a loss would broadcast, and teach something else
                raise InputError(
                    f"expected the network to make clips {batch['sharp'].shape} like the sharp ones (batch, frames, "
                    f"rows, columns, channels), found {restored.shape} of an input {batch['input'].shape}"
                )
            return evaluate_terms(loss, restored, batch)

        return jax.value_and_grad(loss_of, has_aux=True)(params)

    def _differentiate_in_parts(
        self, params: Any, batch: Batch, loss: Loss, key: Array
    ) -> tuple[tuple[Array, Any], Any]:
        """The same, as the mean over `accumulate` parts of the batch that are computed one after the other."""
        # Strided, not cut: every device's part of the batch has its share of each part.
        strided = jax.tree.map(lambda leaf: rearrange(leaf, "(b part) ... -> part b ...", part=self.accumulate), batch)

        def add(total: Any, part: tuple[Batch, Array]) -> tuple[Any, None]:
            clips = jax.lax.with_sharding_constraint(part[0], sharding.batch_sharding(self.mesh))
            one = self._differentiate(params, clips, loss, jax.random.fold_in(key, part[1]))
            return jax.tree.map(jnp.add, total, one), None

        scalar = jnp.zeros((), jnp.float32)
        zeros = (scalar, dict.fromkeys(loss, scalar)), jax.tree.map(jnp.zeros_like, params)
        total, _ = jax.lax.scan(add, zeros, (strided, jnp.arange(self.accumulate)))
        return jax.tree.map(lambda leaf: leaf / self.accumulate, total)

    def _apply(self, gradient: Any, state: TrainState) -> tuple[Any, Any, Any]:
        """Parameters, optimizer's state and average after a step along the gradient."""
        changes, optimizer_state = self.optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, changes)
        average = state.average
        if average is not None:
            decay = self.ema_decay
            average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, params)
        return params, optimizer_state, average


def make_train_step(
    update: Update, abstract: TrainState
) -> Callable[[TrainState, Batch, Loss], tuple[TrainState, dict[str, Array]]]:
    """The compiled update: (state, batch, loss) -> (state, {"loss", "loss/NAME", ..., "gradient_norm", "skipped"}).

    The state given is donated: its memory becomes the new one's, and it must not be used again. Stochastic depth draws
    from (seed, number of the update) alone, so that a continued run draws as the uninterrupted one.

    A batch whose loss or gradient is not finite changes nothing but the counters `step` and `skipped`. Once more than
    `skip_not_finite` were skipped no batch does: the state stays as that batch met it until somebody looks.

    Args:
        update: what a batch does.
        abstract: `abstract_state` of its network and optimizer, which says where everything lies.
    """
    shardings = _shardings_of(abstract)
    everywhere = sharding.replicated(update.mesh)
    on_gpu = update.mesh.devices[0].platform in ("cuda", "gpu")
    # Of the program alone, not of the process as XLA_FLAGS would be: other programs keep their speed.
    options = {"xla_gpu_deterministic_ops": True} if update.deterministic and on_gpu else None

    def train_step(state: TrainState, batch: Batch, loss: Loss) -> tuple[TrainState, dict[str, Array]]:
        return update(state, batch, loss)

    return jax.jit(
        train_step,
        in_shardings=(shardings, sharding.batch_sharding(update.mesh), everywhere),
        out_shardings=(shardings, everywhere),
        donate_argnums=0,
        compiler_options=options,
    )


def make_forward(
    network: NetworkDescription, mesh: DeviceMesh, *, precision: str = "default"
) -> Callable[[Any, Array, Array | None], Float[Array, "b t h w 3"]]:
    """The compiled deterministic forward pass: (params, input, voxels or None) -> restored clips.

    One program is kept per shape of clips. Rows are split over `space` whether it divides them or not; what comes back
    is split along the batch alone, so that whoever has a part of a clip has all of it.
    """

    def forward(params: Any, clips: Array, voxels: Array | None) -> Array:
        clips, voxels = jax.lax.with_sharding_constraint((clips, voxels), sharding.batch_sharding(mesh))
        with trace_for(sharding.kernel_target(mesh)), jax.default_matmul_precision(precision):
            return nnx.merge(network.graph, params)(clips, voxels, key=None)

    return jax.jit(forward, out_shardings=sharding.clip_sharding(mesh))


def _placed(leaf: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _shardings_of(abstract: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: leaf.sharding, abstract)
