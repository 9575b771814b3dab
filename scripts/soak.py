"""Trains and restores small things while everything around them goes wrong, and demands what undisturbed runs give.

    python scripts/soak.py --minutes 60 --seed 1 [--folder FOLDER] [--kills N]

The loop, the data, the checkpoints and the writing of restored frames are the real ones, the networks some hundred
numbers. Again and again a run is started and, at a random moment of it, disturbed: killed with -9, told to stop, held
for a while, its clock put elsewhere, the disk filled, a picture taken away, a checkpoint cut or a bit of it turned.
Every end must be one of those that are documented for what happened, and the same command goes on from there. Runs that
have come to their end are compared with an undisturbed one: every loss, every parameter and every restored byte.

A small disk of its own is needed to fill it: without the right to mount one (Linux; root or user namespaces) that is
left out, and said. The exit code is 1 where anything did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import filecmp
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from spikejax import cli, restore
from spikejax.config import defaults
from spikejax.data.datasets import folder_dataset
from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.distributed import hosts
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.pictures import write_picture
from spikejax.models.traits import NetworkTraits
from spikejax.training.loop import train
from spikejax.training.monitoring.metrics_log import METRICS_LOG, read_points
from spikejax.training.trainer import Trainer

STEPS, FRAMES, BINS = 24, 16, 4
_DISK = 24 * 2**20
_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_HEARTBEAT = 20  # seconds; a host is held for less than that
# Of a run that is not disturbed, until it is measured.
_SECONDS = 20.0
_LONGEST, _HANGS = 900.0, -999
_MARK = "-------- the same command again\n"


class StandIn(nnx.Module):
    """Adds to the frames what a matrix makes of them and of the voxels."""

    needs_spikes = True

    def __init__(self, bins: int, *, rngs: nnx.Rngs) -> None:
        import jax

        self.spike_bins = bins
        kernel = 0.1 * jax.random.normal(rngs.params(), (3 + bins, 3))
        self.kernel = nnx.Param(kernel, axes=("features_in", "features_out"))

    def __call__(self, clip: Any, voxels: Any, key: Any = None) -> Any:
        """Restores clips."""
        import jax.numpy as jnp

        return clip + 0.1 * jnp.concatenate([clip, voxels], -1) @ self.kernel[...]


class Blur(nnx.Module):
    """Restores clips by a convolution over space and time."""

    def __init__(self) -> None:
        import jax.numpy as jnp

        self.kernel = nnx.Param(jnp.asarray(np.random.default_rng(0).random((3, 5, 5, 3, 3)) / 75, jnp.float32))

    def __call__(self, clip: Any, voxels: Any, *, key: Any = None) -> Any:
        """Has the signature of the real network."""
        import jax

        dimensions = ("NDHWC", "DHWIO", "NDHWC")
        return jax.lax.conv_general_dilated(clip, self.kernel[...], (1, 1, 1), "SAME", dimension_numbers=dimensions)


# ---- What is run, in a fork of this process, which has imported everything ----


def run_training(folder: Path, workdir: Path, started: Path) -> None:
    """Trains as `python -m spikejax.train` does."""
    config: ConfigDict = defaults.get_config()
    config.model.spike.bins = BINS
    config.data.update(source="folder", root=str(folder / "data"), frames=2, crop=16, batch_size=2, workers=1)
    config.optimizer.update(warmup_steps=2, peak_learning_rate=1e-2)
    config.training.update(steps=STEPS, log_every=1, checkpoint_every=3, loggers=())
    config.validation.update(every=10, frames=2, pictures=0, metrics=("psnr",))
    folder_dataset._CACHE_BYTES = 0  # as of a data set that does not fit into memory
    update = Trainer.update

    def count(self: Trainer) -> None:
        started.touch()  # importing is over, and compiling
        update(self)

    Trainer.update = count  # type: ignore[method-assign]
    outcome = train(config, workdir, build=lambda model, *, rngs: StandIn(BINS, rngs=rngs))
    if outcome.stopped_by:
        raise SystemExit(128 + outcome.stopped_by)


def run_restoring(folder: Path, output: Path, started: Path) -> None:
    """Restores as `python -m spikejax.restore --resume` does."""
    tile, overlap = Extent(4, 24, 32), Extent(1, 8, 8)
    restorer = VideoRestorer(Blur(), NetworkTraits(), tile=tile, overlap=overlap, name="a convolution")
    started.touch()
    restore._load = lambda options: restorer
    restore.main(["--network", "n", "--input", str(folder / "clip"), "--output", str(output), "--resume"])


WORK: dict[str, Callable[[Path, Path, Path], None]] = {
    "training": run_training,
    "training on two hosts": run_training,
    "restoring": run_restoring,
}


@dataclass(frozen=True)
class Task:
    """A process to be started.

    Attributes:
        kind: of the work.
        folder: with the data.
        result: workdir or output.
        started: a file that is there once the work itself has begun.
        log: what it prints.
        shift: seconds by which its clock is put elsewhere.
        coordinator: of the hosts; "" = it is alone.
    """

    kind: str
    folder: Path
    result: Path
    started: Path
    log: Path
    shift: float
    coordinator: str

    def __call__(self, number: int) -> None:
        """Does it, as host `number`."""
        if self.coordinator:
            hosts.join(self.coordinator, 2, number, wait_seconds=300, heartbeat_seconds=_HEARTBEAT)
        WORK[self.kind](self.folder, self.result, self.started)


def start(task: Task, number: int) -> int:
    """Forks a process that does the work; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        stream = task.log.open("a", buffering=1)
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        sys.stdout, sys.stderr = stream, stream
        if task.shift:
            threading.Thread(target=shift_clock, args=(task.shift, task.started), daemon=True).start()
        # As a command does, so that hosts tell each other why they end.
        cli.run(lambda arguments: task(number))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(code)


