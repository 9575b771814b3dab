"""What entry points share: how they end (exit codes, and what is printed when it went wrong), and a type of argument.

0: done. 2: the user's input is wrong (one line on stderr, as argparse does it, and what takes a list below it). 3:
parts of the input were damaged, the rest is done (one line). 130: interrupted with Ctrl-C. 141: the reader of our
standard output has gone away (`... | head`). With SPIKEJAX_TRACEBACK=1 in the environment the traceback of an input
error is printed too.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from spikejax.errors import DamagedInput, InputError

EXIT_INPUT_ERROR = 2
EXIT_DAMAGED_INPUT = 3
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Calls `main` with the command line's arguments and ends the process with the exit code that fits.

    Args:
        main: takes the arguments after the program's name.
    """
    try:
        code = _exit_code(main, sys.argv[1:])
    except Exception:
        if not _is_one_of_many():
            raise
        traceback.print_exc()
        code = 1
    if code not in (0, EXIT_DAMAGED_INPUT) and _is_one_of_many():
        # An orderly end would wait for the other hosts, which wait for what this one was to do next.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def positive_count(text: str) -> int:
    """Returns the number, at least 1, that an argument says: a `type` for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a program that runs on many hosts; `spikejax.distributed.hosts.join_as` does what they say."""
    many = parser.add_argument_group("many hosts (found by the scheduler's environment unless given)")
    many.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    many.add_argument(
        "--num-processes", type=int, metavar="N", help="number of processes; 1 = alone, whatever is found"
    )
    many.add_argument("--process-id", type=int, metavar="I", help="number of this process, from 0")
    many.add_argument("--wait-seconds", type=int, default=300, metavar="S", help="for the others to come (%(default)s)")
    many.add_argument(
        "--heartbeat-seconds",
        type=int,
        default=100,
        metavar="S",
        help="after which a silent host is dead (%(default)s)",
    )


def _is_one_of_many() -> bool:
    jax = sys.modules.get("jax")  # where nobody has imported it yet, nobody has joined other hosts
    return jax is not None and jax.distributed.is_initialized()


def _exit_code(main: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    try:
        main(arguments)
        # Inside the try: a pipe that was closed early is often noticed only when the last lines are flushed.
        sys.stdout.flush()
    except InputError as error:
        if os.environ.get("SPIKEJAX_TRACEBACK") == "1":
            traceback.print_exc()
        print("spikejax: error:", " ".join(str(error).split()), file=sys.stderr)
        for detail in error.details:
            print(" ", detail, file=sys.stderr)
        return EXIT_INPUT_ERROR
    except DamagedInput as damage:
        print("spikejax: damaged input:", " ".join(str(damage).split()), file=sys.stderr)
        return EXIT_DAMAGED_INPUT
    except KeyboardInterrupt:
        print("spikejax: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; without a place to go that would print a second error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return 0
