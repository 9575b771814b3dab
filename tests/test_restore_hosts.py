"""Restoring on two hosts, each a process with two devices, on one machine.

Everything is imported once, in a process of its own; each host is a fork of that, so that many cost little.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

from spikejax import restore
from spikejax.cli import run
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io import frame_source
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from spikejax.models.traits import NetworkTraits
from tests.stand_ins import Blur3D

pytestmark = pytest.mark.slow

DEVICES, HEARTBEAT_SECONDS, FRAMES = 2, 10, 24
TILES = ["--tile", "4,24,32", "--overlap", "1,8,8"]


def make_restorer() -> VideoRestorer:
    """A network of one convolution."""
    return VideoRestorer(
        Blur3D(), NetworkTraits(), tile=Extent(12, 256, 256), overlap=Extent(2, 20, 20), name="a convolution"
    )


def host(arguments: list[str], process: int, fails_at: int | None, log: Path) -> None:
    """Is one host; its reader may fail at a frame after others, or stand still at a negative one. Ends the process."""
    stream = log.open("w", buffering=1)
    for number in (1, 2):  # the runtime below Python writes too
        os.dup2(stream.fileno(), number)
    restore._load = lambda options: make_restorer()
    read = frame_source.open_frames

    def read_in_part(path: Path, **options: bool) -> object:
        source = read(path, **options)
        whole = source.decode

        def some(start: int = 0) -> object:
            for number, frame in enumerate(whole(start), start):
                if fails_at is not None and start < number == -fails_at:
                    time.sleep(600)
                if start < number == fails_at:
                    raise InputError("expected a disk that can be read")
                yield frame

        source.decode = some
        return source

    frame_source.open_frames = read_in_part
    sys.argv = ["restore", *arguments, "--process-id", str(process)]
    run(restore.main)


def start(arguments: list[str], process: int, fails_at: int | None, log: Path) -> int:
    """Forks a host; returns its process."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        host(arguments, process, fails_at, log)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(code)


def drive() -> None:
    """Runs the jobs of the command line, one after the other; prints a line about each."""
    for job in json.loads(sys.argv[1]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        flags = ["--coordinator", address, "--num-processes", "2", "--heartbeat-seconds", str(HEARTBEAT_SECONDS)]
        begin = time.monotonic()
        hosts = [
            start([*words, *flags], process, fails_at, Path(f"{job['log']}{process}"))
            for process, (words, fails_at) in enumerate(zip(job["hosts"], job["fails_at"], strict=True))
        ]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in hosts]
        print(json.dumps({"codes": codes, "seconds": time.monotonic() - begin}), flush=True)


@pytest.fixture
def blur(tmp_path: Path) -> Path:
    """A folder of frames."""
    (tmp_path / "blur").mkdir()
    for number, frame in enumerate(np.random.default_rng(0).integers(0, 256, (FRAMES, 50, 70, 3), np.uint8)):
        write_picture(tmp_path / "blur" / f"{number:06d}.png", frame)
    return tmp_path / "blur"


def test_two_hosts(blur: Path, tmp_path: Path) -> None:
    """Catches other frames than one host's, hosts that disagree unnoticed, and a host that waits for a dead one."""

    def words(output: str, *more: str, folder: Path = blur) -> list[str]:
        paths = ["--network", "n", "--input", str(folder), "--output", str(tmp_path / output)]
        return [*paths, *TILES, *more]

    damaged = tmp_path / "damaged"
    shutil.copytree(blur, damaged)
    (damaged / "000012.png").write_bytes(b"no picture")

    jobs = [
        {"hosts": [words("two")] * 2, "fails_at": [None, None]},
        {
            "hosts": [words("space", "--space", "4", "--tile", "4,0,0", "--overlap", "1,0,0")] * 2,
            "fails_at": [None, None],
        },
        {"hosts": [words("other"), words("other", "--ensemble", "flips")], "fails_at": [None, None]},
        {"hosts": [words("unreadable"), words("unreadable", folder=damaged)], "fails_at": [None, None]},
        {"hosts": [words("broken")] * 2, "fails_at": [None, 20]},
        {"hosts": [words("broken", "--resume")] * 2, "fails_at": [None, None]},
        {"hosts": [words("stuck", "--stall-seconds", "4")] * 2, "fails_at": [None, -20]},
    ]
    for number, job in enumerate(jobs):
        job["log"] = str(tmp_path / f"{number}.")
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"}
    ended = subprocess.run(
        [sys.executable, "-c", "from tests.test_restore_hosts import drive; drive()", json.dumps(jobs)],
        env=environment, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    logs = "\n".join(f"{log.name}: {log.read_text()}" for log in sorted(tmp_path.glob("?.?")))
    assert ended.returncode == 0, ended.stderr + logs
    two, space, other, unreadable, broken, resumed, stuck = (json.loads(line) for line in ended.stdout.splitlines())

    def said(job: int, process: int) -> str:
        return (tmp_path / f"{job}.{process}").read_text()

    clip = np.stack(list(open_frames(blur)))
    alone = make_restorer().restore(clip, tile=(4, 24, 32), overlap=(1, 8, 8))
    assert [job["codes"] for job in (two, space, resumed)] == [[0, 0]] * 3, logs
    for output in ("two", "broken"):
        np.testing.assert_array_equal(np.stack(list(open_frames(tmp_path / output))), alone)
    untiled = make_restorer().restore(clip, tile=(4, 0, 0), overlap=(1, 0, 0)).astype(int)
    assert abs(np.stack(list(open_frames(tmp_path / "space"))) - untiled).max() <= 1  # sums in another order
    assert json.loads((tmp_path / "two" / "metrics.json").read_text())["devices"] == 2 * DEVICES
    assert "frames restored" in said(0, 0)
    assert "restor" not in said(0, 1)

    assert other["codes"] == [2, 2], logs
    assert "expected the same options, network and input on all hosts" in said(2, 0)
    for job in (unreadable, broken):
        assert job["codes"] == [2, 2], logs
        assert job["seconds"] < 3 * HEARTBEAT_SECONDS
    assert "spikejax: error: another host of the run cannot go on and says why" in said(3, 0)
    assert "000012.png" in said(3, 1)
    assert "expected all hosts of the run to answer" in said(4, 0)
    assert "spikejax: error: expected a disk that can be read" in said(4, 1)
    assert json.loads((tmp_path / "broken" / "metrics.json").read_text())["resumed_at"] > 0

    assert stuck["codes"] == [5, 5], logs
    assert "spikejax: stalled: the data was not there of process 1 (" in said(6, 0)
    assert "it waits for: data" in said(6, 1)
    assert len(list((tmp_path / "stuck.stalled").iterdir())) == 2
