"""README.md and docs/: what they show runs, parses, is linked rightly, and is what the scripts of the project draw."""

import argparse
import ast
import importlib
import importlib.util
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from skimage import data

from spikejax import installed
from spikejax.__main__ import COMMANDS
from spikejax.config.files import load_config
from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.experiments.spec import read_experiment
from spikejax.io.pictures import write_picture
from spikejax.io.weights import Weights, write_weights
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training.step import describe_network
from tests.inference.small_input import BINS, FRAMES, HEIGHT, STATISTICS, STEPS, WIDTH, save_random_network, tiny_config

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
NOTEBOOK = DOCS / "restore_a_clip.ipynb"
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

# Every address that a page may name. `NAME` stands for the files of a release.
ADDRESSES = {
    "https://arxiv.org/abs/1611.00850",
    "https://arxiv.org/abs/1811.11168",
    "https://arxiv.org/abs/2103.14030",
    "https://arxiv.org/abs/2201.12288",
    "http://toflow.csail.mit.edu",
    "https://github.com/JingyunLiang/VRT",
    "https://github.com/JingyunLiang/VRT/releases/download/v0.0/NAME.pth",
    "https://github.com/JingyunLiang/VRT/releases/download/v0.0/testset_NAME.tar.gz",
    "https://github.com/S-VRT/S-VRT",
    "https://github.com/Zyj061/SpikeCV",
    "https://github.com/chenkang455/S-SDM",
    "https://github.com/chenkang455/Spike-Zoo",
    "https://github.com/cszn/KAIR",
    "https://github.com/hnmizuho/SpkDeblurNet",
    "https://seungjunnah.github.io/Datasets/gopro",
    "https://seungjunnah.github.io/Datasets/reds",
}


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every block of a language; lines are counted so that an error names the page's own."""
    lines = page.read_text(encoding="utf-8").splitlines()
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith("```")]
    assert len(fences) % 2 == 0, f"{page}: a block that does not end"
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        if lines[start].strip() == f"```{language}":
            yield start + 1, "\n".join(lines[start + 1 : end]) + "\n"


