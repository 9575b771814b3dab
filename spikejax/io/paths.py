"""What a user's path leads to: this machine's disks, or a bucket such as gs://BUCKET/FOLDER.

A path with a scheme is no local path, though `Path` would make the folder ./gs:/BUCKET/FOLDER of it, without a word.
Whoever takes a path from a user asks here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from spikejax.errors import InputError

AnyPath = str | os.PathLike[str]

# Of two letters at least: C:/ is a drive. One slash is enough, as `Path` makes one of two.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def scheme_of(path: AnyPath) -> str | None:
    """What stands before :// in a path, such as "gs"; None in a path on this machine's disks."""
    match = _SCHEME.match(os.fspath(path))
    return match and match[1].lower()


def local_only(path: AnyPath, *, what: str = "") -> Path:
    """A path on this machine's disks, as it was given.

    Args:
        path: from a user.
        what: it is of, such as an option, for the message.

    Raises:
        InputError: it leads elsewhere.
    """
    if scheme_of(path) is not None:
        owner = f"{what}: " if what else ""
        raise InputError(f"{owner}expected a path on this machine's disks (copy it, or mount the bucket), found {path}")
    return Path(path)
