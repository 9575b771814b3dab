"""The runs of an experiment: which there are, where they lie, and what of each is done.

DIR/runs/VARIANT/seed_N                     a run, a workdir as training leaves it
DIR/runs/VARIANT/seed_N/evaluations/NAME    what `spikejax.evaluate` writes of a checkpoint
DIR/runs/VARIANT/seed_N/evaluated/NAME      pictures of the same: input, restored and sharp side by side
DIR/data/HASH                               embedded data sets, which runs of the same settings share
DIR/locks                                   a file per run, locked by the process that works on it

A run is done when its last checkpoint is of the last update and every evaluation is of that checkpoint. So there is no
journal that could say otherwise, and a process that is killed leaves nothing that has to be undone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
from ml_collections import ConfigDict

from spikejax.config.files import load_config
from spikejax.config.keys import leaves
from spikejax.errors import InputError, did_you_mean
from spikejax.experiments.spec import Evaluation, Experiment
from spikejax.io.json_files import read_json
from spikejax.quality.score_files import SCORES_FILE
from spikejax.training.monitoring.metrics_log import METRICS_LOG, read_points

DATA, LOCKS, RUNS = "data", "locks", "runs"
EVALUATIONS, PICTURES = "evaluations", "evaluated"
# Changes of these leave a network's batches as they are.
_NOT_OF_BATCHES = {"data.threshold_factor", "data.workers"}


@dataclass(frozen=True)
class Run:
    """A network of a variant.

    Attributes:
        variant: its name.
        seed: of what the network begins as.
        config: of its training, checked.
        workdir: where it is trained.
        lock: the file that a process holds while it works on it.
    """

    variant: str
    seed: int
    config: ConfigDict
    workdir: Path
    lock: Path

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def updates(self) -> int:
        """How many updates it will have."""
        return self.config.training.steps

    def done_updates(self) -> int:
        """How many of them the newest checkpoint has."""
        names = (path.name for path in self.workdir.glob("checkpoints/last/[0-9]*"))
        return max((int(name) for name in names if name.isdigit()), default=0)

    def is_trained(self) -> bool:
        """Whether it is trained to the end, the validation there included."""
        if self.done_updates() < self.updates:
            return False
        points = read_points(self.workdir / METRICS_LOG)
        return any(point.step == self.updates and point.group == "validation" for point in points)

    def scores(self, name: str, evaluation: Evaluation) -> dict[str, Any] | None:
        """What an evaluation of the last update measured, as metrics.json has it; None if it is not done."""
        content = read_json(self.workdir / EVALUATIONS / name / SCORES_FILE)
        expected = evaluation_header(self, evaluation)
        return content if content is not None and {key: content.get(key) for key in expected} == expected else None

    def missing(self, evaluations: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
        """The evaluations that are not done."""
        return {name: entry for name, entry in evaluations.items() if self.scores(name, entry) is None}

    def is_done(self, evaluations: Mapping[str, Evaluation]) -> bool:
        """Whether it is trained, and measured at every evaluation."""
        return self.is_trained() and not self.missing(evaluations)


def evaluation_header(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """What metrics.json says of how a run was measured; what has another header has to be measured again."""
    return {"checkpoint": f"last/{run.updates}", "evaluation": asdict(evaluation)}


def plan_runs(experiment: Experiment, workdir: Path, overrides: Sequence[str] = ()) -> list[Run]:
    """The runs, the first seed of every variant first: so that a table of all of them is there early.

    Args:
        experiment: what to do.
        workdir: of the experiment.
        overrides: changes for all variants, after those of the experiment's file.

    Raises:
        InputError: a variant's configuration has an unknown key or a value that it cannot have.
    """
    configs = {}
    for name, variant in experiment.variants.items():
        with naming(f"variant {name}"):
            changes = [*experiment.overrides, *variant.overrides, *overrides]
            config = load_config(experiment.base, changes)
            # The batches are those of the first seed, whatever the network begins as.
            with config.unlocked():
                config.data.seed = config.seed if config.data.seed == -1 else config.data.seed
            if experiment.metric not in config.validation.metrics:
                measured = ", ".join(config.validation.metrics)
                raise InputError(f"metric: expected one of validation.metrics, {measured}, found {experiment.metric!r}")
            configs[name] = config
    runs = []
    for number in range(max(variant.seeds for variant in experiment.variants.values())):
        for name, variant in experiment.variants.items():
            if number < variant.seeds:
                runs.append(_run(name, number, configs[name], workdir))
    return runs


def _run(variant: str, number: int, config: ConfigDict, workdir: Path) -> Run:
    own = config.copy_and_resolve_references().unlock()
    own.seed = (config.seed + number) % 2**32
    seed = f"seed_{own.seed}"
    return Run(variant, own.seed, own.lock(), workdir / RUNS / variant / seed, workdir / LOCKS / f"{variant}_{seed}")


def differing_batches(runs: Sequence[Run]) -> list[str]:
    """The keys in which variants differ that decide what they are trained on, and for how long."""
    compared = [
        {
            key: value
            for key, value in leaves(run.config)
            if key.startswith("data.") and key not in _NOT_OF_BATCHES or key == "training.steps"
        }
        for run in runs
    ]
    return sorted({key for other in compared for key in other if other[key] != compared[0][key]})


def choose_runs(runs: Sequence[Run], *, only: Sequence[str] = (), shard: tuple[int, int] = (1, 1)) -> list[Run]:
    """The runs that a process is asked for.

    Args:
        runs: all of them.
        only: variants; none = all.
        shard: (I, N): of every N runs the I-th, from 1.

    Raises:
        InputError: there is no such variant.
    """
    known = list(dict.fromkeys(run.variant for run in runs))
    for name in only:
        if name not in known:
            expected = f"variants of the experiment, {', '.join(known)}"
            raise InputError(f"--only: expected {expected}, found {name!r}{did_you_mean(name, known)}")
    chosen = [run for run in runs if not only or run.variant in only]
    return chosen[shard[0] - 1 :: shard[1]]


def listed(runs: Sequence[Run], evaluations: Mapping[str, Evaluation]) -> list[str]:
    """A line for each run that says what of it is done."""
    width = max((len(run.label) for run in runs), default=0)
    lines = []
    for run in runs:
        measured = len(evaluations) - len(run.missing(evaluations))
        state = f"{run.done_updates()}/{run.updates} updates, {measured}/{len(evaluations)} evaluations"
        lines.append(f"{run.label:{width}}  {state}{', at work' if is_locked(run.lock) else ''}")
    return lines


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Within it an InputError says first what it is about: "variant concat"."""
    try:
        yield
    except InputError as error:
        named = InputError(f"{what}: {error}")
        named.details = error.details
        raise named from error


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False, note: Callable[[str], None] = lambda line: None) -> Iterator[bool]:
    """Holds a lock for the time of the block; yields whether it could be had.

    The system gives it back when the process ends, however it ends. Where the disk has no locks it is had at once.

    Args:
        path: a file, which is made.
        wait: whether to wait while another process holds it.
        note: told, in one line, that there are no locks.

    Raises:
        InputError: nothing can be written there.
    """
    held = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
        yield False
        return
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"expected a folder to write to, found {error.strerror}: {path.parent}") from error
    except (NotImplementedError, OSError) as error:
        note(f"no locks on this disk ({error}): let processes share the work by --shard alone")
        yield True
        return
    try:
        yield True
    finally:
        held.release()


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock; writes nothing."""
    if not path.is_file():
        return False
    with lock(path) as held:
        return not held
