"""Where a run begins: at its last checkpoint; else as weights from elsewhere, and fresh where those have nothing."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from spikejax.errors import InputError
from spikejax.hub.resolving import resolve_network
from spikejax.io.paths import AnyPath
from spikejax.io.weights import MismatchError, compare_params, flatten_params, parameter_name
from spikejax.training.checkpoint import Checkpoints
from spikejax.training.program import Program
from spikejax.training.step import TrainState
from spikejax.training.trained_params import read_params


def initial_state(
    program: Program, checkpoints: Checkpoints, loader: Any, *, weights: str, note: Callable[[str], None]
) -> tuple[int, TrainState]:
    """(Updates done, state) that a run goes on with; `loader` is put where that is.

    Args:
        program: the run.
        checkpoints: of its workdir.
        loader: iterator of batches, with `set_state`.
        weights: what a fresh run starts from, see `start_from`; "" = from nothing.
        note: told, in a line, where the run begins.

    Raises:
        InputError: a checkpoint, or the weights to start from, are of another network; or more updates have been left
            out already than the configuration allows.
    """
    allowed, workdir = program.update.skip_not_finite, checkpoints.folder.parent
    restored = checkpoints.restore_last(program.abstract)
    if restored:
        step, state, data_state = restored
        loader.set_state(data_state)
        note(f"continuing from step {step} of {workdir}")
        if int(state.skipped) > allowed:
            expected = f"expected at least {int(state.skipped)}, the updates that the run has left out so far"
            raise InputError(f"training.skip_not_finite: {expected}, found {allowed}: {workdir}")
        return step, state
    state = program.fresh_state()
    if weights:
        state, fresh = start_from(state, weights)
        note(f"starting from {weights}; fresh: {', '.join(fresh) or 'nothing'}")
    return 0, state


def start_from(state: TrainState, path: AnyPath) -> tuple[TrainState, list[str]]:
    """`state` with the parameters of `path`, and the parts of the network that keep their fresh ones.

    Args:
        state: fresh; every parameter that is given a new value keeps its sharding and dtype.
        path: weights (see `read_any_weights` in `spikejax.training.trained_params`), another run's workdir, or the
            name of a network, such as vrt:006.

    Raises:
        InputError: there are no weights, or some that the network does not have or has in another shape.
    """
    given = read_params(resolve_network(path))
    wanted = flatten_params(state.params)
    if problems := [problem for problem in compare_params(given, wanted) if problem.kind != "missing"]:
        raise MismatchError("training.start_from to hold parameters that the network has", problems, path)

    def given_or_fresh(path: jax.tree_util.KeyPath, leaf: jax.Array) -> jax.Array:
        if parameter_name(path) not in given:
            return leaf
        array = given[parameter_name(path)].astype(leaf.dtype)
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: array[index])

    params = jax.tree_util.tree_map_with_path(given_or_fresh, state.params)
    average = None if state.average is None else jax.tree.map(jnp.copy, params)
    started = TrainState(state.step, params, state.optimizer, average, state.skipped)
    return started, parts(wanted.keys() - given.keys(), all_names=wanted)


def parts(names: Any, *, all_names: Any) -> list[str]:
    """The shortest beginnings that `names`, and nothing else of `all_names`, have."""
    rest = [name + "." for name in all_names if name not in names]
    chosen = set()
    for name in names:
        entries = name.split(".")
        beginnings = (".".join(entries[:length]) for length in range(1, len(entries) + 1))
        chosen.add(next(begin for begin in beginnings if not any(other.startswith(begin + ".") for other in rest)))
    return sorted(chosen)
