"""All commands by one name: spikejax COMMAND ..., which is `python -m spikejax.COMMAND ...`."""

from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import spikejax
from spikejax import installed
from spikejax.cli import run
from spikejax.errors import InputError, did_you_mean

COMMANDS = {
    "train": "train a network; started again, it continues",
    "restore": "restore a video, or a folder of pictures, with a trained network",
    "experiment": "train and measure variants of a configuration, and compare them",
    "evaluate": "measure a trained network on a split of a data set",
    "compare": "put the scores of several networks side by side",
    "prepare": "turn published data into a data set, and check it",
    "simulate": "make a data set of blurry pictures and spikes from sharp ones",
    "view": "show what is in a spike file or a data set",
    "report": "make a page that compares restored videos",
    "plan": "say what a training step takes on a topology that need not be here",
    "demo": "restore a clip that comes with the package, and show the result",
    "export": "write a trained network as a file for elsewhere",
    "convert": "take over PyTorch weights, give them back, list a file's arrays",
}


def main() -> NoReturn:
    """Runs the command that the command line names, and ends the process as `spikejax.cli.run` does."""
    run(_dispatch)


def _dispatch(arguments: Sequence[str]) -> None:
    if not arguments:
        raise InputError("expected a command (spikejax --help lists them), found none")
    command, *rest = arguments
    if command in ("-h", "--help"):
        print(_help())
    elif command == "--version":
        print(f"spikejax {spikejax.__version__}")
    elif command == "convert":
        installed.load_module("convert.__main__").main(rest)
    elif command in COMMANDS:
        import_module(f"spikejax.{command}").main(rest)
    else:
        expected = f"expected a command, one of {', '.join(COMMANDS)}"
        raise InputError(f"{expected}, found {command!r}{did_you_mean(command, COMMANDS)}")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {command:{width}}  {line}" for command, line in COMMANDS.items()]
    return "\n".join(
        [
            "usage: spikejax COMMAND ...",
            "       spikejax COMMAND --help | --help | --version",
            "",
            str(spikejax.__doc__),
            "",
            "commands:",
            *lines,
        ]
    )


if __name__ == "__main__":
    main()
