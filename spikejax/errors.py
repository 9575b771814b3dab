"""What may go wrong through no fault of the program."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input is wrong.

    The message is one line that says what was expected, what came instead, and in which file or option. Entry points
    print it without a traceback (see `spikejax.cli.run`).

    Attributes:
        details: further lines, for what takes a list to say.
        every_detail: all lines of a list of which `details` are some; a file gets them. () = there are no more.
    """

    details: tuple[str, ...] = ()
    every_detail: tuple[str, ...] = ()


class DamagedInput(Exception):
    """Parts of the input could not be read; all the rest was done and is kept.

    Entry points print the message, one line that says what was lost, and end with an exit code of its own.
    """


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The end of a message about a name that there is not: the nearest one that there is; "" if none is near."""
    nearest = difflib.get_close_matches(name, list(choices), 1, 0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
