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
    sys.exit(_exit_code(main, sys.argv[1:]))


def positive_count(text: str) -> int:
    """Returns the number, at least 1, that an argument says: a `type` for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


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
