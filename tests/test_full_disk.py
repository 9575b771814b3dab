"""A disk without room, for every command that writes: one line, nothing by halves, and the same command gets it done.

The room is that of one file, which the system limits (`ulimit -f`, error EFBIG): it needs no disk of its own, and holds
for what is written below Python too. Training is tested with a full disk in `tests/training`, preparing in
`tests/test_prepare.py`, the frames of restoring in `tests/inference/test_resumable_output.py`.
"""

import errno
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from convert.__main__ import main as convert
from spikejax import cli, compare, evaluate, export, report, restore, simulate, view
from spikejax.io.pictures import write_picture
from spikejax.models.traits import NetworkTraits
from tests.evaluation.test_folders import use as use_for_evaluation
from tests.evaluation.test_folders import write_tree
from tests.file_limit import files_up_to
from tests.inference.small_input import Brighten, restorer_of, write_inputs
from tests.reports.conftest import root as root
from tests.test_compare import FIRST, SECOND, evaluation
from tests.test_simulate import moving_frames


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        main: its entry point.
        arguments: of the command line.
        output: what it writes.
        resumes_with: what the same command takes as well to go on.
    """

    main: Callable[[Sequence[str]], None]
    arguments: Sequence[str | Path]
    output: Path
    resumes_with: Sequence[str] = ()

    def exit_code(self, *more: str) -> tuple[int, list[str]]:
        """How it ends, and what it says of that."""
        said: list[str] = []
        code = cli._exit_code(self.main, [*map(str, self.arguments), *more], said)
        return code, said


Make = Callable[[Path, Path, pytest.MonkeyPatch], Command]


def exports(name: str) -> Make:
    """Makes the export of the packaged network to a file, or folder, of that name."""
    return lambda folder, root, patch: Command(
        export.main, ["--network", "demo", "--output", folder / name], folder / name
    )


def converts(*arguments: str) -> Make:
    """Makes a conversion of the packaged network."""

    def make(folder: Path, root: Path, patch: pytest.MonkeyPatch) -> Command:
        return Command(convert, [*arguments, "--output", folder / "out.pth"], folder / "out.pth")

    return make


def evaluates(folder: Path, root: Path, patch: pytest.MonkeyPatch) -> Command:
    """Makes an evaluation that keeps its frames."""
    for name, seed in (("lq", 0), ("gt", 1)):
        write_tree(folder / name, {"x": 2, "y": 9}, seed=seed)
    use_for_evaluation(patch, NetworkTraits())
    given = ["--network", folder / "w.safetensors", "--input", folder / "lq", "--sharp", folder / "gt"]
    output = folder / "out"
    return Command(evaluate.main, [*given, "--output", output, "--metrics", "psnr", "ssim", "--save-frames"], output)


def compares(folder: Path, root: Path, patch: pytest.MonkeyPatch) -> Command:
    """Makes a comparison of two evaluations."""
    two = [evaluation(folder / "a", FIRST), evaluation(folder / "b", SECOND)]
    return Command(compare.main, [*two, "--page", folder / "page.html"], folder / "page.html")


def restores(name: str) -> Make:
    """Makes the restoring of some pictures to an output of that name."""

    def make(folder: Path, root: Path, patch: pytest.MonkeyPatch) -> Command:
        patch.setattr(restore, "_load", lambda options: restorer_of(Brighten(None)))
        inputs = ["--network", "work", "--input", write_inputs(folder) / "blur"]
        return Command(restore.main, [*inputs, "--output", folder / name], folder / name, ["--resume"])

    return make


def reports(folder: Path, root: Path, patch: pytest.MonkeyPatch) -> Command:
    """Makes the page of a restored folder."""
    restored = restores("out")(folder, root, patch)
    assert restored.exit_code()[0] == 0
    page = folder / "page.html"
    return Command(report.main, [restored.output, "--page", page, "--other-spikes", "0"], page)


def simulates(folder: Path, root: Path, patch: pytest.MonkeyPatch) -> Command:
    """Makes a sequence of a moving picture."""
    (folder / "clip").mkdir()
    for number, frame in enumerate(moving_frames(9, pixels=2)):
        write_picture(folder / "clip" / f"{number}.png", frame)
    how = ["--exposure-frames", "4", "--steps", "16"]
    return Command(simulate.main, ["--input", folder / "clip", "--output", folder / "out", *how], folder / "out")


def views(name: str) -> Make:
    """Makes a sheet, or a video, of a sequence."""

    def make(folder: Path, root: Path, patch: pytest.MonkeyPatch) -> Command:
        sequence = next(path for path in sorted((root / "train").iterdir()) if path.is_dir())
        return Command(view.main, ["--input", sequence, "--output", folder / name], folder / name)

    return make


# By a name: the command, and how long its files may get. The larger one, of two, is met once something is written.
COMMANDS: dict[str, tuple[Make, Sequence[int]]] = {
    "export weights": (exports("out.safetensors"), [100_000]),
    "export to PyTorch": (exports("out.pth"), [100_000]),
    "export a folder": (exports("out"), [100_000]),
    "convert to PyTorch": (converts("to-torch", "--input", "demo"), [100_000]),
    "evaluate": (evaluates, [700, 2500]),
    "compare": (compares, [6000]),
    "restore pictures": (restores("out"), [200, 1000]),
    "restore a video": (restores("out.mkv"), [200, 1000]),
    "report": (reports, [6000]),
    "simulate": (simulates, [700, 5000]),
    "view a sheet": (views("out.png"), [6000]),
    "view a video": (views("out.mp4"), [1000]),
}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is no hidden one and in no hidden folder, by its path."""
    names = {path: path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    shown = {path: name for path, name in names.items() if not any(part.startswith(".") for part in name.parts)}
    return {str(name): path.read_bytes() for path, name in shown.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name, (_, sizes) in COMMANDS.items() for size in sizes], ids=str
)
def test_no_room(name: str, size: int, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback, an output that is there by halves, and a command that does not get past what it left."""
    monkeypatch.setattr(cli, "_drop_output", lambda: None)  # of this process, which goes on
    command = COMMANDS[name][0](tmp_path, root, monkeypatch)
    before = contents(tmp_path)
    with files_up_to(size):
        code, said = command.exit_code()
    assert (code, len(said)) == (2, 1), said
    assert re.match(rf"spikejax: error: .*(room|write).*{os.strerror(errno.EFBIG)}", said[0]), said
    assert command.output.stem in said[0]
    assert contents(tmp_path) == before
    assert command.exit_code(*command.resumes_with) == (0, [])
    made = {key: value for key, value in contents(tmp_path).items() if key not in before}
    assert made and all(key.startswith(command.output.stem) for key in made)
    assert not list(tmp_path.glob(".*")), "the output is done, so nothing unfinished is left"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.safetensors", "out"])
def test_what_a_killed_export_left(name: str, tmp_path: Path) -> None:
    """Catches an export that a half of an earlier one stops, or that is put together with it."""
    path = tmp_path / name
    left = tmp_path / f".{path.stem}.0123abcd.partial{path.suffix}"
    if path.suffix:
        left.write_bytes(b"half")
    else:
        left.mkdir()
        (left / "config.json").write_text("{")
        path.mkdir()
        (path / ".new.0123abcd.partial").mkdir()
        (path / ".new.0123abcd.partial" / "README.md").write_text("half")
    export.main(["--network", "demo", "--output", str(path)])
    again = tmp_path / f"again{path.suffix}"
    export.main(["--network", "demo", "--output", str(again)])
    both = [contents(folder) if folder.is_dir() else folder.read_bytes() for folder in (path, again)]
    if isinstance(both[0], dict):
        for folder in both:
            folder.pop("README.md")  # which has the name
    assert both[0] == both[1]
