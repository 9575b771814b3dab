"""What a configuration computes: mesh, network, optimizer, the places of the state, and the compiled programs of them.

Training runs it, planning compiles it for devices that are not here; so both mean the same step.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax
from flax import nnx
from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.models.restorer import build_restorer
from spikejax.training import step
from spikejax.training.optimizer import make_optimizer, make_schedule
from spikejax.training.parameter_patterns import matching


@dataclasses.dataclass(frozen=True)
class Program:
    """A run before anything is computed or allocated."""

    config: ConfigDict
    mesh: sharding.DeviceMesh
    network: step.NetworkDescription
    schedule: optax.Schedule  # the learning rate by the number of the update, from 0
    optimizer: optax.GradientTransformation
    frozen: Any  # tree of bools: which parameters are never trained
    zeros: Any  # tree of bools: which parameters begin as 0
    abstract: step.TrainState  # shapes, dtypes and places of all that changes

    def fresh_state(self) -> step.TrainState:
        """The state that a run begins with, made where it belongs."""
        return step.create_state(self.network, self.optimizer, self.abstract, zeros=self.zeros)

    def train_step(self) -> Callable[..., Any]:
        """The compiled update, see `make_train_step`."""
        settings = self.config.training
        update = step.Update(
            self.network,
            self.optimizer,
            self.mesh,
            self.frozen,
            seed=self.config.seed,
            accumulate=settings.accumulate,
            ema_decay=settings.ema_decay,
            skip_not_finite=settings.skip_not_finite,
        )
        return step.make_train_step(update, self.abstract)

    def forward(self) -> Callable[..., jax.Array]:
        """The compiled forward pass, see `make_forward`."""
        return step.make_forward(self.network, self.mesh)


def describe_program(
    config: ConfigDict, *, build: step.Build = build_restorer, devices: Sequence[jax.Device] | None = None
) -> Program:
    """What `config` computes.

    Args:
        config: see `spikejax.config.defaults`.
        build: makes the network.
        devices: to compute on, which need not be here; None = all that are.

    Raises:
        InputError: the mesh does not fit the devices, the batch or the crops the mesh; or a value is none of its kind.
    """
    mesh = sharding.make_mesh(config.mesh.to_dict(), devices=devices)
    sharding.check_batch(config.data.batch_size, mesh, accumulate=config.training.accumulate)
    sharding.check_rows(config.data.crop, mesh, owner="data.crop")
    network = step.describe_network(lambda: build(config.model.to_dict(), rngs=nnx.Rngs(config.seed)))
    schedule = make_schedule(config.optimizer, steps=config.training.steps)
    frozen = matching(network.shapes, config.optimizer.frozen, key="optimizer.frozen")
    slow = matching(network.shapes, config.optimizer.slow, key="optimizer.slow")
    zeros = matching(network.shapes, config.training.start_at_zero, key="training.start_at_zero")
    optimizer = make_optimizer(config.optimizer, schedule, network.axes, frozen=frozen, slow=slow)
    abstract = step.abstract_state(network, optimizer, mesh, average=config.training.ema_decay > 0)
    return Program(config, mesh, network, schedule, optimizer, frozen, zeros, abstract)
