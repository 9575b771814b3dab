"""SIGTERM outside of the loop of training: a command ends with 143 whatever it waits for, and tidies up if it can."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.ending import seconds_to_end

ROOT = Path(__file__).parents[1]
# On the clock of a process that ends by it, and of one that does not: a machine may stand still for a while.
SECONDS, MANY_SECONDS = 2.0, 60.0
# Said when it has come to what it waits for.
READY = "print('ready', flush=True)"
PROGRAM = """
import hashlib, os, signal, sys, threading, time
from pathlib import Path
from spikejax import cli, stopping
from spikejax.io.atomic import atomic_write

stopping.TerminationWatch.__init__.__kwdefaults__["seconds"] = {seconds}

def main(arguments):
{body}

cli.run(main)
"""
BODIES = {
    "sleeps": f"{READY}; time.sleep(600)",
    "writes": f"with atomic_write(arguments[0] + '/out') as file: file.touch(); {READY}; time.sleep(600)",
    "opens a pipe": f"os.mkfifo(arguments[0] + '/pipe'); {READY}; open(arguments[0] + '/pipe')",
    "waits for a thread": f"thread = threading.Thread(target=time.sleep, args=(600,)); thread.start(); {READY}; "
    "thread.join()",
    # What is raised there is ignored.
    "collects garbage": "import gc; gc.callbacks.append(lambda *_: "
    f"(gc.callbacks.pop(), {READY}, time.sleep(600))); gc.collect(); time.sleep(600)",
    "lets go of something": "kind = type('Kind', (), {'__del__': lambda self: "
    f"({READY}, time.sleep(600))}}); kind(); time.sleep(600)",
    "ends, but for a thread": f"threading.Thread(target=time.sleep, args=(600,)).start(); {READY}",
    # As a compiler does, it lets others run, but hears nothing.
    "computes below Python": f"{READY}; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1)",
    "hears nothing of it": f"exec('''try:\\n  {READY}; time.sleep(600)\\nexcept BaseException: time.sleep(600)''')",
}
AT_ONCE = {"sleeps", "writes", "opens a pipe", "collects garbage", "lets go of something", "ends, but for a thread"}


@contextlib.contextmanager
def started(
    body: str, folder: Path, *, within: Sequence[str] = (), seconds: float = SECONDS
) -> Iterator[subprocess.Popen]:
    """A command in a process of its own that has come to where it waits, and that does not outlive the block."""
    program = PROGRAM.format(seconds=seconds, body=f"    {body}")
    process = subprocess.Popen(
        [*within, sys.executable, "-c", program, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_a_command_ends_whatever_it_waits_for(name: str, tmp_path: Path) -> None:
    """Catches a process that its machine is taken from at work, with another code, or a half of a file left behind."""
    seconds = MANY_SECONDS if name in AT_ONCE else SECONDS
    with started(BODIES[name], tmp_path, seconds=seconds) as process:
        process.send_signal(signal.SIGTERM)
        waited = seconds_to_end(process)
        _, errors = process.communicate()
    assert process.returncode == 143
    assert waited < SECONDS + 5 and (name not in AT_ONCE or waited < SECONDS)
    lines = errors.splitlines()
    assert [line for line in lines if "stopped by SIGTERM" in line] == lines and len(lines) <= 2, errors
    assert lines or name == "ends, but for a thread"
    assert [path for path in tmp_path.iterdir() if path.name != "pipe"] == []


@pytest.mark.slow
def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    """Catches somebody who cannot end a process that tidies up."""
    tidies = "exec('''try: time.sleep(600)\\nfinally:\\n  print(\"tidying\", flush=True); time.sleep(600)''')"
    with started(f"{READY}; {tidies}", tmp_path, seconds=MANY_SECONDS) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None and process.stdout.readline() == "tidying\n"
        time.sleep(0.2)  # until it sleeps: before, Python would hear of the signal only afterwards
        process.send_signal(signal.SIGTERM)
        assert seconds_to_end(process) < SECONDS and process.returncode == 143


@pytest.mark.slow
def test_who_ignores_sigterm_goes_on_ignoring_it(tmp_path: Path) -> None:
    """Catches a process that its starter has protected, and that ends all the same."""
    ignoring = ("sh", "-c", 'trap "" TERM; exec "$@"', "sh")  # a fork of this process would carry JAX's threads
    with started(f"{READY}; time.sleep(1); print('done')", tmp_path, within=ignoring) as process:
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (0, "done\n", "")


@pytest.mark.slow
def test_a_child_that_is_told_to_end_does_not_end_its_parent(tmp_path: Path) -> None:
    """Catches a pool that ends its workers, whose signals the parent takes for its own, or that do not die of them."""
    body = (
        "child = os.fork() or time.sleep(60); time.sleep(0.5); os.kill(child, signal.SIGTERM); "
        f"print(os.waitpid(child, 0)[1], file=sys.stderr, flush=True); {READY}; time.sleep({SECONDS} + 1)"
    )
    with started(body, tmp_path) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, f"{int(signal.SIGTERM)}\n")


@pytest.mark.slow
def test_the_first_process_of_a_container(tmp_path: Path) -> None:
    """Catches a process that Linux keeps all signals from that it does not handle, and that is killed in the end."""
    within = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*within, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine makes no namespaces")
    with started(f"{READY}; time.sleep(60)", tmp_path, within=within) as process:
        (first,) = psutil.Process(process.pid).children()
        first.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (143, "spikejax: stopped by SIGTERM\n")
