"""`restore` between two pipes, as a process of its own: what of it reaches which of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikejax.io.frame_source import open_frames
from tests.io.test_pipes import frames, written

# A network that gives back its input.
COMMAND = """
import sys, jax.numpy as jnp
from flax import nnx
from spikejax import restore
from spikejax.cli import run
from tests.inference.small_input import Brighten, restorer_of

class Same(Brighten):
    def __call__(self, clip, voxels, *, key=None):
        print("a library says something")
        return clip * (self.factor[...] / 2)

restore._load = lambda options: restorer_of(Same(None))
sys.argv = ["restore", "--network", "work", "--tile", "4,24,32", "--overlap", "1,8,8", *sys.argv[1:]]
run(restore.main)
"""


def command(*words: str) -> list[str]:
    """The command line of a process that restores."""
    return [sys.executable, "-c", COMMAND, *words]


def test_from_pipe_to_pipe(tmp_path: Path) -> None:
    """Catches frames that change, what is printed among them, and a run that goes on when nobody reads any more."""
    path, _ = written(tmp_path, frames(60, 24, 32))
    done = subprocess.run(command("-i", "-", "-o", "-"), input=path.read_bytes(), capture_output=True, check=True)
    assert done.stdout == path.read_bytes(), done.stderr
    assert b"60 frames restored" in done.stderr and b"a library says" in done.stderr
    # Nobody reads, and what writes neither goes on nor ends.
    reading, writing = os.pipe()
    feeding, fed = os.pipe()
    process = subprocess.Popen(command("-i", "-", "-o", "-"), stdin=feeding, stdout=writing, stderr=subprocess.PIPE)
    os.close(reading), os.close(writing), os.close(feeding)
    with open(fed, "wb") as pipe:
        pipe.write(path.read_bytes()[:20_000])
        pipe.flush()
        _, said = process.communicate(timeout=600)
    assert process.returncode == 141 and b"Traceback" not in said and b"error" not in said


def test_into_files_and_out_of_them(tmp_path: Path) -> None:
    """Catches a pipe whose video, folder or part is another than that of a file, and a cut one that ends as a whole."""
    path, _ = written(tmp_path, frames(12, 24, 32))
    cut = path.read_bytes()[:-1]
    words = ["-i", "-", "-o", str(tmp_path / "out"), "--from", "2", "--progress", "json"]
    done = subprocess.run(command(*words), input=cut, capture_output=True)
    assert done.returncode == 3 and b"ends within frame 11" in done.stderr
    assert len(open_frames(tmp_path / "out").names or ()) == 9
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["input"] == "-" and metrics["frames"] == 9
    words = ["-i", str(tmp_path / "out"), "-o", "-", "--format", "raw", "--pixel-format", "rgb24", "-q"]
    done = subprocess.run(command(*words), capture_output=True, check=True)
    raw = np.frombuffer(done.stdout, np.uint8).reshape(9, 24, 32, 3)
    np.testing.assert_array_equal(raw, np.stack(list(open_frames(tmp_path / "out"))))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume",), "--resume"),
        (("--preview",), "--preview"),
        (("--open",), "--open"),
        (("--spikes", "s"), "--spikes"),
        (("--sharp", "s"), "--sharp"),
        (("--video", "a.mkv"), "--video"),
        (("--codec", "h264"), "--codec"),
        (("--raw-format", "nv12"), "--raw-size"),
        (("--pixel-format", "rgb24"), "pixel format of y4m"),
        (("--stream", "0"), "--stream"),
        (("--tile", "0,24,32"), "--tile"),
    ],
)
def test_what_a_pipe_cannot_do(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Catches an option that is taken and has no effect, or would need what went through a pipe already."""
    from spikejax import restore
    from spikejax.cli import run
    from tests.inference.small_input import Brighten, restorer_of

    monkeypatch.setattr(restore, "_load", lambda options: restorer_of(Brighten(None)))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR)
    os.write(holder, written(tmp_path, frames(2, 24, 32))[0].read_bytes())
    monkeypatch.setattr(sys, "argv", ["restore", "--network", "work", "-i", str(pipe), "-o", "-", *words])
    with pytest.raises(SystemExit) as ended:
        run(restore.main)
    os.close(holder)
    out, err = capfd.readouterr()
    assert ended.value.code == 2 and out == "" and said in err.splitlines()[-1] and "expected" in err
