"""Keeping the compilers quiet: what libtpu and the CUDA plugin say about the devices that are, of course, not here."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which only Python writes to stderr; should the process die in a compiler, its words are in a file.

    The compilers write to the file descriptor itself, before and after any logging level is read.
    """
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.NamedTemporaryFile(prefix="spikejax-compiler-", suffix=".log") as log:
        os.dup2(log.fileno(), 2)
        try:
            with os.fdopen(own, "w", buffering=1, closefd=False) as stream, redirect_stderr(stream):
                yield
        finally:
            os.dup2(own, 2)
            os.close(own)
