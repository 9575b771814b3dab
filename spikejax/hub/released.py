"""The networks that VRT's authors have published, by their numbers: vrt:006.

A file is looked for in SPIKEJAX_WEIGHTS, then in the cache folder, and else downloaded from the authors' release, which
takes the consent of --accept-license. It is converted once. What a file's SHA-256 was at its first use is recorded in
the cache folder, and a file that has another one later is refused.

    CACHE/NAME.pth          as published
    CACHE/006_SHA.safetensors    converted, by the beginning of the SHA-256 of what it was converted from
    CACHE/checksums.json    {"NAME.pth": {"sha256", "bytes", "from"}, ...}
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from spikejax import installed
from spikejax.config.named_networks import RELEASED
from spikejax.config.networks import PUBLISHED
from spikejax.errors import InputError, one_line
from spikejax.io.atomic import atomic_write
from spikejax.io.json_files import read_json, write_json
from spikejax.io.paths import user_cache
from spikejax.io.weights import SUFFIX, write_weights
from spikejax.progress import Progress, say
from spikejax.version import __version__

FOLDER_VARIABLE = "SPIKEJAX_WEIGHTS"
LICENSE = "CC BY-NC 4.0, not for commercial use"
RELEASE = "https://github.com/JingyunLiang/VRT/releases/download/v0.0"
_CHECKSUMS = "checksums.json"
_SECONDS = 30  # without a byte, after which a connection counts as lost
_AT_ONCE = 2**20  # bytes
_FINGERPRINT = 12  # digits of a SHA-256 in the name of what was converted


def fetch_released(name: str, *, accept_license: bool = False) -> Path:
    """The converted weights of a published network.

    Args:
        name: its number, a key of `PUBLISHED`.
        accept_license: whether its file may be downloaded, if it is not here.

    Raises:
        InputError: it is not here and may not or cannot be downloaded, or is not what it was at its first use.
    """
    cache = _cache()
    file = PUBLISHED[name].file
    here = _local(file, cache)
    path = here or _download(name, file, accept_license=accept_license)
    try:
        checksum = _known_checksum(path, cache)
        converted = cache / f"{name}_{checksum[:_FINGERPRINT]}{SUFFIX}"
        if converted.is_file():
            _known_checksum(converted, cache)
        else:
            _convert(name, path, converted)
    except InputError:
        if here is None:  # what came is not what it should be; the next try begins anew
            path.unlink()
        raise
    for used in (path, converted):
        _record(used, cache)
    say(f"{RELEASED}{name}: {path} ({LICENSE}; SHA-256 {checksum[:_FINGERPRINT]}...)")
    return converted


def _cache() -> Path:
    try:
        return user_cache() / "spikejax" / "weights"
    except RuntimeError as error:
        raise InputError(f"expected a home folder, or {FOLDER_VARIABLE}, found none: {error}") from error


def _folders(cache: Path) -> list[Path]:
    named = os.environ.get(FOLDER_VARIABLE)
    return [Path(named).absolute(), cache] if named else [cache]


def _local(file: str, cache: Path) -> Path | None:
    return next((folder / file for folder in _folders(cache) if (folder / file).is_file()), None)


# ---- What a file was at its first use ----


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_AT_ONCE):
            digest.update(data)
    return digest.hexdigest()


def _known_checksum(path: Path, cache: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        InputError: it is another one than at the first use.
    """
    checksum = _checksum(path)
    known = (read_json(cache / _CHECKSUMS) or {}).get(path.name, {}).get("sha256", checksum)
    if known != checksum:
        raise InputError(
            f"expected {path.name} as it was at its first use, SHA-256 {str(known)[:_FINGERPRINT]}..., found "
            f"{checksum[:_FINGERPRINT]}... (if that is right, remove its entry in {cache / _CHECKSUMS}): {path}"
        )
    return checksum


def _record(path: Path, cache: Path) -> None:
    """Writes down the SHA-256 of a file that is used for the first time."""
    records = read_json(cache / _CHECKSUMS) or {}
    if path.name not in records:
        record = {"sha256": _checksum(path), "bytes": path.stat().st_size, "from": str(path)}
        write_json(cache / _CHECKSUMS, {**records, path.name: record})
        say(f"{path.name}: first use, its SHA-256 is recorded in {cache / _CHECKSUMS}")


def _convert(name: str, path: Path, converted: Path) -> None:
    array_files = installed.load_module("convert.array_files")
    network = installed.load_module("convert.convertible_networks").get_network(name)
    say(f"converting {path}")
    try:
        weights = network.from_torch(array_files.read_arrays(path))
    except InputError as error:
        error.args = (f"{error}: {path}",)
        raise
    write_weights(converted, weights)


# ---- The release ----


def _download(name: str, file: str, *, accept_license: bool) -> Path:
    """Downloads a file of the release, and says where it comes from, how large it is and what its licence is."""
    url = f"{RELEASE}/{file}"
    folder = _folders(_cache())[0]
    with _answer_of(url, method="GET" if accept_license else "HEAD", instead=f"{file} in {folder}") as response:
        size = _size_of(response)
        shown = "of unknown size" if size is None else f"{size / 1e6:,.1f} MB"
        if not accept_license:
            raise InputError(
                f"expected {file} in {folder}, or --accept-license to download it ({shown}, {LICENSE}) from {url}, "
                f"found neither: {RELEASED}{name}"
            )
        say(f"downloading {url} ({shown}, {LICENSE}) to {folder}")
        try:
            with atomic_write(folder / file) as temporary:
                _copy(response, temporary, size=size, url=url)
        except OSError as error:
            raise InputError(f"cannot write {folder / file}: {error.strerror or error}") from error
    return folder / file


@contextlib.contextmanager
def _answer_of(url: str, *, method: str, instead: str) -> Iterator[http.client.HTTPResponse]:
    """Yields an answer; whoever has none is told what would do `instead`."""
    request = urllib.request.Request(url, method=method, headers={"User-Agent": f"spikejax/{__version__}"})
    try:
        response = urllib.request.urlopen(request, timeout=_SECONDS)
    except (OSError, http.client.HTTPException) as error:  # also urllib.error.URLError
        raise InputError(
            f"expected {instead}, or an answer of the release ({LICENSE}), found {_reason(error)}: {url}"
        ) from error
    with response:
        yield response


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"status {error.code} ({error.reason})"
    return one_line(error) or type(error).__name__


def _size_of(response: http.client.HTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _copy(response: http.client.HTTPResponse, target: Path, *, size: int | None, url: str) -> None:
    progress = Progress("downloading", total=None if size is None else -(-size // _AT_ONCE), unit="MiB")
    done = 0
    with target.open("wb") as file:
        while data := _read(response, url):
            file.write(data)
            done += len(data)
            progress.advance()
    progress.finish(complete=size is None or done == size)
    if size is not None and done != size:
        raise InputError(f"expected {size:,} bytes, found the connection closed after {done:,}: {url}")


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(_AT_ONCE)
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"expected the rest of the file, found {_reason(error)}: {url}") from error
