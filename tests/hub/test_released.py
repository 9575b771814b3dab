"""Published weights by their number: found, downloaded with consent, converted, and the same as at the first use."""

import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.array_files import write_arrays
from convert.convertible_networks import ConvertibleNetwork
from spikejax import installed
from spikejax.errors import InputError
from spikejax.hub import released
from spikejax.hub.released import FOLDER_VARIABLE, fetch_released
from spikejax.io.json_files import read_json
from spikejax.io.weights import read_weights

FILE = "006_VRT_videodeblurring_GoPro.pth"


class Release:
    """The authors' release, on this machine.

    Attributes:
        folder: of its files.
        asked: method and path of each request.
        cut: bytes that are left out at the end of an answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.cut = folder, list[str](), 0


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *rest: Any, release: Release) -> None:
        self.release = release
        super().__init__(*rest, directory=str(release.folder))

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def send_head(self) -> Any:
        self.release.asked.append(f"{self.command} {self.path}")
        return super().send_head()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        with contextlib.suppress(BrokenPipeError):  # by whoever was only to be told the size
            outputfile.write(data[: len(data) - self.release.cut])


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """One that has no files yet; the user's cache folder is the test's own."""
    (tmp_path / "release").mkdir()
    served = Release(tmp_path / "release")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with HTTPServer(("127.0.0.1", 0), partial(_Handler, release=served)) as server:
        monkeypatch.setattr(released, "RELEASE", f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def small(spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What writes a file of weights; a network of seconds stands for the published one."""
    networks = installed.load_module("convert.convertible_networks")
    monkeypatch.setattr(networks, "get_network", lambda name: spynet)
    return lambda path: write_arrays(path, flow_weights, wrapper="params")


def test_nothing_is_downloaded_without_consent(release: Release, small: Any, tmp_path: Path) -> None:
    """Catches a download that nobody agreed to, and a question that shows neither size nor licence nor address."""
    small(release.folder / FILE)
    size = (release.folder / FILE).stat().st_size
    with pytest.raises(InputError) as caught:
        fetch_released("006")
    told = str(caught.value)
    for part in (f"({size / 1e6:,.1f} MB, CC BY-NC 4.0, not for commercial use)", "--accept-license", released.RELEASE):
        assert part in told
    assert told.endswith(": vrt:006") and str(tmp_path / "cache" / "spikejax" / "weights") in told
    assert release.asked == [f"HEAD /{FILE}"]
    assert not (tmp_path / "cache").exists()


def test_consent_downloads_and_converts_once(
    release: Release, small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a silent download, one for each use, and a checksum that is not recorded."""
    small(release.folder / FILE)
    path = fetch_released("006", accept_license=True)
    said = capsys.readouterr().err
    assert f"downloading {released.RELEASE}/{FILE} (" in said and "CC BY-NC 4.0" in said and "first use" in said
    assert read_weights(path).kind == "spynet"
    folder = tmp_path / "cache" / "spikejax" / "weights"
    assert (folder / FILE).read_bytes() == (release.folder / FILE).read_bytes()
    assert (read_json(folder / "checksums.json") or {}).keys() == {FILE, path.name}
    stamp = path.stat().st_mtime_ns
    assert fetch_released("006") == path
    assert path.stat().st_mtime_ns == stamp
    assert release.asked == [f"GET /{FILE}"]
    assert "CC BY-NC 4.0" in capsys.readouterr().err


@pytest.mark.parametrize("which", ["published", "converted"])
def test_a_file_that_has_changed(release: Release, small: Any, tmp_path: Path, which: str) -> None:
    """Catches weights that somebody has exchanged since they were used first."""
    small(release.folder / FILE)
    path = fetch_released("006", accept_license=True)
    changed = path if which == "converted" else path.with_name(FILE)
    data = bytearray(changed.read_bytes())
    data[-100] ^= 1
    changed.write_bytes(data)
    with pytest.raises(InputError, match=f"expected {changed.name} as it was at its first use, SHA-256 .* found .*: "):
        fetch_released("006")


def test_a_folder_of_ones_own(release: Release, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a file that lies here and is downloaded again, and a folder of others that is written to."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    small(tmp_path / "own" / FILE)
    path = fetch_released("006")
    assert release.asked == [] and [file.name for file in (tmp_path / "own").iterdir()] == [FILE]
    assert path.parent == tmp_path / "cache" / "spikejax" / "weights"
    # Another file of that name elsewhere is another one than at the first use.
    (tmp_path / "own" / FILE).write_bytes(b"something else")
    with pytest.raises(InputError, match="as it was at its first use"):
        fetch_released("006")


def test_a_download_that_fails(release: Release, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches half a file that is believed, and a release without an answer that is not said, with the way out.

    Without a network that is to lay the file, whose licence and address are said, into the folder that is looked in.
    """
    with pytest.raises(InputError, match=rf"or an answer of the release \(CC .*\), found status 404 .*: .*{FILE}"):
        fetch_released("006", accept_license=True)
    small(release.folder / FILE)
    release.cut = 1000
    with pytest.raises(InputError, match=r"expected [\d,]+ bytes, found the connection closed after [\d,]+: http"):
        fetch_released("006", accept_license=True)
    folder = tmp_path / "cache" / "spikejax" / "weights"
    assert not list(folder.glob("*"))
    release.cut = 0
    (release.folder / FILE).write_bytes(b"<html>not what you asked for</html>")
    with pytest.raises(InputError, match=f"expected weights .*, found something else: .*{FILE}"):
        fetch_released("006", accept_license=True)
    assert not list(folder.glob("*"))
    monkeypatch.setattr(released, "RELEASE", "http://127.0.0.1:1")
    for accepted in (False, True):
        with pytest.raises(InputError, match=r"found .*refused.*: http://127.0.0.1:1/007_VRT_\w+\.pth") as caught:
            fetch_released("007", accept_license=accepted)
        assert f"expected 007_VRT_videodeblurring_REDS.pth in {folder}, or an answer of" in str(caught.value)
