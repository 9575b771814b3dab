"""Where a run gets its compiled training step: from a given file, from one that an earlier start kept, or anew."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from spikejax.distributed import hosts
from spikejax.errors import InputError, one_line
from spikejax.progress import say_detail
from spikejax.training.kept_step import KeptStep, check_step, kept_file, read_step, write_step
from spikejax.training.monitoring.timing import flops_of_forward
from spikejax.training.program import Program
from spikejax.training.step_identity import code_of, step_arguments, step_identity

_HIT = "/jax/compilation_cache/cache_hits"
_hits: list[str] = []  # what JAX has found in its cache since anybody asked


@functools.cache
def _listen() -> None:
    def note_hit(event: str, **_: Any) -> None:
        if event == _HIT:
            _hits.append(event)

    jax.monitoring.register_event_listener(note_hit)


def _compile(lowered: Any) -> tuple[jax.stages.Compiled, bool]:
    """The program, and whether it was compiled here and now.

    One that JAX has read from its own cache cannot be kept: of CPUs' (jaxlib 0.10.2) what is serialised again lacks
    functions, and calling it ends in "NOT_FOUND: Function broadcast_bitcast_fusion not found".
    """
    _listen()
    _hits.clear()
    compiled = lowered.compile()
    return compiled, not _hits


class _Reading:
    """A step that is read in the background: loading a program for CPUs takes about as long as all else of a start."""

    def __init__(self, path: Path, identity: Mapping[str, str], arguments: tuple[Any, Any, Any]) -> None:
        """Begins."""
        self._outcome: KeptStep | InputError | None = None

        def read() -> None:
            try:
                self._outcome = read_step(path, identity, arguments)
            except InputError as error:
                self._outcome = error

        self._thread = threading.Thread(target=read, name="compiled step", daemon=True)
        self._thread.start()

    def result(self) -> KeptStep:
        """The step; raises InputError as `read_step` does."""
        self._thread.join()
        assert self._outcome is not None
        if isinstance(self._outcome, InputError):
            raise self._outcome
        return self._outcome


class StepKeeper:
    """The compiled step of one run.

    Attributes:
        how: the step was come by, once it is opened: for a line to the user.
    """

    def __init__(
        self,
        config: ConfigDict,
        program: Program,
        loss: Any,
        *,
        own_network: bool,
        spike_ratio: int | None,
        folder: Path | None,
        given: Path | None,
        note: Callable[[str], None],
    ) -> None:
        """Looks whether what is given is this run's, and begins to load it, or what is kept.

        Args:
            config: of the run.
            program: what it computes.
            loss: to minimise.
            own_network: whether the network is made by somebody's own code.
            spike_ratio: see `spikejax.training.step.batch_shapes`.
            folder: where steps are kept; None = they are not.
            given: the file to take the step from; None = no file is given.
            note: told what happens, in a line.

        Raises:
            InputError: what is given cannot be read, or is another run's step.
        """
        self.how = "compiled"
        self._program, self._given, self._note = program, given, note
        self._file: Path | None = None
        self._reading: _Reading | None = None
        arguments = step_arguments(config, program, loss, spike_ratio=spike_ratio)
        self._batch = arguments[1]
        code = "the network" if own_network else code_of(config)
        if given is not None and code is not None:
            raise InputError(f"--compiled: expected a run without code of somebody's own, found it for {code}: {given}")
        if code is not None:
            return  # it may change without its name
        self._identity = step_identity(config, program, arguments)
        if given is not None:
            with hosts.failing_together():
                check_step(given, self._identity)
        elif folder is not None:
            self._file = kept_file(folder, self._identity)
        read_from = given or self._file
        if read_from is not None and read_from.exists():
            self._reading = _Reading(read_from, self._identity, arguments)

    def open(self, state: Any, batch: Any, loss: Any) -> KeptStep:
        """The step, which is loaded, or compiled and kept; all hosts load it or all compile it.

        Args:
            state: that it will be called with.
            batch: the same.
            loss: the same.

        Raises:
            InputError: what is given is damaged, or is no program for these devices.
        """
        if self._given is not None:
            self.how = f"took the compiled step of {self._given}"
            with hosts.failing_together():
                assert self._reading is not None
                return self._reading.result()
        kept = self._read_kept()
        if kept is not None:
            self.how = "took the step that was compiled before"
            return kept
        self._note("compiling the training step ...")
        step: Any = self._program.train_step()
        compiled, is_new = _compile(step.lower(state, batch, loss))
        flops = flops_of_forward(
            self._program.forward(), self._program.abstract.params, self._batch, self._program.mesh.devices[0]
        )
        if is_new:
            self._keep(compiled, state, flops)
        return KeptStep(compiled, flops)

    def _read_kept(self) -> KeptStep | None:
        """The step that was kept, if every host has it; one that compiled alone might wait for the others for ever."""
        kept = None
        if self._reading is not None:
            try:
                kept = self._reading.result()
            except InputError as error:
                say_detail(f"the step is compiled again: {one_line(error)}")
        if jax.process_count() > 1:
            everywhere = hosts.gather_from_all(np.array([kept is not None], np.uint8))
            return kept if everywhere.all() else None
        return kept

    def _keep(self, compiled: jax.stages.Compiled, state: Any, flops: float | None) -> None:
        if self._file is None:
            return
        try:
            write_step(self._file, compiled, self._identity, state, forward_flops=flops)
        except (ValueError, OSError) as error:  # a start that is slower, but a start
            say_detail(f"the compiled step is not kept: {one_line(error)}")
