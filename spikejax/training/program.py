"""What a configuration computes: mesh, network, optimizer, the places of the state, and the compiled programs of them.

Training runs it, planning compiles it for devices that are not here; so both mean the same step.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.errors import InputError
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training import step
from spikejax.training.optimizer import make_optimizer, make_schedule
from spikejax.training.parameter_patterns import matching


@dataclasses.dataclass(frozen=True)
class Program:
    """A run before anything is computed or allocated.

    Attributes:
        network: the network.
        update: what a batch does to the state.
        schedule: the learning rate by the number of the update, from 0.
        zeros: tree of bools: which parameters begin as 0.
        abstract: shapes, dtypes and places of all that changes.
    """

    network: step.NetworkDescription
    update: step.Update
    schedule: optax.Schedule
    zeros: Any
    abstract: step.TrainState

    @property
    def mesh(self) -> sharding.DeviceMesh:
        """The devices that it runs on."""
        return self.update.mesh

    def fresh_state(self) -> step.TrainState:
        """The state that a run begins with, made where it belongs."""
        return step.create_state(self.network, self.update.optimizer, self.abstract, zeros=self.zeros)

    def train_step(self) -> Callable[..., Any]:
        """The compiled update, see `make_train_step`."""
        return step.make_train_step(self.update, self.abstract)

    def forward(self) -> Callable[..., jax.Array]:
        """The compiled forward pass, see `make_forward`."""
        return step.make_forward(self.network, self.mesh, precision=self.update.precision)


def describe_program(
    config: ConfigDict, *, build: step.Build = build_restorer, devices: Sequence[jax.Device] | None = None
) -> Program:
    """What `config` computes.

    Args:
        config: see `spikejax.config.defaults`.
        build: makes the network.
        devices: to compute on, which need not be here; None = all that are.

    Raises:
        InputError: the mesh does not fit the devices, the batch or the crops the mesh; a pattern fits no parameter, or
            freezes all.
    """
    data, optimizer, training = config.data, config.optimizer, config.training
    mesh = sharding.make_mesh(config.mesh.to_dict(), devices=devices)
    sharding.check_batch(data.batch_size, mesh, accumulate=training.accumulate)
    sharding.check_rows(data.crop, mesh, owner="data.crop")
    network = step.describe_network(lambda: build(config.model.to_dict(), rngs=make_rngs(config.seed)))
    frozen = matching(network.shapes, optimizer.frozen, key="optimizer.frozen")
    slow = matching(network.shapes, optimizer.slow, key="optimizer.slow")
    zeros = matching(network.shapes, training.start_at_zero, key="training.start_at_zero")
    if all(jax.tree.leaves(frozen)):
        raise InputError(f"optimizer.frozen: expected to leave parameters to train, found {optimizer.frozen!r} for all")
    schedule = make_schedule(optimizer, steps=training.steps)
    update = step.Update(
        network,
        make_optimizer(optimizer, schedule, network.axes, frozen=frozen, slow=slow),
        mesh,
        frozen,
        seed=config.seed,
        accumulate=training.accumulate,
        ema_decay=training.ema_decay,
        skip_not_finite=training.skip_not_finite,
        precision=config.model.precision,
        deterministic=training.deterministic,
    )
    abstract = step.abstract_state(network, update.optimizer, mesh, average=training.ema_decay > 0)
    return Program(network, update, schedule, zeros, abstract)
