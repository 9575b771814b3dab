"""Buckets: whether one can be reached, and what is said if not; no package for any of them is needed here."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from spikejax.errors import InputError
from spikejax.io import buckets
from spikejax.io.buckets import KINDS, array_store, reach_bucket


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Has every bucket answer by a function."""

    def install(answer: Callable[[], object]) -> None:
        kinds = {
            scheme: buckets.BucketKind("train", "a_package", lambda bucket: answer(), kind.store, kind.orbax)
            for scheme, kind in KINDS.items()
        }
        monkeypatch.setattr(buckets, "KINDS", kinds)
        monkeypatch.setattr(buckets, "require", lambda extra, what: None)

    monkeypatch.setenv("EPATH_USE_TF", "false")
    reach_bucket.cache_clear()
    yield install
    reach_bucket.cache_clear()


def raiser(error: Exception) -> Callable[[], object]:
    """A function that raises it."""

    def answer() -> object:
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError("b/bucket/o"), "found none"),
        (PermissionError("Access\nDenied"), r"found PermissionError \(Access Denied\)"),
        (RuntimeError("no credentials"), r"found RuntimeError \(no credentials\)"),
    ],
)
@pytest.mark.parametrize("scheme", KINDS)
def test_a_bucket_that_answers_no(answering: Callable[..., None], scheme: str, error: Exception, said: str) -> None:
    """Catches a traceback of a package, and a bucket that is there for whoever may not read it."""
    answering(raiser(error))
    with pytest.raises(InputError, match=f"^expected a bucket that can be read, {said}: {scheme}://bucket$"):
        reach_bucket(scheme, "bucket")
    with pytest.raises(InputError, match=f"found none: {scheme}://$"):
        reach_bucket(scheme, "")


def test_a_bucket_that_does_not_answer(
    answering: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a minute of trying again, without a word of what is wrong, or with a traceback for every try."""
    monkeypatch.setattr(buckets, "_PATIENCE_S", 0.2)

    end = threading.Event()

    def try_again() -> None:
        logging.getLogger("a_package").debug("trying again after:\nno route")
        end.wait(120)

    answering(try_again)
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"found no answer within 0 s \(trying again after: no route\): gs://bucket$"):
        reach_bucket("gs", "bucket")
    assert time.monotonic() - begin < 60
    end.set()
    assert not caplog.records
    logging.getLogger("a_package").warning("afterwards")
    assert [record.getMessage() for record in caplog.records] == ["afterwards"]


def test_a_bucket_is_asked_once(answering: Callable[..., None]) -> None:
    """Catches a request for every path of a bucket, and one bucket's answer taken for another's."""
    asked: list[Any] = []
    answering(lambda: asked.append(None))
    for bucket in ("one", "other", "one"):
        reach_bucket("s3", bucket)
    assert len(asked) == 2


def test_where_arrays_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches arrays that are looked for at another server than all other files, or by other credentials."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    assert array_store("gs://bucket/a/b") == {"driver": "gcs", "bucket": "bucket", "path": "a/b/"}
    assert array_store("s3://bucket/a/b") == {"driver": "s3", "bucket": "bucket", "path": "a/b/"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://general")
    assert array_store("s3://bucket/a")["aws_region"] == "us-east-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://special")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "auto")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    assert array_store("s3://bucket/a") == {
        "driver": "s3", "bucket": "bucket", "path": "a/", "endpoint": "http://special", "aws_region": "auto",
        "aws_credentials": {"type": "environment"},
    }  # fmt: skip
