"""A run under way: its state, and what is done with it (an update, a point of the curves, a save, a validation)."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from spikejax.distributed import hosts, sharding
from spikejax.distributed.stall_watch import CHECKPOINT, COLLECTIVE, DATA, WRITER, compiling, one_done, waiting_for
from spikejax.progress import duration
from spikejax.quality.losses import Loss
from spikejax.quality.metrics import Distance
from spikejax.training.checkpoint import Checkpoints
from spikejax.training.inputs import Inputs
from spikejax.training.monitoring.console import Terminal, summary
from spikejax.training.monitoring.goodput import Goodput
from spikejax.training.monitoring.pending_metrics import PendingMetrics, loss_terms
from spikejax.training.monitoring.profiling import Profiler
from spikejax.training.monitoring.run_writer import RunWriter
from spikejax.training.monitoring.timing import TimeSplit, Utilisation
from spikejax.training.program import Program
from spikejax.training.step import TrainState
from spikejax.training.step_keeper import StepKeeper
from spikejax.training.tile_network import training_validator
from spikejax.training.validation import HostShare, Validation, validate

# Updates that devices may still have before them: enough never to wait for the host. What a signal stops, and what a
# killed process has to do again, is not more.
_RUN_AHEAD = 2


class Trainer:
    """What changes while a run trains; the order of events is the loop's."""

    def __init__(
        self,
        config: ConfigDict,
        program: Program,
        inputs: Inputs,
        checkpoints: Checkpoints,
        terminal: Terminal,
        writer: RunWriter,
        goodput: Goodput,
        keeper: StepKeeper,
        *,
        step: int,
        state: TrainState,
        loss: Loss,
        metrics: Mapping[str, Distance],
    ) -> None:
        """Writes what the run is to its logs; computes nothing.

        Args:
            config: of the run.
            program: what it computes.
            inputs: what it is trained and validated on; `inputs.loader` stands at the next batch.
            checkpoints: where it is saved.
            terminal: where it says how it goes.
            writer: what it is logged with.
            goodput: the account of its time.
            keeper: has the compiled step, or keeps it.
            step: updates done.
            state: after those.
            loss: to minimise.
            metrics: measured in validations, by name.
        """
        self.step, self.state = step, state
        self._program, self._metrics, self._validation = program, metrics, config.validation
        self._inputs, self._checkpoints, self._terminal = inputs, checkpoints, terminal
        self._train_step: Callable[..., Any] | None = None
        self._goodput, self._keeper = goodput, keeper
        # Its weights, if it has any, on every device, once.
        self._loss = jax.device_put(loss, sharding.replicated(program.mesh))
        training = config.training
        self.writer = writer
        self.writer.overview(step, program.abstract.params)
        self._profiler = Profiler(writer.folder / "profile", at=training.profile_at, updates=training.profile_updates)
        self._times = TimeSplit(also=goodput.add)
        self._utilisation = Utilisation(None, program.mesh.devices)
        self._pending = PendingMetrics()
        self._running: deque[Any] = deque()
        # Held while the state changes or is saved; who keeps the last update in the main thread's place never lets go.
        self._changing = threading.RLock()
        self._position = inputs.loader.get_state()
        self._validator = training_validator(config, program, inputs.statistics)

    def update(self) -> None:
        """Starts the next update on the devices; waits for the one `_RUN_AHEAD` before it, and for the first."""
        position = self._position
        with self._times.spent_on("data"), waiting_for(DATA):
            batch = next(self._inputs.loader)
        self._profiler.before_update(self.step + 1)
        batch = sharding.put_batch(batch, self._program.mesh, self._inputs.batch_size)
        if self._train_step is None:
            # Apart from running it: compiling may take as long as it does, waiting for another host's batch may not.
            with compiling(), self._goodput.spent_on("compiling"):
                step = self._keeper.open(self.state, batch, self._loss)
            self._train_step = step.call
            self._utilisation = Utilisation(step.forward_flops, self._program.mesh.devices)
        with waiting_for(COLLECTIVE), self._changing:
            self.state, metrics = self._train_step(self.state, batch, self._loss)
            self.step += 1
            self._position = self._inputs.loader.get_state()
            self._pending.add(self.step, metrics, position)
        self._times.count()
        self._goodput.count(self.step)
        self._running.append(metrics)
        if len(self._running) > _RUN_AHEAD:
            with waiting_for(COLLECTIVE):
                jax.block_until_ready(self._running.popleft())
        self._profiler.after_update(self.step, metrics)
        if not self._terminal.pace.started:
            with waiting_for(COLLECTIVE):
                jax.block_until_ready(metrics)
            self._first_update_done()
        one_done()

    def _first_update_done(self) -> None:
        self._terminal.pace.start(self.step)
        computing = self._times.pop_means()["computing"]  # the clocks of all that follow begin here
        seconds = self._goodput.first_update()
        self._terminal.note(f"{self._keeper.how}, and did the first step, in {duration(computing)}")
        self._terminal.note(f"first update done {duration(seconds)} after the start")
        self.writer.scalars(self.step, "start", {"seconds_to_first_update": seconds})
        self._goodput.write(at_once=True)

    def check_finite(self) -> None:
        """Waits for the devices; raises FloatingPointError if more updates were not finite than allowed."""
        allowed = self._program.update.skip_not_finite
        with waiting_for(COLLECTIVE):
            not_finite = self._pending.read_not_finite()
        for failed in not_finite:
            clips = self._inputs.names(failed.update - 1)
            if failed.skipped > allowed:
                kept = self._checkpoints.save_not_finite(self.state, failed, clips, allowed=allowed)
                raise FloatingPointError(f"{failed}, of {', '.join(clips)}; the state before it is in {kept}")
            self._terminal.note(f"left out: {failed}, of {', '.join(clips)}")

    def log(self) -> None:
        """Adds a point to the curves and a line to the terminal, of the updates since the one before."""
        self._checkpoints.check()  # or many hosts would train on until the next save, for nothing
        self.check_finite()
        means = self._pending.pop_means()
        self._terminal.update(self.step, means["loss"], loss_terms(means))
        self.writer.scalars(
            self.step, "training", means | {"learning_rate": float(self._program.schedule(self.step - 1))}
        )
        spent = self._times.pop_means()
        if spent:  # else there was the first update alone, whose time is that of compiling
            self.writer.scalars(self.step, "seconds_an_update", spent)
            rate = 1 / sum(spent.values())
            clips = {"updates_a_second": rate, "clips_a_second": rate * self._inputs.batch_size}
            self.writer.scalars(self.step, "speed", clips | self._utilisation(spent))
        self.writer.scalars(self.step, "goodput", self._goodput.totals())
        self._goodput.write()

    def save(self) -> None:
        """Starts saving all that continuing needs, unless that was just done."""
        self.check_finite()  # or a state in which nothing changes any more would become the last
        with self._times.spent_on("saving"):
            with waiting_for(WRITER):
                self._goodput.write(at_once=True)
                self.writer.flush()
            with waiting_for(CHECKPOINT), self._changing:
                self._checkpoints.save_last(self.step, self.state, self._position)

    def rescue(self) -> str:
        """Keeps the last update, from another thread, while the main one waits for something; what to say of it.

        From then on the main thread changes nothing any more, as the process is to end, unless the update could not be
        kept. The curves stay as they are.
        """
        self._changing.acquire()
        try:
            self.check_finite()
            self._checkpoints.save_last(self.step, self.state, self._position)
            self._checkpoints.wait()
        except BaseException:
            self._changing.release()
            raise
        return f"step {self.step} is kept; the same command continues from there"

    def validate(self, *, pictures: int, stop: Callable[[], bool]) -> Validation | None:
        """Measures the network, keeps it if it is the best so far, and returns what was measured.

        Args:
            pictures: of how many sequences one is shown.
            stop: asked now and then, on all hosts alike; once it says so the validation ends and returns None.
        """
        with self._times.spent_on("validation"):
            validation = self._measure(pictures, stop)
            if validation is not None:
                with waiting_for(CHECKPOINT):
                    self._checkpoints.save_best(self.step, self.state.best_params, validation.scores)
                scores = validation.scores
                if validation.black_tiles:
                    scores = scores | {"black_tiles": validation.black_tiles}
                    self._terminal.note(f"{validation.black_tiles} tiles were not finite; they are measured as black")
                with waiting_for(WRITER):
                    self.writer.scalars(self.step, "validation", scores)
                    self.writer.pictures(self.step, validation.pictures)
                self._terminal.note(f"step {self.step}: {summary(validation.scores)}")
        return validation

    def close(self) -> None:
        """Waits until everything is on disk but the logs, which `writer.close` ends."""
        self._profiler.close()
        with waiting_for(CHECKPOINT), self._times.spent_on("saving"):
            self._checkpoints.close()
        self._goodput.write(at_once=True)

    def _measure(self, pictures: int, stop: Callable[[], bool]) -> Validation | None:
        self._validator.network.params = self.state.best_params
        return validate(
            self._validator,
            self._inputs.val_set,
            limit=self._validation.sequences,
            pictures=pictures,
            measures=self._metrics,
            share=HostShare(jax.process_index(), jax.process_count(), hosts.sum_over_hosts),
            stop=stop,
            task="validating" if hosts.is_first() else "",
        )