def shift_clock(seconds: float, started: Path) -> None:
    """Puts the clock that Python sees elsewhere, once the work has begun."""
    while not started.exists():
        time.sleep(0.01)
    true = time.time
    time.time = lambda: true() + seconds


# ---- What goes wrong ----


@dataclass
class Attempt:
    """A run that is disturbed.

    Attributes:
        kind: of the work.
        folder: with its data.
        result: workdir or output.
        process: id of the one that is disturbed, of those that do it.
        draw: of all that is random.
    """

    kind: str
    folder: Path
    result: Path
    process: int
    draw: random.Random

    def send(self, number: signal.Signals) -> None:
        """Sends the process a signal, if it is still there."""
        try:
            os.kill(self.process, number)
        except ProcessLookupError:
            pass


def kill(attempt: Attempt) -> None:
    """Ends the process at once."""
    attempt.send(signal.SIGKILL)


def tell(attempt: Attempt) -> None:
    """Asks the process to leave, as schedulers do."""
    attempt.send(signal.SIGTERM)


def hold(attempt: Attempt) -> None:
    """Stops the process for a while."""
    attempt.send(signal.SIGSTOP)
    time.sleep(attempt.draw.uniform(0.5, 3))
    attempt.send(signal.SIGCONT)


def fill(attempt: Attempt) -> None:
    """Leaves no, or hardly any, room on the disk; it is emptied when the process has ended."""
    left = attempt.draw.choice((0, 2_000, 20_000, 100_000))
    room = shutil.disk_usage(attempt.result.parent).free - left
    # Where the work has filled the disk by itself there is no room for the file either.
    with contextlib.suppress(OSError), (attempt.result.parent / "filler").open("wb") as file:
        while room > 0:
            room -= file.write(bytes(min(room, 2**16)))
            file.flush()


def lose(attempt: Attempt) -> None:
    """Takes a picture away, if the work has gone on before; it is put back when the process has ended."""
    if attempt.kind == "restoring":
        known = (attempt.result.parent / f".{attempt.result.name}.partial" / "run.json").exists()
    else:
        known = (
            any(attempt.result.glob("checkpoints/last/*/commit_success.txt")) or (attempt.folder / "started").exists()
        )
    if not known:
        return  # a run that begins without it is another run
    pattern = "clip/*.png" if attempt.kind == "restoring" else "data/train/*/blur/*.png"
    path = attempt.draw.choice(sorted(attempt.folder.glob(pattern)))
    path.rename(path.with_suffix(".lost"))


