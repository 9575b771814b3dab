"""Buckets: which kinds there are, whether one can be reached, and what reads the objects in it.

Small objects are read and written by fsspec's packages (etils' paths go by way of them), arrays in tiles by
tensorstore. Addresses and credentials are found where each vendor's own programs find them: for Google's by its
application default credentials, for S3 in AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the others that botocore reads.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spikejax.errors import InputError, one_line
from spikejax.extras import require

# Both packages try for more than a minute; whoever mistyped a name should not wait for that. A first answer, with
# credentials fetched before it, comes within 2 s.
_PATIENCE_S = 12.0


@dataclass(frozen=True)
class BucketKind:
    """A kind of bucket.

    Attributes:
        extra: what has to be installed.
        package: of fsspec's, which reads and writes objects.
        list_one: asks for the first entry of a bucket: what every other use of it needs permission for, too.
        store: what tensorstore needs to know besides the bucket and the path.
        orbax: whether orbax writes and reads checkpoints there; else they are on a disk meanwhile.
    """

    extra: str
    package: str
    list_one: Callable[[str], object]
    store: Callable[[], dict[str, Any]]
    orbax: bool


def _list_one_of_google(bucket: str) -> object:
    import gcsfs

    return gcsfs.GCSFileSystem().call("GET", "b/{}/o", bucket, maxResults=1)


def _list_one_of_s3(bucket: str) -> object:
    import s3fs

    # Its package tries again by itself, above botocore, which would wait longer and say less.
    files = s3fs.S3FileSystem(config_kwargs={"retries": {"max_attempts": 1}})
    return files.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)


def _google_store() -> dict[str, Any]:
    return {"driver": "gcs"}


def _s3_store() -> dict[str, Any]:
    store: dict[str, Any] = {"driver": "s3"}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        # Tensorstore does not read these two. It asks AWS for a bucket's region, and other servers have but one.
        store["endpoint"] = endpoint
        store["aws_region"] = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        # Otherwise it looks for profiles first, and writes some lines to stderr where there are none.
        store["aws_credentials"] = {"type": "environment"}
    return store


KINDS: Mapping[str, BucketKind] = {
    "gs": BucketKind("gcs", "gcsfs", _list_one_of_google, _google_store, orbax=True),
    "s3": BucketKind("s3", "s3fs", _list_one_of_s3, _s3_store, orbax=False),
}


@functools.cache
def reach_bucket(scheme: str, bucket: str) -> None:
    """Raises InputError unless there is a bucket of a kind of `KINDS` whose objects can be listed; asks but once."""
    url, kind = f"{scheme}://{bucket}", KINDS[scheme]
    require(kind.extra, url)
    # Where TensorFlow is installed etils would read buckets with it, and import it for that.
    os.environ.setdefault("EPATH_USE_TF", "false")
    import fsspec.config

    # What orbax stores it stores past fsspec, which would go on listing what it has seen.
    fsspec.config.conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)
    expected = "expected a bucket that can be read, found"
    if not bucket:
        raise InputError(f"{expected} none: {url}")
    with _kept_log(kind.package) as lines:
        try:
            _within(_PATIENCE_S, lambda: kind.list_one(bucket))
        except FileNotFoundError as error:
            raise InputError(f"{expected} none: {url}") from error
        except Exception as error:  # no network, no credentials, no permission: each layer has classes of its own
            reason = f"{type(error).__name__} ({one_line(error)})"
            if isinstance(error, TimeoutError) and not error.args:
                reason = f"no answer within {_PATIENCE_S:.0f} s" + "".join(f" ({line})" for line in lines[-1:])
            raise InputError(f"{expected} {reason}: {url}") from error


@functools.cache
def file_system(scheme: str) -> Any:
    """Fsspec's file system for buckets of a kind; safe to use from several threads."""
    import fsspec

    return fsspec.filesystem(scheme)


def array_store(url: str) -> dict[str, Any]:
    """What tensorstore finds a folder in a bucket by."""
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return KINDS[scheme].store() | {"bucket": bucket, "path": f"{path}/"}


def _within(seconds: float, ask: Callable[[], object]) -> None:
    """Calls something that cannot be told how long to wait; raises what it raises, or TimeoutError."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            ask()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if failed:
        raise failed[0]


@contextmanager
def _kept_log(package: str) -> Iterator[list[str]]:
    """Yields a list of what a package logs, which is not shown: what it raises as well, and why it tries again."""
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(" ".join(record.getMessage().split()))  # type: ignore[method-assign]
    logger = logging.getLogger(package)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
