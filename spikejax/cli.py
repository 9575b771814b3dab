"""What the commands share: how they end, and how their arguments are read.

Exit codes. 0: done. 2: the user's input is wrong (one line on stderr, also for an option or an extra that is not
installed and for a full disk, and what takes a list below it). 3: parts of the input were damaged, the rest is done
(one line). 4: a loss, a gradient or a restored picture is not finite (one line). 5: nothing has ended for
--stall-seconds (stacks, and what is waited for). 130: interrupted with Ctrl-C. 141: the reader of our standard output
has gone away (`... | head`). 143: stopped by SIGTERM. With SPIKEJAX_TRACEBACK=1 in the environment the traceback of an
input error is printed too.

Arguments. One function reads each kind of value, in every command: `size` (two numbers), `extent` (three),
`byte_count`, `whole_number_from`, `number_from`. Several numbers may come as 250x400, as 250,400 or as words, 250 400.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import io
import math
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NoReturn

from spikejax.errors import DamagedInput, InputError, one_line
from spikejax.extras import named_when_missing
from spikejax.io.damage import keep_decoders_quiet
from spikejax.io.disk_space import full_disk_words
from spikejax.io.paths import check_network_path, check_scheme, local_only
from spikejax.progress import STYLES, show_progress_as
from spikejax.stopping import EXIT_TERMINATED, Terminated, end_on_sigterm, sigterm_is_handled

EXIT_INPUT_ERROR = 2
EXIT_DAMAGED_INPUT = 3
EXIT_NOT_FINITE = 4
EXIT_STALLED = 5
STALL_SECONDS = 900
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
_LARGEST = 2**31 - 1  # of sizes and counts that are meant
_HIGHEST_RATE = 100_000  # frames a second
_BYTES = {"M": 2**20, "G": 2**30}
# What help calls a value that may be empty.
_ANY_TEXT = "TEXT"
# Options that have another name on the command line than among its values, where it is a word of Python.
_FLAGS = {"start": "from", "end": "to"}
# What `--which` calls the folders of a workdir's checkpoints.
CHECKPOINTS = {"best": "best_psnr", "last": "last"}


# ---- How a command ends ----

# Of a process among many: tells the others its exit code, and why. None = there are no others.
_tell_others: Callable[[int, str], None] | None = None


def tell_failure_to(tell: Callable[[int, str], None]) -> None:
    """Has `tell` called with the exit code and the line of a command that fails, before its process ends."""
    global _tell_others
    _tell_others = tell


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Calls `main` with the command line's arguments and ends the process with the exit code that fits.

    Args:
        main: takes the arguments after the program's name.
    """
    end = ProcessEnd()  # before anything else is registered for the end, so that it comes last
    _open_standard_streams()
    end_on_sigterm()
    said: list[str] = []
    try:
        code = _exit_code(main, sys.argv[1:], said)
    except SystemExit as left:
        end.code = left.code if isinstance(left.code, int) else None
        raise
    except Exception as error:
        end.code = 1
        if not _is_one_of_many():
            raise
        _tell(1, [f"{type(error).__name__}: {one_line(error)}"])
        traceback.print_exc()
        code = 1
    else:
        if code not in (0, EXIT_DAMAGED_INPUT):
            _tell(code, said)
    finally:
        sigterm_is_handled()  # from here on there is nothing to tidy up
    if code not in (0, EXIT_DAMAGED_INPUT) and _is_one_of_many():
        # An orderly end would wait for the other hosts, which wait for what this one was to do next.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    end.code = code
    sys.exit(code)


class ProcessEnd:
    """Ends the process once everything that is registered for its end is done, without taking Python apart.

    Threads of libraries in C++, such as checkpoints are written by, come back for Python whenever they are done. Python
    before 3.14 unwinds a thread that does so while it is taken apart, which aborts the process: with all of the work
    done, it would end with exit code 134.

    Attributes:
        code: to end with; None = it ends as Python does.
    """

    def __init__(self) -> None:
        """Registers it."""
        self.code: int | None = None
        atexit.register(self._leave)

    def _leave(self) -> None:
        if self.code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed, or without a reader
                stream.flush()
        os._exit(self.code)


def _tell(code: int, said: Sequence[str]) -> None:
    """Tells the other hosts, if there are any, how this process ends."""
    if _tell_others is not None:
        _tell_others(code, said[0].removeprefix("spikejax: ").removeprefix("error: ") if said else "")