def nothing(attempt: Attempt) -> None:
    """Lets it run."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and how a process may end then: so, or with 0 where it was done before.

    Attributes:
        do: at the moment.
        codes: the ends.
        weight: how often it is chosen.
    """

    do: Callable[[Attempt], None]
    codes: frozenset[int]
    weight: int = 2


FAULTS = {
    "kill -9": Fault(kill, frozenset({-signal.SIGKILL}), 10),
    "kill -9, then damage to the newest checkpoint": Fault(kill, frozenset({-signal.SIGKILL}), 5),
    "SIGTERM": Fault(tell, frozenset({143, -signal.SIGTERM})),
    "stopped and continued": Fault(hold, frozenset()),
    "clock put elsewhere": Fault(nothing, frozenset()),
    "disk full": Fault(fill, frozenset({2}), 3),
    "a picture is gone": Fault(lose, frozenset({2})),
    "none": Fault(nothing, frozenset(), 3),
}


def damage_newest(workdir: Path, draw: random.Random) -> bool:
    """Cuts a file of the newest checkpoint, or turns one of its bits, if there is one to fall back on."""
    last = workdir / "checkpoints" / "last"
    steps = sorted((path for path in last.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))
    if len(steps) < 2:
        return False
    path = draw.choice(sorted(path for path in steps[-1].glob("*/**/*") if path.is_file() and path.stat().st_size))
    data = bytearray(path.read_bytes())
    if draw.random() < 0.5:
        data = data[: draw.randrange(len(data))]
    else:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return True


# ---- Rounds: a run is disturbed until it is done, and then compared ----


@dataclass
class Record:
    """What happened.

    Attributes:
        ends: by fault, how often each exit code came.
        problems: what did not hold.
        rounds: by kind, runs that came to their end and were like the undisturbed one.
        seconds: by kind, what an undisturbed run took.
    """

    ends: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    problems: list[str] = field(default_factory=list)
    rounds: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def kills(self) -> int:
        """Processes that died of kill -9."""
        return sum(codes[-signal.SIGKILL] for codes in self.ends.values())

    def table(self) -> str:
        """All of it in Markdown."""
        lines = ["| what happened | times | exit codes |", "|---|---|---|"]
        for fault, codes in self.ends.items():
            ends = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
            lines.append(f"| {fault} | {codes.total()} | {ends} |")
        done = ", ".join(f"{count} of {kind}" for kind, count in self.rounds.items()) or "none"
        lines.append(f"\nruns like the undisturbed one: {done}; processes killed with -9: {self.kills}")
        return "\n".join([*lines, *(f"PROBLEM {problem}" for problem in self.problems)])