def prose(page: Path) -> str:
    """A page without its blocks and its spans of code."""
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]+`", "", text)


# -- Python blocks ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples find: a quick start's run with a tiny network, a scene, and converted weights."""
    root = tmp_path_factory.mktemp("docs")
    run = root / "runs" / "quickstart"
    save_random_network(run, tiny_config())
    scene = run / "data" / "val" / "000_chelsea"
    for index in range(FRAMES):
        sharp = data.astronaut()[index : index + HEIGHT, :WIDTH]
        for name, frame in (("sharp", sharp), ("blur", sharp // 2)):
            (scene / name).mkdir(parents=True, exist_ok=True)
            write_picture(scene / name / f"{index:06d}.png", frame)
        write_dat(scene / "spike" / f"{index:06d}.dat", np.ones((STEPS, HEIGHT, WIDTH), np.uint8))
    write_config(scene / "spike", StreamConfig(HEIGHT, WIDTH))
    model = tiny_config().model.to_dict()
    network = describe_network(lambda: build_restorer(model, rngs=make_rngs(0)))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), network.shapes)
    write_weights(root / "weights.safetensors", Weights("restorer", model, params, STATISTICS))
    return root


def python_code(page: Path) -> str:
    """All Python of a page."""
    return "".join(text for _, text in blocks(page, "python"))


def restores(page: Path) -> bool:
    """Whether a page's Python reads a network that has to be made first."""
    return any(path in python_code(page) for path in ("runs/quickstart", "weights.safetensors"))


def run_blocks(page: Path) -> dict[str, Any]:
    """Runs a page's Python blocks in order, in one namespace, which is returned.

    A block whose first line is a comment with the name of a file is written to that file instead.
    """
    names: dict[str, Any] = {"__name__": "example"}
    for line, text in blocks(page, "python"):
        if (file := re.match(r"# (\w+\.py)\n", text)) is not None:
            Path(file[1]).write_text(text, encoding="utf-8")
            continue
        # Blank lines in front, so that a traceback has the page's line numbers.
        exec(compile("\n" * line + text, str(page), "exec"), names)
    return names


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if restores(page) else (), id=str(page.relative_to(ROOT)))
        for page in PAGES
        if python_code(page)
    ],
)
def test_python_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Catches an example that does not run, or whose result is not what its comments say."""
    if restores(page):
        shutil.copytree(request.getfixturevalue("made"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    names = run_blocks(page)
    if page.name == "restoring.md":
        assert names["restored"].shape == (FRAMES, HEIGHT, WIDTH, 3)
        assert names["restored"].dtype == np.uint8
        np.testing.assert_array_equal(np.stack(names["one_by_one"]), names["restored"])
        assert names["recon"].shape == names["clip"].shape
    if page.name == "weights.md":
        assert names["model"].spike_bins == BINS


# -- command lines ----------------------------------------------------------------------------------------------------


class Parsed(Exception):
    """A command line has been parsed; nothing that it asks for is done."""


def command_lines(page: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of every command in the page's shell blocks, and of every one with options in spans of code."""
    for line, text in blocks(page, "bash"):
        for part in re.split(r"&&|\n", text.replace("\\\n", " ").replace("&&\n", "&& ")):
            if words := shlex.split(part, comments=True):
                yield line, words
    for match in re.finditer(r"`((?:python -m |spikejax )[^`\n]+ --[^`\n]+)`", page.read_text(encoding="utf-8")):
        yield page.read_text(encoding="utf-8")[: match.start()].count("\n") + 1, shlex.split(match[1])


def find_command(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The command of ours that a line calls (a module, or a script's path) and its arguments; None = another's."""
    match list(words):
        case ["python", "-m", module, *arguments] if module.startswith("spikejax.") or module == "convert":
            name = module.removeprefix("spikejax.")
        case ["spikejax", name, *arguments]:
            pass
        case ["python", script, *arguments] if script.startswith("scripts/"):
            return script, arguments
        case _:
            assert words[0] not in ("spikejax", "python") or words[2:3] == ["pytest"], f"no command of ours: {words}"
            return None
    assert name in COMMANDS, f"no command {name}: {words}"
    return ("convert.__main__" if name == "convert" else f"spikejax.{name}"), arguments


def load_command(name: str) -> ModuleType:
    """The module of a command, or of a script by its path."""
    if not name.startswith("scripts/"):
        return installed.load_module(name) if name.startswith("convert") else importlib.import_module(name)
    title = f"a_script_{Path(name).stem}"  # which hides no module
    spec = importlib.util.spec_from_file_location(title, ROOT / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # dataclasses look their own module up
    sys.path.insert(0, str(ROOT / "scripts"))  # as Python does for a script
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def parse_line(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the command itself parse its arguments and load the configuration that they name, and stops it there."""
    depth = 0
    parse_known_args = argparse.ArgumentParser.parse_known_args
    module = load_command(name)

    def parse_and_stop(self: argparse.ArgumentParser, *given: Any, **options: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            namespace, rest = parse_known_args(self, *given, **options)
        finally:
            depth -= 1
        if depth or getattr(namespace, "config", None):  # a subcommand's parser; or there is a configuration to load
            return namespace, rest
        assert not rest, f"unrecognized arguments: {rest}"
        raise Parsed

    def read_and_stop(path: str) -> None:
        if path not in ("FILE", "rates.py", "unseen.py"):  # the latter their page writes
            read_experiment(path)
        raise Parsed

    def load_and_stop(path: str, overrides: Sequence[str]) -> None:
        if path != "FILE":
            load_config(path, overrides)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_and_stop)
        patch.setattr(module, "load_config", load_and_stop, raising=False)
        patch.setattr(module, "read_experiment", read_and_stop, raising=False)
        patch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(Parsed):
            module.main(arguments) if name.startswith(("spikejax.", "convert")) else _call_script(module, arguments)


def _call_script(module: ModuleType, arguments: list[str]) -> None:
    takes = module.main.__code__.co_argcount
    module.main(*([arguments] if takes else []))


@PAGE
def test_command_lines_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an option that was renamed, a choice that is gone, a key that no configuration has, a lost script."""
    monkeypatch.chdir(ROOT)
    for line, words in command_lines(page):
        if (command := find_command(words)) is not None:
            try:
                parse_line(*command, monkeypatch)
            except (SystemExit, Exception) as error:
                pytest.fail(f"{page.name}:{line}: {shlex.join(words)}: {error!r}")


@pytest.mark.parametrize("page", ["README.md", "docs/restoring.md"])
def test_the_first_commands_can_be_run_again(page: str) -> None:
    """Catches a quick start that ends in an error where somebody runs it a second time."""
    lines = [words for _, words in command_lines(ROOT / page) if "runs/quickstart/restored" in words]
    restoring = [words for words in lines if "spikejax.restore" in words]
    assert restoring and all("--overwrite" in words for words in restoring)


@pytest.mark.parametrize(
    "line",
    [
        "python -m spikejax.restore --network a --input b --output c --tile 1,2",
        "python -m spikejax.train --config configs/quickstart.py --workdir DIR --config.training.step=1",
        "python -m spikejax.train --config configs/vrt.py:010 --workdir DIR",
        "python -m convert to-jax --network 010 --input a --output b",
        "spikejax view --input ROOT",
        "spikejax trian --config quickstart --workdir DIR",
        "python scripts/draw_figures.py --all",
    ],
)
def test_a_wrong_line_is_noticed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a check of command lines that lets through whatever it is given."""
    monkeypatch.chdir(ROOT)
    page = tmp_path / "page.md"
    page.write_text(f"```bash\n{line}\n```\n", encoding="utf-8")
    ((_, words),) = command_lines(page)
    with pytest.raises((SystemExit, Exception)):
        command = find_command(words)
        assert command is not None
        parse_line(*command, monkeypatch)


# -- links ------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Every link of a page to a file or a heading that is not there."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


@PAGE
def test_links(page: Path) -> None:
    """Catches a page, a file or a heading that was moved or renamed and is still linked by its old name."""
    assert broken_links(page) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    """Catches a check of links that finds nothing, or that takes headings in blocks for headings."""
    page = tmp_path / "page.md"
    page.write_text("# A title (1)\n[a](b.md) [c](#a-title-1) [d](#not) `[e](f)`\n```\n# not\n[g](h)\n```\n")
    assert broken_links(page) == ["b.md", "#not"]


