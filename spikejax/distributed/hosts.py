"""Many hosts: JAX's multi-controller runtime, joined by what the scheduler says or by flags.

Every host runs the same program on its own devices and its own part of the data. What differs is here: who writes, and
what hosts tell each other. With a single host all of it does nothing.
"""

import argparse
import atexit
import functools
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from spikejax.cli import EXIT_INPUT_ERROR, STALL_SECONDS, tell_failure_to
from spikejax.distributed.failure_watch import FailureWatch
from spikejax.distributed.stall_watch import COLLECTIVE, StallWatch, waiting_for
from spikejax.errors import InputError
from spikejax.io.paths import UserPath

# How much longer than we the runtime waits for a host.
_LATER_SECONDS = 60


def join(
    coordinator: str | None, processes: int | None, process: int | None, *, wait_seconds: int, heartbeat_seconds: int
) -> None:
    """Joins the other hosts of the run; to be called before anything that uses a device.

    Without any of the first three, JAX looks for Slurm, GKE (JobSet), Cloud TPU or Open MPI in the environment; if
    there is none this process is alone.

    Args:
        coordinator: HOST:PORT of process 0.
        processes: their number; 1 = alone, whatever the environment says.
        process: this one's number, from 0.
        wait_seconds: how long to wait for the others to come.
        heartbeat_seconds: a host that says nothing for that long is dead, and ends the others.

    Raises:
        InputError: only some of the three are given, or the others do not come in time.
    """
    given = (coordinator, processes, process)
    if processes == 1:
        return
    if any(value is not None for value in given):
        if coordinator is None or processes is None or process is None:
            raise InputError("expected --coordinator, --num-processes and --process-id together or none of them")
        if not 0 <= process < processes or not coordinator.rpartition(":")[2].isdigit():
            raise InputError(
                "expected --coordinator HOST:PORT and --process-id from 0 to --num-processes - 1, "
                f"found {coordinator}, {process} of {processes}"
            )
    # Signals are ours to handle (`stopping`): the service would keep SIGTERM from ending a process that prepares.
    jax.config.update("jax_enable_preemption_service", False)
    # JAX's runtime ends the process with a stack trace when a host does not come; a line comes before that.
    watch = threading.Timer(wait_seconds, _give_up, [given, wait_seconds])
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            *given,
            cluster_detection_method=None if coordinator is None else "deactivate",
            initialization_timeout=wait_seconds + _LATER_SECONDS,
            heartbeat_timeout_seconds=heartbeat_seconds,
        )
    except (ValueError, RuntimeError) as error:
        # No scheduler that JAX knows, or a program that has computed alone before.
        alone = "coordinator_address should be defined", "must be called before any"
        if coordinator is None and any(words in str(error) for words in alone):
            return
        raise InputError(f"cannot join the other hosts: {error}") from error
    finally:
        watch.cancel()
    _end_with_others()


def join_as(options: argparse.Namespace) -> None:
    """Joins the other hosts as the flags say that `spikejax.cli.add_hosts` has added."""
    join(
        options.coordinator,
        options.num_processes,
        options.process_id,
        wait_seconds=options.wait_seconds,
        heartbeat_seconds=options.heartbeat_seconds,
    )


