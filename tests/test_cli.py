"""How commands end, and how their arguments are read: one grammar for each kind of value, in every command."""

import argparse
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from spikejax import cli, installed
from spikejax.__main__ import COMMANDS
from spikejax.cli import run
from spikejax.errors import InputError

ROOT = Path(__file__).parents[1]
OWN_COMMANDS = [command for command in COMMANDS if command != "convert"]
SHAPES = "scripts/validate_model_shapes.py"
# Every option of a kind that there is: whoever adds one adds it here.
SIZES = {
    ("prepare", "--spike-size"),
    ("restore", "--raw-size"),
    ("restore", "--spike-size"),
    ("simulate", "--size"),
    ("view", "--spike-size"),
}
EXTENTS = {
    *((command, option) for command in ("restore", "evaluate", "plan") for option in ("--overlap", "--tile")),
    ("export", "--tile"),
    (SHAPES, "--size"),
}
BYTES = {("restore", "--memory"), ("plan", "--memory")}
MAY_BE_IN_A_BUCKET = {
    ("train", "--workdir"),
    ("evaluate", "--network"),
    ("evaluate", "--workdir"),
    ("export", "--network"),
    ("evaluate", "--data"),
    ("evaluate", "--lpips"),
    ("restore", "--network"),
    ("restore", "--input"),
    ("restore", "--sharp"),
    ("restore", "--lpips"),
    ("report", "--network"),
    ("export", "--workdir"),
    ("export", "--push"),  # to the hub
    ("plan", "--network"),
    *((command, "--statistics") for command in ("restore", "evaluate", "export", "convert")),
    ("convert", "--input"),  # of to-torch; to-jax says so itself
}


def exit_code(error: BaseException | None) -> object:
    """How the process ends when its main function raises `error`."""

    def main(_: Sequence[str]) -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as caught:
        run(main)
    return caught.value.code


def test_success() -> None:
    """Catches a run that went well and reports a failure."""
    assert exit_code(None) == 0


def test_a_wrong_input_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback, or a message of several lines, for a user's mistake."""
    assert exit_code(InputError("expected a\n  video")) == 2
    assert capsys.readouterr().err == "spikejax: error: expected a video\n"


@pytest.mark.parametrize("more", [0, 1])
def test_lists(capsys: pytest.CaptureFixture[str], more: int) -> None:
    """Catches "-1 more" behind a list that is whole, and lines of a longer one that no file holds."""
    error = InputError("expected two")
    error.details = ("first", "second")
    error.every_detail = (*error.details, "third") if more else ()
    assert exit_code(error) == 2
    *lines, last = capsys.readouterr().err.splitlines()
    if not more:
        assert [*lines, last] == ["spikejax: error: expected two", "  first", "  second"]
        return
    assert last.startswith("  and 1 more: ")
    assert Path(last.removeprefix("  and 1 more: ")).read_text().splitlines()[-1] == "third"