class Soak:
    """Rounds of work in a folder, of which `small` is on a disk that may be filled."""

    def __init__(self, folder: Path, small: Path | None, seed: str, *, kills_a_second: float = 0.0) -> None:
        """Makes the data.

        Args:
            folder: for data and results.
            small: a folder on a small disk of its own; None = no disk is filled.
            seed: of all that is random.
            kills_a_second: as long as there were fewer, nothing else is done.
        """
        self.folder, self.draw, self.record = folder, random.Random(seed), Record()
        self._kills_a_second, self._begin = kills_a_second, time.monotonic()
        self._results = small or folder
        self._names = [name for name in FAULTS if small is not None or name != "disk full"]
        sizes = dict(train_sequences=2, val_sequences=1, frames=3, height=32, width=40, max_motion=10.0)
        write_moving_photographs(folder / "data", seed=1, bins=BINS, progress=False, **sizes)  # type: ignore[arg-type]
        (folder / "clip").mkdir()
        for number, frame in enumerate(np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 64, 3), np.uint8)):
            write_picture(folder / "clip" / f"{number:06d}.png", frame)

    def references(self) -> None:
        """Does the work once without any disturbance."""
        for kind in WORK:
            begin = time.monotonic()
            code = self._attempt(kind, self.folder / f"{kind}_reference", "none")
            self.record.seconds[kind] = time.monotonic() - begin
            if code != 0:
                log = (self.folder / f"{kind}_reference.log").read_text()[-3000:]
                raise RuntimeError(f"{kind} ended with {code} without any disturbance:\n{log}")

    def round(self, end: float) -> None:
        """Does the work once, disturbed again and again, and compares; gives up at `end`."""
        kind = self.draw.choice(list(WORK))
        result = self._results / kind
        shutil.rmtree(result, ignore_errors=True)
        for path in self._results.glob(f".{kind}*"):
            shutil.rmtree(path, ignore_errors=True)
        log = self.folder / f"{kind}.log"
        log.write_text(_MARK)
        code: int | None = None
        known = len(self.record.problems)
        while code != 0 and time.monotonic() < end and len(self.record.problems) < known + 3:
            behind = self.record.kills < self._kills_a_second * (time.monotonic() - self._begin)
            names = [name for name in self._names if FAULTS[name].do is kill or not behind]
            names = [name for name in names if kind != "restoring" or not name.endswith("checkpoint")]
            (fault,) = self.draw.choices(names, [FAULTS[name].weight for name in names])
            code = self._attempt(kind, result, fault)
            self._judge(kind, fault, code, log)
            if fault.endswith("checkpoint") and code != 0:
                damage_newest(result, self.draw)
        if code == 0:
            self.record.rounds[kind] += 1
            if differences := compare(kind, self.folder / f"{kind}_reference", result):
                self._problem(f"{kind}: not as undisturbed: {differences}", log)

    def _attempt(self, kind: str, result: Path, fault: str) -> int:
        started = self.folder / "started"
        started.unlink(missing_ok=True)
        log = self.folder / f"{result.name}.log"
        shift = self.draw.choice((-1, 1)) * 86400.0 * self.draw.choice((0.01, 1, 400)) if "clock" in fault else 0.0
        two = "two hosts" in kind
        task = Task(kind, self.folder, result, started, log, shift, free_address() if two else "")
        processes = [start(task, number) for number in range(1 + two)]
        attempt = Attempt(kind, self.folder, result, self.draw.choice(processes), self.draw)
        ends: dict[int, int] = {}
        begin = time.monotonic()
        # At any moment, the start included: half of the time of a whole run on the average.
        wait = self.draw.uniform(0, self.record.seconds.get(kind, _SECONDS))
        while len(ends) < len(processes) and time.monotonic() - begin < wait:
            collect(processes, ends)
        if attempt.process not in ends:
            FAULTS[fault].do(attempt)
        while len(ends) < len(processes) and time.monotonic() - begin < _LONGEST:
            collect(processes, ends)
        for process in processes:
            if process not in ends:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                ends[process] = _HANGS
        if _HANGS in ends.values():
            self._problem(f"{kind}: {fault}: did not end within {_LONGEST:.0f} s", log)
        # Of two hosts, how the one ended that was disturbed, unless only the other one did not come to its end.
        ended = ends[attempt.process] or max(ends.values(), key=abs)
        (result.parent / "filler").unlink(missing_ok=True)
        for path in [*self.folder.glob("data/train/*/blur/*.lost"), *self.folder.glob("clip/*.lost")]:
            path.rename(path.with_suffix(".png"))
        return ended

    def _judge(self, kind: str, fault: str, code: int, log: Path) -> None:
        self.record.ends[f"{kind}: {fault}"][code] += 1
        print(f"{kind}: {fault}: {code}", flush=True)
        # What a kill is called on the other host, which nobody has told.
        lost_peer = {-signal.SIGABRT, 1} if "two hosts" in kind and FAULTS[fault].do is kill else set()
        if code not in FAULTS[fault].codes | {0, _HANGS} | lost_peer:
            self._problem(f"{kind}: {fault}: ended with {code}", log)
        whole = log.read_text(errors="replace")
        text = whole.rpartition(_MARK)[2]
        if "Traceback" in text and code in (0, 2):
            self._problem(f"{kind}: {fault}: a traceback", log)
        log.write_text(f"{whole}\n{_MARK}")

    def _problem(self, text: str, log: Path) -> None:
        number = len(self.record.problems)
        kept = self.folder / f"problem_{number}.log"
        if log.exists():
            shutil.copy(log, kept)
        print(f"PROBLEM {text} ({kept})", flush=True)
        self.record.problems.append(text)


