"""What may go wrong through no fault of the program."""


class InputError(ValueError):
    """The user's input is wrong.

    The message is one line that says what was expected, what came instead, and in which file or option. Entry points
    print it without a traceback (see `spikejax.cli.run`).

    Attributes:
        details: further lines, for what takes a list to say.
    """

    details: tuple[str, ...] = ()
