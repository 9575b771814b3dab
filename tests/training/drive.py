"""Runs of the stand-in in processes of their own, which may be many hosts and may be killed.

    python -m tests.training.drive JOBS

JOBS is a JSON list, done one after the other. Everything is imported once and each process of a job is a fork, so that
many cost little. A job:

    {"workdir": DIR, "config": {KEY: VALUE}, "processes": 2,
     "config_of": {"1": {KEY: VALUE}},  # of one process
     "signal": {"number": 9, "after_update": 3, "delay": 0.1, "process": 1},
     "stuck": {"after_update": 3, "process": 1}, "stall_seconds": 3,
     "full": {"after_update": 3, "process": 1}}

"stuck": from then on the process finds pipes that nobody writes to in place of its pictures, as of a lost disk.
"full": from then on no checkpoint of the process can be written, as on a full disk.
Each process ends as a command does, and writes what it prints to WORKDIR/PROCESS.log; a line per job on stdout tells
their exit codes.
"""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orbax.checkpoint._src.serialization import serialization

from spikejax import cli
from spikejax.data.datasets import folder_dataset
from spikejax.distributed import hosts
from spikejax.training.loop import train
from spikejax.training.monitoring import tensorboard  # noqa: F401  before the forks, as it takes seconds
from spikejax.training.monitoring.run_writer import RunWriter
from spikejax.training.trainer import Trainer
from tests.stand_ins import build_stand_in, tiny_config

LOSSES = "losses.jsonl"
HEARTBEAT_SECONDS = 10


def drive(jobs: list[dict[str, Any]], *, devices: int = 1) -> list[dict[str, Any]]:
    """Does jobs in a process of its own, each of whose forks has that many devices; returns what they print."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.drive", json.dumps(jobs)]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def losses(workdir: Path) -> dict[int, float]:
    """The loss of every update; of one that was done again the later."""
    return dict(json.loads(line) for line in (workdir / LOSSES).read_text().splitlines())


def record(workdir: Path, send: dict[str, Any] | None) -> None:
    """Makes the loop write every loss to a file, and send its own process a signal some time after an update."""
    scalars, update = RunWriter.scalars, Trainer.update

    def write(self: RunWriter, step: int, group: str, values: Any) -> None:
        scalars(self, step, group, values)
        if group == "training":
            with (workdir / LOSSES).open("a") as file:
                file.write(json.dumps([step, values["loss"]]) + "\n")

    def count(self: Trainer) -> None:
        update(self)
        if send is not None and self.step == send["after_update"]:
            threading.Thread(target=send_later, daemon=True).start()

    def send_later() -> None:
        assert send is not None
        time.sleep(send["delay"])
        os.kill(os.getpid(), send["number"])

    RunWriter.scalars, Trainer.update = write, count  # type: ignore[method-assign]


def lose_pictures(root: Path, after_update: int) -> None:
    """Makes reading any picture of this process's data wait for ever after an update."""
    folder_dataset._CACHE_BYTES = 0  # as of a data set that does not fit into memory
    update = Trainer.update

    def count(self: Trainer) -> None:
        update(self)
        if self.step == after_update:
            for picture in [*root.glob("train/*/*/*.png")]:
                picture.rename(picture.with_suffix(".gone"))
                os.mkfifo(picture)

    Trainer.update = count  # type: ignore[method-assign]


def fill_disk(after_update: int) -> None:
    """Makes what saves arrays in this process find no room after an update."""
    update = Trainer.update

    async def refuse(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def count(self: Trainer) -> None:
        update(self)
        if self.step == after_update:
            serialization.async_serialize_from_host = refuse

    Trainer.update = count  # type: ignore[method-assign]


def run(job: dict[str, Any], process: int, coordinator: str) -> int:
    """One process of a job; returns its exit code."""
    workdir, processes = Path(job["workdir"]), job.get("processes", 1)
    config = tiny_config()
    config.training.log_every = 1
    config.update_from_flattened_dict(job["config"] | job.get("config_of", {}).get(str(process), {}))
    stuck = job.get("stuck")
    if stuck and stuck["process"] == process:
        lose_pictures(Path(config.data.root), stuck["after_update"])
    full = job.get("full")
    if full and full["process"] == process:
        fill_disk(full["after_update"])
    send = job.get("signal")
    with (workdir / f"{process}.log").open("a", buffering=1) as log, contextlib.redirect_stdout(log):
        for stream in (1, 2):  # the runtime below Python writes too
            os.dup2(log.fileno(), stream)
        if processes > 1:
            hosts.join(coordinator, processes, process, wait_seconds=120, heartbeat_seconds=HEARTBEAT_SECONDS)
        record(workdir / str(process), send if send and send.get("process", 0) == process else None)
        (workdir / str(process)).mkdir(exist_ok=True)
        more = {"stall_seconds": job.get("stall_seconds")}
        outcome = train(config, workdir, build=build_stand_in, allow_config_changes=True, **more)
    return 128 + outcome.stopped_by if outcome.stopped_by else 0


def fork(job: dict[str, Any], process: int, coordinator: str) -> int:
    """Starts one process of a job; returns its id."""
    child = os.fork()
    if child:
        return child
    code: Any = 1

    def main(arguments: Sequence[str]) -> None:
        raise SystemExit(run(job, process, coordinator))

    try:
        cli.run(main)
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Does the jobs of the command line."""
    for job in json.loads(sys.argv[1]):
        Path(job["workdir"]).mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        begin = time.monotonic()
        children = [fork(job, process, coordinator) for process in range(job.get("processes", 1))]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps({"codes": codes, "seconds": round(time.monotonic() - begin, 1)}), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