def _open_standard_streams() -> None:
    """Makes of a stream that is closed one that leads nowhere, and has what its encoding lacks written as escapes.

    A service, or `2>&-`, closes them: Python has None then, and the next file that is opened, a checkpoint say, would
    get the number that libraries write their messages to. Names of files may hold what a terminal cannot show.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the smallest number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as we run
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _say(text: str, said: list[str]) -> None:
    """Prints on stderr how a command ends, which its exit code says as well, should nothing take the text.

    Args:
        text: a line.
        said: gets it too.
    """
    said.append(text)
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _is_one_of_many() -> bool:
    jax = sys.modules.get("jax")  # where nobody has imported it yet, nobody has joined other hosts
    return jax is not None and jax.distributed.is_initialized()


def _exit_code(main: Callable[[Sequence[str]], None], arguments: Sequence[str], said: list[str] | None = None) -> int:
    """The exit code of `main`, which is called; what it fails by is printed, and added to `said`."""
    said = [] if said is None else said
    keep_decoders_quiet()
    try:
        with named_when_missing():
            main(arguments)
        # Inside the try: a pipe that was closed early is often noticed only when the last lines are flushed.
        sys.stdout.flush()
    except InputError as error:
        if os.environ.get("SPIKEJAX_TRACEBACK") == "1":
            traceback.print_exc()
        _say(f"spikejax: error: {one_line(error)}", said)
        for detail in error.details:
            _say(f"  {detail}", said)
        if (more := len(error.every_detail) - len(error.details)) > 0:
            _say(f"  and {more} more: {_list_in_file(error)}", said)
        return EXIT_INPUT_ERROR
    except DamagedInput as damage:
        _say(f"spikejax: damaged input: {one_line(damage)}", said)
        return EXIT_DAMAGED_INPUT
    except FloatingPointError as error:
        _say(f"spikejax: error: {one_line(error)}", said)
        return EXIT_NOT_FINITE
    except KeyboardInterrupt:
        _say("spikejax: interrupted", said)
        return EXIT_INTERRUPTED
    except Terminated:
        _say("spikejax: stopped by SIGTERM", said)
        return EXIT_TERMINATED
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except Exception as error:
        words = full_disk_words(error)
        if words is None:
            raise
        _say(f"spikejax: error: expected room on the disk, found none: {words}", said)
        _drop_output()
        return EXIT_INPUT_ERROR
    return 0


def _list_in_file(error: InputError) -> str:
    """The name of a new file of all that an error has to list; "..." where none can be written."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="spikejax_", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write("".join(f"{line}\n" for line in (one_line(error), *error.every_detail)))
        return file.name
    except OSError:
        return "..."


def _drop_output() -> None:
    """Lets stdout lead nowhere: Python flushes it once more at exit, which would print a second error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---- How arguments are read ----


class CommandParser(argparse.ArgumentParser):
    """A parser that says what is wrong with an argument in one line, as commands do of all input."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit code 2; the usage of some dozens of options would hide the line."""
        self.exit(EXIT_INPUT_ERROR, f"spikejax: error: {' '.join(message.split())} (--help shows all options)\n")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """The value of a word; raises InputError for a path with a scheme, and for an empty word."""
        if not arg_string and action.metavar != _ANY_TEXT:
            # A variable of the shell that is not set. As a path it would be the current folder.
            raise InputError(f"{_long_names(action) or action.metavar}: expected a value, found an empty one")
        if action.nargs != argparse.PARSER:  # the words of a command among several, whose own parser reads them next
            check: Callable[..., Any] = local_only
            if action.type is path_or_bucket:
                check = check_scheme
            elif action.type is network_path:
                check = check_network_path
            check(arg_string, what=_long_names(action) or str(action.metavar))
        return super()._get_value(action, arg_string)


def _long_names(action: argparse.Action) -> str:
    """The names of an option that messages use."""
    return "/".join(name for name in action.option_strings if name.startswith("--"))


def make_parser(command: str, *, description: str, example: str = "", epilog: str = "") -> CommandParser:
    """An empty parser of `python -m spikejax.COMMAND`, or of a script by its path; options cannot be abbreviated.

    Args:
        command: its name, or the script's path.
        description: what it does.
        example: a command line, without the program, that many would start with; "" = none.
        epilog: what else there is to say.
    """
    prog = f"python {command}" if command.endswith(".py") else f"python -m spikejax.{command}"
    return CommandParser(
        prog=prog, description=description, allow_abbrev=False, **example_in_help(prog, example, epilog=epilog)
    )


def example_in_help(prog: str, example: str, *, epilog: str = "") -> dict[str, Any]:
    """The arguments of a parser by which its help ends with an example.

    Args:
        prog: the program.
        example: a command line without it; "" = none.
        epilog: what stands before.
    """
    shown = "example:\n" + "".join(f"  {line}\n" for line in _folded(f"{prog} {example}")) if example else ""
    return {"epilog": "\n".join(filter(None, (epilog, shown))) or None, "formatter_class": _HelpFormatter}


