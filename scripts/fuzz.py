"""Damages every kind of file that is read, and demands that each command ends as its exit codes say.

    python scripts/fuzz.py --seconds 600 --seed 1 [--inputs N] [--kind KIND ...] [--only KIND/NUMBER] [--keep FOLDER]

Of every input: it ends with exit code 0, 2, 3 or 4; a mistake in it is one line (with details below it); there is no
traceback; it takes at most 60 s and 1 GiB more than the process had; and its output is there whole or not at all.

Inputs are read in processes that are kept alive, one input after the other, since importing takes longer than most of
them. KIND/NUMBER and the seed make the same input again. The exit code is 1 where anything of this did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_SECONDS, _BYTES = 60.0, 2**30
_CODES = (0, 2, 3, 4)
WHOLE = 0  # the number of an input that is not damaged
_START_SECONDS = 1800.0  # importing everything and compiling the stand-in, on a machine that has other things to do


@dataclass(frozen=True)
class Ending:
    """How an input ended.

    Attributes:
        code: the exit code; None for a traceback, or a process that had to be ended.
        problem: what did not hold, in words that are the same for the same cause; "" = everything held.
        text: what was printed.
        seconds: of processor time.
        grown: bytes by which the process was larger at its largest.
    """

    code: int | None
    problem: str
    text: str
    seconds: float
    grown: int


# ---- In a worker: one input after the other ----


def work(seed: str, folder: Path) -> None:
    """Reads the inputs that stdin names, a KIND and a number a line; prints how each ended, in JSON."""
    answers = os.fdopen(os.dup(1), "w")
    printed = (folder / "printed").open("w+b")
    for stream in (1, 2):  # libraries below Python print as well
        os.dup2(printed.fileno(), stream)
    from fuzz_readers import READERS  # seconds, and much longer on a busy machine

    _limit_memory()
    print(json.dumps(list(READERS)), file=answers, flush=True)
    for line in sys.stdin:
        kind, number = json.loads(line)
        place = folder / "inputs" / str(number)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        make_input(READERS[kind], place, f"{seed}/{kind}/{number}", whole=number == WHOLE)
        before = sorted(path.name for path in place.iterdir())
        printed.seek(0)
        printed.truncate()
        ending = run_input(READERS[kind], place, printed)
        if number == WHOLE and ending.code != 0:
            ending = replace(ending, problem="a whole input is refused")
        if ending.problem == "" and ending.code == 2 and READERS[kind].output:
            left = {path.name for path in place.iterdir()} - set(before)
            if READERS[kind].output in left:
                ending = replace(ending, problem="half an output")
        print(json.dumps(asdict(ending)), file=answers, flush=True)


def make_input(reader: Any, place: Path, seed: str, *, whole: bool) -> None:
    """Writes an input and, unless it is to be whole, damages a file of it; now and then the file is gone or another."""
    from fuzz_mutations import damage

    draw = random.Random(seed)
    reader.write(place, draw)
    if whole:
        return
    files = sorted(path for path in place.glob(reader.damaged) if path.is_file())
    path = draw.choice(files)
    fate = draw.random()
    if fate < 0.02:
        path.unlink()
    elif fate < 0.04:
        path.unlink()
        path.mkdir()
    elif fate < 0.06 and len(files) > 1:
        os.replace(path, draw.choice([other for other in files if other != path]))
    else:
        path.write_bytes(damage(path.read_bytes(), draw))


def run_input(reader: Any, place: Path, printed: Any) -> Ending:
    """Reads one input as its command does."""
    from spikejax import cli

    sys.stdout.flush()
    started, size = time.process_time(), _largest_size(reset=True)
    code: int | None = None
    problem = ""
    try:
        code = cli._exit_code(lambda arguments: reader.read(place), [])
    except SystemExit as ended:  # of argparse
        code = ended.code if isinstance(ended.code, int) else 1
    except MemoryError:
        problem = "more memory than allowed"
    except BaseException as error:
        problem = _signature(error)
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    printed.seek(0)
    text = printed.read().decode(errors="replace")
    grown = max(0, _largest_size() - size)
    seconds = time.process_time() - started
    problem = problem or _what_is_wrong(code, text, str(place))
    if not problem and grown > _BYTES:
        problem = "more memory than allowed"
    return Ending(code, problem, text[-4000:], seconds, grown)


def _what_is_wrong(code: int | None, text: str, place: str) -> str:
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    own = [line for line in lines if line.startswith(("spikejax: error:", "spikejax: damaged input:"))]
    if code not in _CODES:
        return f"exit code {code}"
    if len(own) != (code in (2, 3)):
        return f"exit code {code} with {len(own)} lines that say why"
    for line in lines:
        if "Warning" in line or "Traceback" in line or line.startswith("["):
            return "a library prints: " + line.replace(place, "")[:80]
    return ""


def _signature(error: BaseException) -> str:
    """The kind of an exception, and the last place in our own code that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if str(ROOT) in frame.filename and "/scripts/" not in frame.filename]
    where = f"{Path(own[-1].filename).relative_to(ROOT)}:{own[-1].lineno}" if own else "?"
    return f"traceback: {type(error).__name__} in {where}"


def _limit_memory() -> None:
    import resource

    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + 3 * _BYTES, resource.RLIM_INFINITY))