@pytest.mark.parametrize("page", [*PAGES, NOTEBOOK], ids=lambda page: str(page.relative_to(ROOT)))
def test_addresses(page: Path) -> None:
    """Catches an address that nobody has seen."""
    named = re.findall(r"https?://[^\s)`\"'>\\|]+", page.read_text(encoding="utf-8"))
    assert {address.rstrip(".,;") for address in named} <= ADDRESSES


def test_modules_cite_sections_that_are_there() -> None:
    """Catches a module that sends its reader to a page or a section that is not there, or out of the repository."""
    cited = 0
    for package in ("spikejax", "convert", "configs", "scripts"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "spec/" not in text, path
            for page, sections in re.findall(r"docs/(\w+\.md)(?:, sections? ([\d., and]+))?", text):
                headings = re.findall(r"^#+ (\d[\d.]*)", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
                wanted = re.findall(r"\d+(?:\.\d+)?", sections)
                assert set(wanted) <= {heading.rstrip(".") for heading in headings}, f"{path}: {page} {sections}"
                cited += 1
    assert cited > 9


def test_the_index_names_every_page() -> None:
    """Catches a page that nobody finds."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [*DOCS.glob("*.md"), *DOCS.glob("*.ipynb")]
    assert [page.name for page in pages if page.name != "README.md" and f"({page.name})" not in index] == []


# -- architecture and figures -----------------------------------------------------------------------------------------


def test_every_package_has_a_line() -> None:
    """Catches a package or a module beside the packages that the page forgets, and one that is gone."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+)/` \|", page, flags=re.MULTILINE)
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "spikejax").rglob("__init__.py")}
    assert {row for row in rows if row.startswith("spikejax/")} == packages - {"spikejax", "spikejax/data"}
    assert all((ROOT / row).is_dir() for row in rows)
    assert {"spikejax", "configs", "convert", "docs", "scripts", "tests"} <= set(rows)
    (row,) = (line for line in page.splitlines() if line.startswith("| `spikejax/` |"))
    modules = {path.stem for path in (ROOT / "spikejax").glob("[!_]*.py")}
    assert set(re.findall(r"`(\w+)`", row)) == modules


def test_every_file_of_the_network_has_a_line() -> None:
    """Catches a module of the network that the page forgets, and one that it names and that is gone."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("| file | holds |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+\.py)`", table))
    modules = {path.name for path in (ROOT / "spikejax" / "models").glob("[!_]*.py")}
    assert named == modules


def test_figures_are_what_the_script_draws() -> None:
    """Catches a figure that was changed by hand, or a change of the script whose figures were not drawn again."""
    module = load_command("scripts/draw_figures.py")
    assert set(module.FIGURES) == {path.name for path in DOCS.glob("*.svg")}
    for name, draw in module.FIGURES.items():
        assert draw().svg() == (DOCS / name).read_text(encoding="utf-8"), name


# -- the notebook -----------------------------------------------------------------------------------------------------


def notebook_cells() -> list[dict[str, Any]]:
    """The cells of the notebook."""
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_is_clean() -> None:
    """Catches outputs, counts of executions and metadata of somebody's session that were committed."""
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    assert all(cell["metadata"] == {} for cell in content["cells"])
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    identities = [cell["id"] for cell in content["cells"]]
    assert len(set(identities)) == len(identities)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a cell that does not run, a picture that is not shown, and a result that is not what the text says."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = []
    for cell in notebook_cells():
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, NOTEBOOK.name, "exec"), names)
        if isinstance(last, ast.Expr):  # what a notebook shows below the cell
            shown.append(eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names))
    assert names["restored"].shape == names["blur"].shape == names["sharp"].shape
    assert names["restored"].dtype == np.uint8
    pictures = [picture for picture in shown if hasattr(picture, "_repr_png_")]
    assert len(pictures) == 2
    before_and_after = np.asarray(pictures[-1])
    width = names["blur"].shape[2]
    panels = [before_and_after[:, start : start + width] for start in range(0, before_and_after.shape[1], width)]
    assert len(panels) == 3
    # As its text says: the network is not trained, and gives back what it gets.
    np.testing.assert_array_equal(panels[0], panels[1])
    assert not np.array_equal(panels[0], panels[2])