def add_words(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    name: str,
    *,
    read: Callable[[str], Any],
    metavar: str,
    help: str,  # noqa: A002, as argparse calls it
) -> None:
    """Adds an option whose value may be several words: `--tile 40 128 128` is the same as `--tile 40,128,128`.

    Args:
        parser: what the option is added to.
        name: such as "--tile".
        read: makes the value of the words, joined by spaces; raises `ArgumentTypeError` for a wrong one.
        metavar: the value in the help.
        help: the option in the help.
    """
    parser.add_argument(name, action=_Words, read=read, nargs="+", metavar=metavar, help=help)


def add_overwrite(parser: argparse.ArgumentParser | argparse._ArgumentGroup, target: str) -> None:
    """Adds `--overwrite`, which replaces the target ("the output of an earlier run", say) where there is one."""
    parser.add_argument("-y", "--overwrite", action="store_true", help=f"replace {target}, if there is one")


def check_effects(options: object, needed: Mapping[str, tuple[bool, Sequence[str]]]) -> None:
    """Raises InputError for an option that is given without what it needs to have an effect.

    Args:
        options: has them as attributes; one that is None or False is not given.
        needed: by what is needed, in words ("--sharp, the frames to measure against,"): whether it is there, and the
            names of the options that need it.
    """
    for expected, (present, names) in needed.items():
        for name in names:
            value = getattr(options, name)
            if not present and value is not None and value is not False:
                raise InputError(f"expected {expected} with --{_FLAGS.get(name, name).replace('_', '-')}, found none")


def path_or_bucket(text: str) -> str:
    """A `type` for argparse: a path that may also lead to a bucket, see `spikejax.io.paths`; others may not."""
    return text


def network_path(text: str) -> str:
    """A `type` for argparse: a path as `path_or_bucket`, or the name of a network, hf://USER/NAME among them."""
    return text


def size(text: str) -> tuple[int, int]:
    """The height and width that an argument says: 250x400, 250,400 or 250 400."""
    height, width = _whole_numbers(text, "HEIGHTxWIDTH such as 250x400", count=2, smallest=1)
    return height, width


def extent(text: str) -> tuple[int, int, int]:
    """The frames, height and width that an argument says: 40,128,128 or 40 128 128 or 40x128x128."""
    frames, height, width = _whole_numbers(text, "FRAMES,HEIGHT,WIDTH such as 12,256,256", count=3, smallest=0)
    return frames, height, width


def byte_count(text: str) -> int:
    """The number of bytes that an argument says, in MiB or GiB: 500M, 6G."""
    number, unit = text[:-1], text[-1:].upper()
    if not _is_whole(number) or unit not in _BYTES:
        raise argparse.ArgumentTypeError(f"expected a number of MiB or GiB such as 500M or 6G, found {text!r}")
    return int(number) * _BYTES[unit]


def whole_number_from(smallest: int) -> Callable[[str], int]:
    """A `type` for argparse: the whole number, at least `smallest`, that an argument says."""

    def read(text: str) -> int:
        if not _is_whole(text) or not smallest <= int(text) <= _LARGEST:
            raise argparse.ArgumentTypeError(f"expected a whole number from {smallest}, found {text!r}")
        return int(text)

    return read


positive_count = whole_number_from(1)


def number_from(smallest: float) -> Callable[[str], float]:
    """A `type` for argparse: the finite number, at least `smallest`, that an argument says."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not smallest <= number < math.inf:
            raise argparse.ArgumentTypeError(f"expected a number from {smallest:g}, found {text!r}")
        return number

    return read


def frame_rate(text: str) -> Fraction:
    """The frames a second that an argument says: 24, 23.976 or 30000/1001."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 1000) <= rate <= _HIGHEST_RATE:
        raise argparse.ArgumentTypeError(
            f"expected frames a second, such as 24 or 30000/1001, from 0.001 to {_HIGHEST_RATE}, found {text!r}"
        )
    return rate.limit_denominator(100_000)


def add_trust_code(parser: argparse._ActionsContainer) -> None:
    """Adds the flag that lets the configuration of a given network name code."""
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="run the code (FILE.py:NAME) that the network's own configuration names; for networks of your own",
    )


def add_accept_license(parser: argparse._ActionsContainer) -> None:
    """Adds `--accept-license`, which `spikejax.hub.resolving.resolve_network` takes."""
    parser.add_argument(
        "--accept-license",
        action="store_true",
        help="download the published weights of vrt:NAME where they are not here; you accept their licence, CC BY-NC "
        "4.0, by this",
    )


def add_statistics(parser: argparse._ActionsContainer) -> None:
    """Adds `--statistics`, which `spikejax.training.trained_params.with_statistics` takes."""
    parser.add_argument(
        "--statistics", type=path_or_bucket, metavar="FILE",
        help="statistics.json of the spikes that the network was trained on, or the data set or workdir that has it; "
        "for a network of other programs, which comes without",
    )  # fmt: skip