def _give_up(given: tuple[str | None, int | None, int | None], seconds: int) -> NoReturn:
    coordinator, processes, process = given
    who = "" if coordinator is None else f" (this is process {process} of {processes}, the coordinator {coordinator})"
    print(f"spikejax: error: the other hosts of the run did not come within {seconds} s{who}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(EXIT_INPUT_ERROR)  # the main thread waits in the runtime, where no exception reaches it


class _KeyValueStore:
    """What hosts say to each other without devices, a `Board`: the key-value store of JAX's coordination service."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def write(self, key: str, text: str) -> None:
        """See `Board`."""
        self._client.key_value_set(f"spikejax/{key}", text, allow_overwrite=True)

    def read(self, folder: str) -> dict[str, str]:
        """See `Board`."""
        return {key.rpartition("/")[2]: text for key, text in self._client.key_value_dir_get(f"spikejax/{folder}/")}


def _end_with_others() -> None:
    """Lets a host that fails end the others, see `spikejax.distributed.failure_watch`."""
    service = _service()  # rather than JAX, which would use the devices to tell
    if service.num_processes > 1:
        watch = FailureWatch(_board(), process=service.process_id, processes=service.num_processes)
        tell_failure_to(watch.tell)
        atexit.register(watch.stop)  # runs before what JAX has registered: leaving the service
        watch.start()


def _board() -> _KeyValueStore:
    return _KeyValueStore(_service().client)


def _service() -> Any:
    from jax._src import distributed  # which has no public name yet; orbax asks it as well

    return distributed.global_state


def watch_for_stalls(seconds: int | None, folder: UserPath) -> StallWatch:
    """A context in which the process ends when all hosts stand still, see `spikejax.distributed.stall_watch`.

    Args:
        seconds: what --stall-seconds says.
        folder: for the stacks.
    """
    processes = jax.process_count()
    if seconds is None:
        seconds = STALL_SECONDS if processes > 1 else 0
    if processes == 1:
        return StallWatch(seconds, folder)
    return StallWatch(seconds, folder, process=jax.process_index(), processes=processes, board=_board())


def is_first() -> bool:
    """Whether this is the host that writes logs."""
    return jax.process_index() == 0


@contextmanager
def first_host_first(task: str) -> Iterator[None]:
    """Lets the first host through the block before the others, who find done what it has done.

    Args:
        task: name of the block, the same on every host.
    """
    if not is_first():
        wait_for_all(task)
    yield
    if is_first():
        wait_for_all(task)


def wait_for_all(point: str) -> None:
    """Waits until every host has come to this point."""
    if jax.process_count() > 1:
        with waiting_for(COLLECTIVE):
            multihost_utils.sync_global_devices(point)


def on_any(flag: bool) -> jax.Array:
    """Whether `flag` is set on any host, as an array that need not be there yet; all hosts have to ask."""
    share, program = _any_program()
    flags = np.full(jax.device_count(), flag)
    return program(jax.make_array_from_callback(flags.shape, share, flags.__getitem__))


@functools.cache
def _any_program() -> tuple[NamedSharding, Callable[[jax.Array], jax.Array]]:
    mesh = jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(AxisType.Auto,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec("devices")), jax.jit(jax.numpy.any, out_shardings=everywhere)


@contextmanager
def failing_together() -> Iterator[None]:
    """Ends its block with an error on all hosts if there is one on any; all have to come to it.

    Raises:
        InputError: another host's block failed. What failed here comes out as it is.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001, raised again once the others know
        failure = error
    others = jax.process_count() > 1 and bool(on_any(failure is not None))
    if failure is not None:
        raise failure
    if others:
        raise InputError("another host of the run cannot go on and says why")


def gather_from_all(array: np.ndarray) -> np.ndarray:
    """Every host's array, [hosts, ...], exact in its own dtype; shapes and dtypes must be the same on all."""
    if jax.process_count() == 1:
        return array[np.newaxis]
    # As bytes, since device arrays would turn float64 into float32.
    row = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    with waiting_for(COLLECTIVE):
        rows = np.asarray(multihost_utils.process_allgather(row))
    return rows.view(array.dtype).reshape(-1, *array.shape)


def sum_over_hosts(array: np.ndarray) -> np.ndarray:
    """The sum of every host's array, exact in its own dtype; shapes and dtypes must be the same on all."""
    return gather_from_all(array).sum(axis=0, dtype=array.dtype)


def check_same(description: str, what: str) -> None:
    """Raises InputError on all hosts unless they all describe `what` alike."""
    checksums = gather_from_all(np.array([zlib.crc32(description.encode())], np.uint32))[:, 0]
    if different := np.flatnonzero(checksums != checksums[0]).tolist():
        raise InputError(f"expected the same {what} on all hosts, process {different[0]} has others than process 0")
