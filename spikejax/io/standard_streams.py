"""Standard input and output that frames flow through: `ffmpeg ... | spikejax restore -i - -o - | ffmpeg ...`."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from spikejax.errors import InputError
from spikejax.io.paths import AnyPath, is_remote

# Stands for standard input or output in place of a path.
PIPE = "-"
_POLL_SECONDS = 0.2
_READ_BYTES = 2**20
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def is_pipe(path: AnyPath) -> bool:
    """Whether a path is standard input or output, or a named pipe, as `<(...)` of a shell is."""
    if os.fspath(path) == PIPE:
        return True
    try:
        return not is_remote(path) and stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


class PipeReader:
    """What comes through a pipe, in order; another thread may end the waiting for it."""

    def __init__(self, path: AnyPath) -> None:
        """Opens it; raises InputError for a terminal, which sends no frames."""
        standard = os.fspath(path) == PIPE
        if standard and os.isatty(_STDIN):
            raise InputError("expected frames on standard input with --input -, found a terminal")
        self._stopped = threading.Event()
        handle = os.dup(_STDIN) if standard else os.open(Path(path), os.O_RDONLY)
        self._reader = io.BufferedReader(_WaitingReads(handle, self._stopped), _READ_BYTES)

    def read(self, count: int) -> bytes:
        """The next bytes; fewer only where the pipe ends, or waiting was stopped."""
        return self._reader.read(count)

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay to be read; fewer only where the pipe ends."""
        return self._reader.peek(count)[:count]

    def line(self, longest: int) -> bytes:
        """The next bytes up to the end of the line, `longest` at most."""
        return self._reader.readline(longest)

    def stop(self) -> None:
        """Ends the waiting for what comes: from now on the pipe has ended."""
        self._stopped.set()

    def close(self) -> None:
        """Lets the writer know that nobody reads on."""
        self._reader.close()


class _WaitingReads(io.RawIOBase):
    """Bytes of a pipe; looks, while it waits for them, whether they are still wanted."""

    def __init__(self, handle: int, stopped: threading.Event) -> None:
        self._handle, self._stopped = handle, stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of all buffers, this one comes
        # Windows has `select` for sockets alone.
        while os.name == "posix" and not self._stopped.is_set():
            if select.select([self._handle], [], [], _POLL_SECONDS)[0]:
                break
        if self._stopped.is_set():
            return 0
        content = os.read(self._handle, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            os.close(self._handle)
        super().close()


@contextmanager
def standard_output_taken() -> Iterator[BinaryIO]:
    """Yields standard output for bytes; what anybody prints meanwhile, libraries included, goes to standard error.

    Raises:
        InputError: it is a terminal.
    """
    if os.isatty(_STDOUT):
        raise InputError("expected a program that reads on standard output with --output -, found a terminal")
    sys.stdout.flush()
    ours = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    sink = open(os.dup(ours), "wb", buffering=0)  # noqa: SIM115, closed below
    try:
        yield sink
    finally:
        sys.stdout.flush()
        os.dup2(ours, _STDOUT)
        os.close(ours)
        sink.close()


def write_all(sink: BinaryIO, content: bytes) -> None:
    """Writes all bytes, of which a pipe takes some at a time; raises BrokenPipeError where nobody reads any more."""
    rest = memoryview(content)
    while rest:
        rest = rest[sink.write(rest) :]