def add_which(parser: argparse._ActionsContainer) -> None:
    """Adds `--which`, of whose choices `CHECKPOINTS` knows the checkpoint."""
    parser.add_argument(
        "--which", choices=tuple(CHECKPOINTS), help="checkpoint (default: the best if there is one, else the last)"
    )


def add_progress(parser: argparse._ActionsContainer) -> None:
    """Adds `--progress`, `--quiet` and `--verbose`, which `show_as_asked` takes."""
    add = parser.add_argument
    add(
        "--progress", choices=STYLES, default=STYLES[0],
        help="how progress is shown on stderr: text (default), or json, an object a line for other programs",
    )  # fmt: skip
    add("-q", "--quiet", action="store_true", help="say nothing on stderr but warnings and errors")
    add("-v", "--verbose", action="store_true", help="say more on stderr: versions, devices, memory, seconds of parts")


def show_as_asked(options: argparse.Namespace) -> None:
    """Does what the options of `add_progress` say; raises InputError for two that exclude each other."""
    if options.quiet and (options.verbose or options.progress != STYLES[0]):
        other = "--verbose" if options.verbose else f"--progress {options.progress}"
        raise InputError(f"expected --quiet or {other}, found both")
    show_progress_as("none" if options.quiet else options.progress, verbose=options.verbose)


def add_require(parser: argparse._ActionsContainer) -> None:
    """Adds `--require`, which `spikejax.hardware.devices.check_required` takes."""
    parser.add_argument(
        "--require", choices=("gpu", "tpu"),
        help="refuse to compute on anything else, rather than take days on a CPU",
    )  # fmt: skip


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a program that runs on many hosts; `spikejax.distributed.hosts.join_as` does what they say."""
    add = parser.add_argument_group("many hosts (default: as the scheduler's environment says)").add_argument
    add("--coordinator", metavar="HOST:PORT", help="address of process 0")
    add("--num-processes", type=int, metavar="N", help="number of processes; 1 = alone, whatever the environment says")
    add("--process-id", type=int, metavar="I", help="number of this process, from 0")
    add(
        "--wait-seconds", type=int, default=300, metavar="S",
        help="seconds to wait for the other hosts (default: %(default)s)",
    )  # fmt: skip
    add(
        "--heartbeat-seconds", type=int, default=100, metavar="S",
        help="seconds after which a silent host counts as dead (default: %(default)s)",
    )  # fmt: skip


def add_stall_seconds(parser: argparse._ActionsContainer, ends: str) -> None:
    """Adds `--stall-seconds`, which `spikejax.distributed.hosts.watch_for_stalls` takes.

    Args:
        parser: what the option is added to.
        ends: what has to end within the seconds, such as "update or validated clip".
    """
    parser.add_argument(
        "--stall-seconds", type=whole_number_from(0), metavar="N",
        help=f"end with exit code {EXIT_STALLED}, and the stacks of all threads, when no {ends} ends for N seconds on "
        f"any host, compiling left out; 0 = never (default: {STALL_SECONDS} with many hosts, else 0)",
    )  # fmt: skip


def _is_whole(text: str) -> bool:
    """Whether a text is a whole number in the digits 0 to 9, of a length that can be meant."""
    return text.isascii() and text.isdecimal() and len(text) < 20


def _whole_numbers(text: str, expected: str, *, count: int, smallest: int) -> list[int]:
    parts = re.split(r"\s*[x,\s]\s*", text.strip())
    if len(parts) != count or not all(_is_whole(part) and smallest <= int(part) <= _LARGEST for part in parts):
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
    return [int(part) for part in parts]


class _Words(argparse.Action):
    """An option whose words are joined by spaces before they are read."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, read: Callable[[str], Any], **rest: Any) -> None:
        super().__init__(option_strings, dest, **rest)
        self.read = read

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            setattr(namespace, self.dest, self.read(" ".join(values or ())))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from error


def _folded(command: str, width: int = 76) -> list[str]:
    """A command line in lines that end in a backslash where it goes on, as a shell takes them."""
    lines: list[str] = []
    for word in command.split(" "):
        if lines and len(lines[-1]) + len(word) + 3 <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}" if lines else word)
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


class _HelpFormatter(argparse.HelpFormatter):
    """Shows the value of an option of several words as one, and an example as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        prose, marker, example = text.partition("example:\n")
        filled = super()._fill_text(prose, width, indent) if prose.strip() else ""
        return "\n\n".join(filter(None, (filled, f"{marker}{example}".rstrip("\n"))))

    def _format_args(self, action: argparse.Action, default_metavar: Any) -> str:
        if isinstance(action, _Words):
            return str(action.metavar)
        return super()._format_args(action, default_metavar)