def collect(processes: Sequence[int], ends: dict[int, int]) -> None:
    """Adds the exit codes of processes that have ended by now to `ends`; takes a moment."""
    for process in processes:
        if process not in ends:
            number, status = os.waitpid(process, os.WNOHANG)
            if number:
                ends[process] = os.waitstatus_to_exitcode(status)
    time.sleep(0.02)


def free_address() -> str:
    """An address on this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def compare(kind: str, reference: Path, result: Path) -> str:
    """What is not the same in two results; "" = nothing."""
    if kind == "restoring":
        names = sorted(path.name for path in reference.glob("*.png"))
        _, different, missing = filecmp.cmpfiles(reference, result, names, shallow=False)
        return ", ".join([*different, *missing])
    losses = [
        {
            (point.step, point.curve): point.value
            for point in read_points(path / METRICS_LOG)
            if point.group in ("training", "validation")  # others are times
        }
        for path in (reference, result)
    ]
    wrong = [f"{curve} at {step}" for step, curve in sorted(losses[0].keys() | losses[1].keys())
             if losses[0].get((step, curve)) != losses[1].get((step, curve))]  # fmt: skip
    if wrong:
        return ", ".join(wrong[:5])
    first, second = (best_params(path) for path in (reference, result))
    return "" if all(np.array_equal(first[name], second[name]) for name in first) else "parameters"


def best_params(workdir: Path) -> dict[str, np.ndarray]:
    """The parameters of the best validation, by name; read in another process, as this one has to stay without JAX."""
    reader, writer = os.pipe()
    if not os.fork():
        from spikejax.training.trained_params import read_params

        named = {name: np.asarray(array).tolist() for name, array in read_params(workdir).items()}
        with os.fdopen(writer, "w") as stream:
            json.dump(named, stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        named = json.load(stream)
    os.wait()
    return {name: np.array(values) for name, values in named.items()}


def small_disk(folder: Path) -> Path | None:
    """A folder on a small disk in memory that only this process and its children see; None where none may be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEWNS | (_NEWUSER if user else 0)):
        return None
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    folder.mkdir()
    libc.mount(b"none", b"/", None, 0x40000 | 0x4000, None)  # private: not seen outside
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={_DISK}".encode()):
        return None
    return folder


def main(arguments: Sequence[str]) -> int:
    """Does as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python scripts/soak.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", default="1", help="of all that is random (default: %(default)s)")
    parser.add_argument("--kills", type=int, metavar="N", help="kill N processes with -9, evenly over the time")
    parser.add_argument("--folder", type=Path, help="for data and results, new or empty (default: a temporary one)")
    options = parser.parse_args(arguments)
    if options.folder is not None and options.folder.exists() and any(options.folder.iterdir()):
        raise InputError(f"expected a new or empty folder, found files in it: {options.folder}")
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="spikejax_soak_") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        small = small_disk(folder / "small")
        if small is None:
            print("no disk is filled: mounting a small one is not allowed here", flush=True)
        seconds = end - time.monotonic()
        soak = Soak(folder, small, options.seed, kills_a_second=(options.kills or 0) / max(seconds, 1.0))
        soak.references()
        while time.monotonic() < end:
            soak.round(end)
        record = soak.record
    print(record.table())
    if record.kills < (options.kills or 0):
        print(f"expected at least {options.kills} processes killed with -9, found {record.kills}")
        return 1
    return int(bool(record.problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