def test_the_traceback_can_be_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a developer left without the place of an error."""
    monkeypatch.setenv("SPIKEJAX_TRACEBACK", "1")
    assert exit_code(InputError("wrong")) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("spikejax: error: wrong\n")


def test_ctrl_c() -> None:
    """Catches an interrupted run that a script takes for a finished one."""
    assert exit_code(KeyboardInterrupt()) == 130


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    """Catches a bug disguised as the user's mistake."""

    def main(_: Sequence[str]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_closed_pipe_is_quiet() -> None:
    """Catches a traceback after `... | head -1`."""
    program = "from spikejax.cli import run; run(lambda _: print('line ' * 10_000))"
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


ENDS = """
import atexit, sys, threading, time
from spikejax.cli import run
from spikejax.errors import InputError

class Kept:
    def __del__(self): print("taken apart")

def main(_):
    global kept
    kept = Kept()
    atexit.register(lambda: print("registered"))
    threading.Thread(target=lambda: (time.sleep(0.2), print("waited for"))).start()
    {how}
run(main)
"""


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("return", 0),
        ("raise InputError('wrong')", 2),
        ("raise FloatingPointError('wrong')", 4),
        ("raise SystemExit(143)", 143),
        ("raise SystemExit(None)", 0),
        ("raise ZeroDivisionError", 1),
    ],
)
def test_the_end_does_all_but_take_python_apart(how: str, code: int) -> None:
    """Catches what threads of C++ turn into an abort, exit code 134 after all of the work, now and then.

    And threads that are not waited for, what is registered for the end left out, and output that is lost.
    """
    ended = subprocess.run(
        [sys.executable, "-c", ENDS.format(how=how)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    apart = ["taken apart"] * (how == "raise SystemExit(None)")  # which leaves without a code, as --help does
    assert (ended.returncode, ended.stdout.splitlines()) == (code, ["waited for", "registered", *apart])
    assert ("Traceback" in ended.stderr) == (code == 1)


WRONG = """
from spikejax.cli import run
from spikejax.errors import InputError

def main(_): raise InputError("wrong")
run(main)
"""
PRINTS = "from spikejax.cli import run; run(lambda _: print('done'))"
PROGRESS = (
    "from spikejax import cli, progress; cli.run(lambda _: progress.Progress('work', total=1, unit='one').finish())"
)
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@pytest.mark.parametrize(
    ("program", "redirected", "code"),
    [
        (PRINTS, ">&-", 0),
        (PROGRESS, "2>&-", 0),
        (PROGRESS, "<&- >&- 2>&-", 0),
        (WRONG, "2>&-", 2),
        pytest.param(PRINTS, ">/dev/full", 2, marks=FULL),
        pytest.param(PRINTS, ">/dev/full 2>/dev/full", 2, marks=FULL),
        pytest.param(PROGRESS, "2>/dev/full", 2, marks=FULL),
        pytest.param(WRONG, "2>/dev/full", 2, marks=FULL),
    ],
)
def test_streams_that_take_nothing(program: str, redirected: str, code: int) -> None:
    """Catches a traceback, another exit code, and progress on stdout, where a stream is closed or its disk full."""
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirected}', sys.executable, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    room = "spikejax: error: expected room on the disk, found none: No space left on device\n"
    assert ended.stderr == (room if redirected == ">/dev/full" else "")


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    """Catches what libraries say on stderr written into a checkpoint, which was opened under its number."""
    program = "from spikejax.cli import run; run(lambda _: print(open('setup.cfg').fileno()))"
    ended = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(ended.stdout) > 2


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp1252:strict", "utf-8:strict"])
def test_names_that_a_terminal_cannot_show(encoding: str) -> None:
    """Catches a training of days that ends in a traceback as it prints the name of its workdir."""
    program = "from spikejax.cli import run; run(lambda _: print('\\udce9 \\u0416 e'))"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    other = "\u0416".encode() if encoding.startswith("utf-8") else b"\\u0416"
    assert ended.stdout.split() == [b"\\udce9", other, b"e"]


def main_of(command: str) -> Callable[[Sequence[str]], None]:
    """What a command, or a script by its path, calls with its arguments."""
    if command == "convert":
        return installed.load_module("convert.__main__").main
    if not command.endswith(".py"):
        return import_module(f"spikejax.{command}").main
    spec = importlib.util.spec_from_file_location("a_script", ROOT / command)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


class Caught(Exception):
    """Ends a command where it reads its arguments."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@pytest.fixture
def parser_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], argparse.ArgumentParser]:
    """The parser that a command really uses."""

    def catch(command: str) -> argparse.ArgumentParser:
        def parse(self: argparse.ArgumentParser, *_: Any) -> None:
            raise Caught(self)

        with monkeypatch.context() as patched, pytest.raises(Caught) as caught:
            patched.setattr(argparse.ArgumentParser, "parse_known_args", parse)
            main_of(command)([])
        return caught.value.parser

    return catch


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options of a parser, by their names."""
    return {name: action for action in parser._actions for name in action.option_strings}


def test_options_of_a_kind_have_one_grammar(parser_of: Callable[[str], argparse.ArgumentParser]) -> None:
    """Catches a command that reads sizes, extents or bytes in a way of its own, and a --overwrite of its own."""
    kinds: dict[str, set[tuple[str, str]]] = {"HEIGHTxWIDTH": set(), "FRAMES,HEIGHT,WIDTH": set(), "SIZE": set()}
    for command in (*OWN_COMMANDS, SHAPES):
        for name, action in options_of(parser_of(command)).items():
            if action.metavar in kinds:
                kinds[str(action.metavar)].add((command, name))
            elif {"size", "tile"} & set(name.split("-")):
                pytest.fail(f"{command} {name}: a size with the metavar {action.metavar}")
            if name == "--overwrite":
                assert str(action.help).startswith("replace ") and str(action.help).endswith(", if there is one")
    assert kinds == {"HEIGHTxWIDTH": SIZES, "FRAMES,HEIGHT,WIDTH": EXTENTS, "SIZE": BYTES}


@pytest.mark.parametrize("words", [["250x400"], ["250,400"], ["250", "400"], ["250 400"], ["250,", "400"]], ids=str)
@pytest.mark.parametrize(("command", "name"), sorted(SIZES))
def test_sizes(parser_of: Callable[[str], argparse.ArgumentParser], command: str, name: str, words: list[str]) -> None:
    """Catches a spelling that one command takes and another does not."""
    parser = parser_of(command)
    for action in parser._actions:
        action.required = False
    assert vars(parser.parse_args([name, *words]))[name.removeprefix("--").replace("-", "_")] == (250, 400)


@pytest.mark.parametrize("words", [["12,256,0"], ["12", "256", "0"], ["12x256x0"], ["12, 256, 0"]], ids=str)
@pytest.mark.parametrize(("command", "name"), sorted(EXTENTS))
def test_extents(
    parser_of: Callable[[str], argparse.ArgumentParser], command: str, name: str, words: list[str]
) -> None:
    """Catches `--tile 12 256 256`, as users of the original type it, that is taken for three arguments."""
    parser = parser_of(command)
    for action in parser._actions:
        action.required = False
    extent = vars(parser.parse_args([name, *words]))[name.removeprefix("--")]
    assert getattr(extent, "shape", extent) == (12, 256, 0)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (cli.size, text)
        for text in ("250", "250x400x3", "0x400", "250x", "x400", "-250,400", "250;400", "2.5x4", "axb", "")
    ]
    + [(cli.extent, text) for text in ("12,256", "12,256,256,1", "12,,256", "auto", "12,256,-1")]
    + [(cli.byte_count, text) for text in ("6", "G", "6K", "6 G", "-6G", "1.5G", "")]
    + [(cli.positive_count, text) for text in ("0", "-1", "1.0", "one", "")]
    + [(cli.number_from(0), text) for text in ("-0.1", "nan", "inf", "x", "")],
)
def test_values_that_are_none(read: Callable[[str], object], text: str) -> None:
    """Catches a mistyped value that means something, and one that ends in a traceback."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected .*, found "):
        read(text)


def test_values() -> None:
    """Catches a unit of another size, and a bound that is left out."""
    assert [cli.byte_count(text) for text in ("500M", "6G", "6g")] == [500 * 2**20, 6 * 2**30, 6 * 2**30]
    assert (cli.positive_count("1"), cli.whole_number_from(0)("0"), cli.number_from(0)("0")) == (1, 0, 0.0)


def test_a_wrong_size_names_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a message that does not say which of several numbers is wrong."""
    with pytest.raises(SystemExit) as ended:
        main_of("view")(["--input", "a.dat", "--output", "a.png", "--spike-size", "250", "four"])
    assert ended.value.code == 2
    expected = "argument --spike-size: expected HEIGHTxWIDTH such as 250x400, found '250 four'"
    assert capsys.readouterr().err == f"spikejax: error: {expected} (--help shows all options)\n"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (command, arguments)
        for command in (*COMMANDS, SHAPES)
        for arguments in ([], ["--no-such-option"])
        if (command, arguments) != ("demo", [])  # which needs no arguments
    ],
    ids=str,
)
def test_a_wrong_argument_is_one_line_and_exit_2(
    command: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches the usage of all options printed before the one line that says what is wrong."""
    with pytest.raises(SystemExit) as ended:
        main_of(command)(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("spikejax: error: ") and error.endswith(" (--help shows all options)\n")
    assert error.count("\n") == 1


def all_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of its subcommands."""
    commands = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(below for choices in commands for one in choices.values() for below in all_parsers(one))]


