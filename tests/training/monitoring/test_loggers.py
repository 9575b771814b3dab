"""Where a run's metrics go, and what each of those places makes of a run that was killed and goes on."""

import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from spikejax.config.keys import leaves
from spikejax.errors import InputError
from spikejax.extras import EXTRAS
from spikejax.training.loop import train
from spikejax.training.monitoring.loggers import NEEDED, find_loggers
from spikejax.training.monitoring.metrics_log import read_points
from spikejax.training.monitoring.run_logger import RunLogger, RunStart, read_identity
from spikejax.training.monitoring.run_writer import RunWriter
from spikejax.training.step import Build

# TensorFlow's import warns about Python's and its own deprecations; so do W&B's and MLflow's.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
ROOT = Path(__file__).parents[3]
LOSS, EDGES = "training/loss", "training/loss/edges"


def log(workdir: Path, config: ConfigDict, logger: str, steps: range) -> RunWriter:
    """Writes a run's points of some steps, as a process does that goes on from the step before them."""
    loggers = find_loggers((logger,), note=print)
    writer = RunWriter(workdir, config, loggers, step=steps.start - 1)
    for step in steps:
        writer.scalars(step, "training", {"loss": step / 2, "loss/edges": step / 4})
    return writer


def kill(writer: RunWriter) -> None:
    """Ends writing as a kill after a checkpoint does: what is on disk is there, and no logger is closed."""
    writer.flush()
    assert writer._log is not None
    writer._log.close()  # or Python complains of an open file


def killed_twice(workdir: Path, config: ConfigDict, logger: str) -> None:
    """Steps 1 to 9, of three processes: two end without closing what they wrote, some steps after a checkpoint."""
    kill(log(workdir, config, logger, range(1, 7)))
    kill(log(workdir, config, logger, range(4, 9)))
    writer = log(workdir, config, logger, range(6, 10))
    writer.pictures(9, {"scene": np.zeros((4, 12, 3), np.uint8)})
    writer.overview(9, {"kernel": np.zeros((2, 3), np.float32)})
    writer.close()


EXPECTED = [(step, step / 2) for step in range(1, 10)]


class Kept(RunLogger):
    """A logger of the user's."""

    runs: list[RunStart] = []  # noqa: RUF012
    points: list[tuple[int, Mapping[str, float]]] = []  # noqa: RUF012

    def __init__(self, run: RunStart) -> None:
        self.runs.append(run)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `RunLogger`."""
        self.points.append((step, dict(values)))


def test_a_logger_of_ones_own(tmp_path: Path, config: ConfigDict) -> None:
    """Catches a logger that cannot be added from outside, and one that is not told where a run goes on."""
    Kept.runs.clear()
    Kept.points.clear()
    killed_twice(tmp_path, config, f"{__name__}:Kept")
    assert [run.step for run in Kept.runs] == [0, 3, 5]
    assert Kept.runs[0].handed_over == frozenset()
    assert Kept.runs[1].handed_over == {(step, name) for step in (4, 5, 6) for name in (LOSS, EDGES)}
    assert Kept.runs[2].settings == dict(leaves(config))
    assert [step for step, _ in Kept.points] == [*range(1, 7), *range(4, 9), *range(6, 10)]
    assert Kept.points[-1] == (9, {LOSS: 4.5, EDGES: 2.25})


@pytest.mark.slow
def test_tensorboard_shows_each_point_once(tmp_path: Path, config: ConfigDict) -> None:
    """Catches curves that go back in time where a run went on, in a reader of the files and in TensorBoard's own.

    TensorBoard itself may have had the files open before they were written anew, so it is told as well.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as ServersAccumulator
    from tensorboard.util import tensor_util

    def points(accumulator: EventAccumulator | ServersAccumulator, name: str) -> list[tuple[int, float]]:
        events = accumulator.Tensors(name)
        return [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events]

    folder = tmp_path / "tensorboard"
    kill(log(tmp_path, config, "tensorboard", range(1, 7)))
    (first,) = folder.iterdir()
    with first.open("ab") as file:  # what a kill leaves of a point that was being written
        file.write(b"\x20\x00\x00")
    old = ServersAccumulator(str(folder), purge_orphaned_data=True).Reload()  # keeps the file open
    kill(log(tmp_path, config, "tensorboard", range(4, 9)))
    log(tmp_path, config, "tensorboard", range(6, 10)).close()
    assert len(list(folder.iterdir())) == 3
    everything = EventAccumulator(str(folder), size_guidance={"tensors": 0}, purge_orphaned_data=False).Reload()
    assert points(everything, LOSS) == EXPECTED
    assert points(everything, EDGES) == [(step, step / 4) for step in range(1, 10)]
    assert points(old.Reload(), LOSS) == EXPECTED


