"""What readers of files raise where a file is not what its name says: found by damaging files (`scripts/fuzz.py`)."""

from __future__ import annotations

import csv
import struct
import tokenize
import warnings
import zipfile
import zlib

# NumPy reads the header of an array as Python, and falls back to Python 2's way of writing it. A shape that is damaged
# may ask for more memory than there is.
DAMAGED_ARRAY = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    OverflowError,
    MemoryError,
    KeyError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# Of a table in CSV, what its numbers are made of included; bytes that are no UTF-8 are a ValueError.
DAMAGED_TABLE = (OSError, ValueError, KeyError, TypeError, csv.Error)


def keep_decoders_quiet() -> None:
    """Keeps libraries from printing what they find odd about a file: commands end in a line of their own."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("ignore", message="Reading `.npy` or `.npz` file required additional header parsing")