def _largest_size(*, reset: bool = False) -> int:
    """The most bytes that this process has had in memory since the last reset."""
    if reset:
        with contextlib.suppress(OSError):  # a container may forbid it
            Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


# ---- The parent: hands out inputs, ends what hangs, and counts ----


class Worker:
    """A process that reads inputs."""

    def __init__(self, seed: str, folder: Path) -> None:
        """Starts it, and waits until it has imported everything."""
        self._folder = folder
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, __file__, "--seed", seed, "--work-in", str(folder)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        first = self._answer(_START_SECONDS)
        if not first:
            raise RuntimeError(f"a worker did not start: {(folder / 'printed').read_text()[-2000:]}")
        self.kinds: list[str] = json.loads(first)

    def read(self, kind: str, number: int) -> Ending:
        """How an input ended; the process is gone where it had to be ended, or died."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([kind, number]) + "\n")
        # Where the machine does other things as well, 60 s of its own take longer.
        seconds = _SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        answer = self._answer(seconds)
        if answer:
            return Ending(**json.loads(answer))
        if answer is None:
            self.close()
            return Ending(None, "hangs", "", seconds, 0)
        code = self._process.wait()
        text = (self._folder / "printed").read_text(errors="replace")
        return Ending(None, f"the process died: {code}", text[-4000:], 0.0, 0)

    @property
    def lives(self) -> bool:
        """Whether it can read another one."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self, seconds: float) -> str | None:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        return self._process.stdout.readline()  # empty where the process has died


def inputs(options: argparse.Namespace, kinds: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yields (kind, number) of what is to be read, all kinds in turn."""
    if options.only:
        kind, _, number = options.only.rpartition("/")
        yield kind, int(number)
        return
    yield from ((kind, WHOLE) for kind in options.kind or kinds)
    end = time.monotonic() + options.seconds
    count = 1
    while time.monotonic() < end:
        for kind in options.kind or kinds:
            if count > (options.inputs or count) or time.monotonic() >= end:
                return
            yield kind, count
            count += 1


def fuzz(options: argparse.Namespace, folder: Path) -> dict[str, list[tuple[str, Ending]]]:
    """How all inputs ended, by kind, with the name of each."""
    endings: dict[str, list[tuple[str, Ending]]] = defaultdict(list)
    worker = Worker(options.seed, folder)
    try:
        for kind, number in inputs(options, worker.kinds):
            if not worker.lives:
                worker = Worker(options.seed, folder)
            ending = worker.read(kind, number)
            endings[kind].append((f"{kind}/{number}", ending))
            if ending.problem:
                print(f"{kind}/{number}: {ending.problem}", flush=True)
                if options.keep is not None:
                    kept = options.keep / f"{kind}_{number}".replace(" ", "_").replace("/", "_")
                    shutil.copytree(folder / "inputs" / str(number), kept, dirs_exist_ok=True)
                    (kept / "printed.txt").write_text(ending.text)
            if options.only:
                print(ending.text)
            shutil.rmtree(folder / "inputs" / str(number), ignore_errors=True)
    finally:
        worker.close()
    return endings


def table(endings: dict[str, list[tuple[str, Ending]]]) -> str:
    """A table of all kinds in Markdown, and below it every problem, with how often and where it came first."""
    lines = ["| kind | inputs | exit 0 | 2 | 3 | slowest | largest | problems |", "|---|---|---|---|---|---|---|---|"]
    problems: dict[str, list[str]] = defaultdict(list)
    total: Counter[str] = Counter()
    for kind, of_kind in endings.items():
        codes = Counter(ending.code for _, ending in of_kind)
        bad = [(name, ending.problem) for name, ending in of_kind if ending.problem]
        slowest = max(ending.seconds for _, ending in of_kind)
        grown = max(ending.grown for _, ending in of_kind)
        lines.append(
            f"| {kind} | {len(of_kind):,} | {codes[0]:,} | {codes[2]:,} | {codes[3]:,} | {slowest:.2f} s | "
            f"{grown / 1e6:.0f} MB | {len(bad)} |"
        )
        total.update(inputs=len(of_kind), zero=codes[0], two=codes[2], three=codes[3], bad=len(bad))
        for name, problem in bad:
            problems[problem].append(name)
    counts = " | ".join(f"{total[name]:,}" for name in ("inputs", "zero", "two", "three"))
    lines.append(f"| all | {counts} | | | {total['bad']} |")
    lines += [f"\n{len(names)} x {problem}, first {names[0]}" for problem, names in sorted(problems.items())]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Does as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python scripts/fuzz.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", default="1", help="of the inputs (default: %(default)s)")
    parser.add_argument("--inputs", type=int, metavar="N", help="at most N inputs")
    parser.add_argument("--kind", action="append", help="only of this kind; may be given several times")
    parser.add_argument("--only", metavar="KIND/NUMBER", help="this input alone, with what it prints")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the inputs that did not end as they should")
    parser.add_argument("--work-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work_in is not None:
        work(options.seed, options.work_in)
        return 0
    with tempfile.TemporaryDirectory(prefix="spikejax_fuzz_") as folder:
        endings = fuzz(options, Path(folder))
    print(table(endings))
    return int(any(ending.problem for of_kind in endings.values() for _, ending in of_kind))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