@pytest.mark.slow
@pytest.mark.needs("mlflow")
def test_mlflow_has_each_point_once(tmp_path: Path, config: ConfigDict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a run that begins anew at MLflow after a kill, points twice, and settings that end it."""
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    killed_twice(tmp_path, config, "mlflow")
    kept = json.loads((tmp_path / "mlflow.json").read_text())
    client = MlflowClient(tracking_uri=kept["tracking_uri"])
    (run,) = client.search_runs([client.get_experiment_by_name("spikejax").experiment_id])
    assert (run.info.run_id, run.info.status) == (kept["run_id"], "FINISHED")
    for name, divisor in ((LOSS, 2), ("training/loss.edges", 4)):
        history = sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        assert history == [(step, step / divisor) for step in range(1, 10)]
    assert run.data.params["training.steps"] == str(config.training.steps)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"configuration_0000009.txt", "versions_0000009.txt", "pictures"} <= files


WANDB = """
import os, signal, sys, time
from pathlib import Path
from tests.stand_ins import tiny_config
from tests.training.monitoring.test_loggers import log

begin, end = int(sys.argv[2]), int(sys.argv[3])
writer = log(Path(sys.argv[1]), tiny_config(), "wandb", range(begin, end))
writer.flush()
if end < 10:
    time.sleep(2.5)
    os.kill(os.getpid(), signal.SIGKILL)
writer.close()
"""


def wandb_records(path: Path) -> Iterator[bytes]:
    """Yields the records of a file as W&B keeps it: LevelDB's log format, after seven bytes of a header.

    Blocks of 32 KiB hold pieces: checksum, length, and whether it is a whole record (1) or its first, a middle or its
    last piece (2, 3, 4). A block's last bytes, too few for such a head, are not used.
    """
    data, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += 7 + length
        record = (record if kind in (3, 4) else b"") + data[position - length : position]
        if kind in (1, 4) and position <= len(data):
            yield record


def wandb_rows(folder: Path) -> list[dict[str, float]]:
    """The rows of every process's file, as `wandb sync` would send them."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for path in sorted(folder.glob("offline-run-*/run-*.wandb")):
        for data in wandb_records(path):
            record = Record.FromString(data)
            if record.HasField("history"):
                items = record.history.item
                rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


@pytest.mark.slow
@pytest.mark.needs("wandb")
def test_wandb_has_each_point_once(tmp_path: Path) -> None:
    """Catches another run at W&B after each kill, and points twice or lost."""
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    codes = []
    for begin, end in ((1, 7), (4, 9), (6, 10)):
        command = [sys.executable, "-W", "ignore", "-c", WANDB, str(tmp_path), str(begin), str(end)]
        codes.append(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    identity = json.loads((tmp_path / "wandb.json").read_text())["id"]
    assert [(row["step"], row[LOSS]) for row in wandb_rows(tmp_path / "wandb")] == EXPECTED
    assert {path.name for path in (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")} == {f"run-{identity}.wandb"}


@pytest.mark.parametrize("name", NEEDED)
def test_a_logger_that_is_not_installed(
    name: str, tmp_path: Path, config: ConfigDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a traceback, a run that was asked for W&B and has none, and no run where TensorFlow has no wheel."""
    find_spec = importlib.util.find_spec
    absent = EXTRAS[NEEDED[name]][-1]
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == absent else find_spec(module))
    notes: list[str] = []
    if name == "tensorboard":
        loggers = find_loggers((name,), note=notes.append)
        assert notes == [
            "no TensorBoard without tensorflow (pip install 'spikejax[train]'): metrics.jsonl has the curves"
        ]
        writer = RunWriter(tmp_path, config, loggers, step=0)
        writer.scalars(1, "training", {"loss": 1.0})
        writer.close()
        assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
        assert not (tmp_path / "tensorboard").exists()
    else:
        with pytest.raises(InputError, match=rf"^training.loggers={name}: .* \(pip install 'spikejax\[{name}\]'\)"):
            find_loggers((name,), note=notes.append)
        assert notes == []


BROKEN = """
import sys
from pathlib import Path
from spikejax.errors import InputError
from tests.stand_ins import tiny_config
from tests.training.monitoring.test_loggers import log

try:
    writer = log(Path(sys.argv[1]), tiny_config(), sys.argv[2], range(1, 3))
except InputError as error:
    sys.exit(str(error))
writer.overview(2, {})
writer.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorflow"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_logger_that_cannot_be_imported(name: str, module: str, tmp_path: Path) -> None:
    """Catches a traceback, hours after the start perhaps, where a package is installed and does not work."""
    (tmp_path / "broken" / module).mkdir(parents=True)
    (tmp_path / "broken" / module / "__init__.py").write_text("raise AttributeError('built for\\nanother NumPy')\n")
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, tmp_path / "run", name],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "broken"), str(ROOT)])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    said = "AttributeError: built for another NumPy"
    if name == "tensorboard":
        assert done.returncode == 0
        assert line == f"spikejax: no TensorBoard, metrics.jsonl has the curves; importing it failed: {said}"
        assert len(list(read_points(tmp_path / "run" / "metrics.jsonl"))) == 4
    else:
        assert done.returncode == 1
        assert line == f"training.loggers: {name}: {said}"


def damaged(record: bytes) -> Callable[[Path], object]:
    """What writes a record behind those of a file of events."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    def write(path: Path) -> None:
        with path.open("ab") as file:
            RecordWriter(file).write(record)

    return write


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:37]),
    "a bit": lambda path: path.write_bytes(b"\xff".join([path.read_bytes()[:50], path.read_bytes()[51:]])),
    "empty": lambda path: path.write_bytes(b""),
    "no event": lambda path: damaged(b"\xff\xff\xff")(path),
    "folder": lambda path: path.with_name("z.tfevents").mkdir(),
    "link": lambda path: path.with_name("z.tfevents").symlink_to("nowhere"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGE)
def test_what_lies_among_the_files_of_tensorboard(kind: str, tmp_path: Path, config: ConfigDict) -> None:
    """Catches a run that cannot go on for a damaged log, or for something that is none."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    kill(log(tmp_path, config, "tensorboard", range(1, 7)))
    (file,) = (tmp_path / "tensorboard").iterdir()
    DAMAGE[kind](file)
    log(tmp_path, config, "tensorboard", range(4, 6)).close()
    (new,) = set((tmp_path / "tensorboard").glob("events*")) - {file}
    events = EventAccumulator(str(new), size_guidance={"tensors": 0}).Reload()
    assert [event.step for event in events.Tensors(LOSS)] == [4, 5]
    assert [point.step for point in read_points(tmp_path / "metrics.jsonl") if point.name == "loss"] == [*range(1, 6)]


@pytest.mark.slow
def test_a_file_in_the_place_of_tensorboards_folder(tmp_path: Path, config: ConfigDict) -> None:
    """Catches a traceback where a logger cannot write, and a line that does not say which or where."""
    (tmp_path / "tensorboard").write_text("")
    where = tmp_path / "tensorboard"
    with pytest.raises(InputError, match=rf"^training.loggers: tensorboard: FileExistsError: .*{where}"):
        log(tmp_path, config, "tensorboard", range(1, 2))


@pytest.mark.parametrize("content", ["{}", '{"id": 3}', '{"id": null, "other": ""}', "[1]", "{", "\xff"])
def test_a_file_of_identities_that_is_none(content: str, tmp_path: Path) -> None:
    """Catches a traceback, or silently another run, where the file that keeps a run's name was written over."""
    path = tmp_path / "wandb.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=rf"^expected .*, found .*: {path}$"):
        read_identity(path, "id")
    path.write_text('{"id": "a", "of": 3}')
    assert read_identity(path, "id") == {"id": "a", "of": 3}
    path.unlink()
    assert read_identity(path, "id") is None


@pytest.mark.slow
def test_a_run_without_tensorflow(
    tmp_path: Path,
    run_config: ConfigDict,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches a training that cannot be done where TensorFlow has no wheel, or that keeps silent about its curves."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    run_config.training.steps = 3
    run_config.training.log_every = 1
    train(run_config, tmp_path, build=build)
    assert capsys.readouterr().out.count("no TensorBoard without tensorflow (pip install 'spikejax[train]')") == 1
    curves = {point.curve for point in read_points(tmp_path / "metrics.jsonl")}
    assert {LOSS, "training/learning_rate", "validation/psnr_recon"} <= curves
    assert (tmp_path / "parameters.txt").is_file()
    assert not (tmp_path / "tensorboard").exists()


def test_a_folder_in_the_place_of_the_metrics(tmp_path: Path, config: ConfigDict) -> None:
    """Catches a traceback where the file cannot be written to."""
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"expected a file, found a folder: .*metrics.jsonl"):
        RunWriter(tmp_path, config, {}, step=0)


def test_only_what_is_asked_for_is_imported() -> None:
    """Catches TensorFlow, W&B or MLflow imported by a run that does not use them."""
    program = (
        "import sys; import spikejax.training.loop, spikejax.training.monitoring.loggers; "
        "print({'tensorflow', 'tensorboard', 'wandb', 'mlflow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