def check_example(parser: argparse.ArgumentParser) -> None:
    """Asserts that the example of a parser's help, which each command has, is one that the parser takes."""
    _, marker, example = parser.format_help().partition("example:\n")
    if not parser.prog.startswith("python scripts/"):
        assert marker, parser.prog
    if marker:
        words = shlex.split(example.replace("\\\n", " "))
        assert words[: len(parser.prog.split())] == parser.prog.split()
        own = [word for word in words[len(parser.prog.split()) :] if not word.startswith("--config.")]
        parser.parse_args(own)  # ends the process where there is no such option


@pytest.mark.parametrize("command", [*COMMANDS, SHAPES, "scripts/benchmark.py"])
def test_help(
    parser_of: Callable[[str], argparse.ArgumentParser], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an option that is not explained or may be abbreviated, an example that is wrong, and lines too long."""
    monkeypatch.setenv("COLUMNS", "80")
    for parser in all_parsers(parser_of(command)):
        assert not parser.allow_abbrev
        check_example(parser)
        assert max(map(len, parser.format_help().splitlines())) <= 80
        for name, action in options_of(parser).items():
            assert action.help, name
            if isinstance(action.default, int | float) and not isinstance(action.default, bool):
                stated = ("%(default)s", f"default: {action.default:g}", "default: none", "(default)")
                assert any(words in action.help for words in stated), name


def parsers_within(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yields a parser, or those of its commands where it has some."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        yield from action.choices.values()
    if not nested:
        yield parser


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bucket_is_refused_by_every_option_but_a_few(
    parser_of: Callable[[str], argparse.ArgumentParser], command: str
) -> None:
    """Catches an option that makes the folder ./ftp:/bucket/x of ftp://bucket/x, and begins to work on it."""
    count = 0
    for parser in parsers_within(parser_of(command)):
        taking = [action for action in parser._actions if action.nargs != 0]
        for action in parser._actions:
            action.required = False
        for action in taking:
            for name in [long for long in action.option_strings if long.startswith("--")][:1] or [None]:
                words = ["ftp://bucket/x"] if name is None else [name, "ftp://bucket/x"]
                with pytest.raises(
                    InputError, match=r"expected a path on this machine's disks.*ftp://bucket/x"
                ) as caught:
                    parser.parse_args(words)
                assert str(caught.value).startswith(name or str(action.metavar))
                count += 1
                if action.type in (cli.path_or_bucket, cli.network_path):
                    assert (command, name) in MAY_BE_IN_A_BUCKET
                    continue
                with pytest.raises(InputError, match=r"expected a path on this machine's disks \("):
                    parser.parse_args([word.replace("ftp", "gs") for word in words])
    assert count >= (1 if command == "demo" else 3), command


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_word_is_no_value(parser_of: Callable[[str], argparse.ArgumentParser], command: str) -> None:
    """Catches a variable of the shell that is not set, which as a path would be the current folder."""
    for parser in parsers_within(parser_of(command)):
        taking = [action for action in parser._actions if action.nargs != 0 and action.metavar != "TEXT"]
        for action in parser._actions:
            action.required = False
        for action in taking:
            name = action.option_strings[0] if action.option_strings else None
            with pytest.raises(InputError, match="expected a value, found an empty one") as caught:
                parser.parse_args([""] if name is None else [name, ""])
            assert (name or str(action.metavar)) in str(caught.value)
