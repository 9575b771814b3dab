"""Pictures in LMDB: what is read is what was packed, and what is damaged ends in one line."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.io.lmdb_pictures import LmdbEntry, LmdbPicture, lmdb_entries
from spikejax.io.pictures import picture_header, read_picture
from tests.data.lmdb_files import write_lmdb

pytestmark = pytest.mark.needs("lmdb")
NAMES = ("00000000.png", "00000001.png")
FRAMES = np.random.default_rng(0).integers(0, 256, (4, 40, 48, 3)).astype(np.uint8)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two sequences of two frames."""
    return write_lmdb(tmp_path / "train_sharp.lmdb", {"000": FRAMES[:2], "00001/0002": FRAMES[2:]}, names=NAMES)


def test_pictures_are_read_in_place(database: Path) -> None:
    """Catches keys with their suffix, turned colours, and a database that is locked or written to."""
    before = (database / "data.mdb").read_bytes()
    (database / "lock.mdb").unlink()
    entries = lmdb_entries(database)
    assert entries[0] == LmdbEntry("000/00000000.png", (40, 48)) and len(entries) == 4
    pictures = [LmdbPicture(database, entry.name) for entry in entries]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read_picture, pictures * 5))
    np.testing.assert_array_equal(np.stack(found), np.tile(FRAMES, (5, 1, 1, 1)))
    assert picture_header(pictures[0]) == ("RGB", (40, 48))
    assert (pictures[3].name, pictures[3].stem) == ("00000001.png", "00000001")
    assert (database / "data.mdb").read_bytes() == before and not (database / "lock.mdb").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no data", "expected data.mdb and meta_info.txt in an LMDB, found no data.mdb: .*sharp.lmdb"),
        ("no meta", "found no meta_info.txt: .*train_sharp.lmdb"),
        ("empty data", "expected an LMDB of pictures, found a damaged one .*: .*train_sharp.lmdb"),
        ("other data", "expected an LMDB of pictures, found a damaged one .*: .*train_sharp.lmdb"),
        ("cut data", r"expected \d+ bytes of data.mdb, found \d+, a file that was cut: .*sharp.lmdb"),
        ("a line more", r"expected as many pictures as meta_info.txt has lines \(5\), found 4: .*sharp.lmdb"),
        ("no lines", r"expected as many pictures as meta_info.txt has lines \(0\), found 4: .*sharp.lmdb"),
        ("another line", "expected SEQUENCE/FRAME.png .*, found '000/9.png 40 48' in line 5: .*meta_info.txt"),
        ("no sequence", r"expected SEQUENCE/FRAME.png .*, found '9.png \(40,48,3\) 1' in line 5: .*meta_info.txt"),
        ("grey", r"expected pictures of 3 channels, found 1 in line 5: .*meta_info.txt"),
        ("another key", r"expected all pictures of meta_info.txt, found no 000/00000009.png: .*sharp.lmdb"),
        ("another size", r"expected 40x49 as meta_info.txt says, found 40x48 at 000/00000001.png: .*sharp.lmdb"),
        ("raw pixels", r"expected PNG files, found b'.*' at 000/00000001.png: .*sharp.lmdb"),
        ("empty value", r"expected PNG files, found b'.*' at 000/00000001.png: .*sharp.lmdb"),
        ("no text", "expected lines KEY .* level, found 'utf-8' codec .*: .*meta_info.txt"),
    ],
)
def test_damage(change: str, message: str, database: Path) -> None:
    """Catches a traceback, or a process that ends without a word where a mapped file was cut."""
    data, meta = database / "data.mdb", database / "meta_info.txt"
    match change:
        case "no data":
            data.unlink()
        case "no meta":
            meta.unlink()
        case "empty data":
            data.write_bytes(b"")
        case "other data":
            data.write_bytes(np.random.default_rng(0).bytes(100_000))
        case "cut data":
            os.truncate(data, data.stat().st_size - 4096)
        case "no lines":
            meta.write_text("")
        case "another key":
            meta.write_text(meta.read_text().replace("000/00000001.png", "000/00000009.png"))
        case "another size":
            meta.write_text(meta.read_text().replace("000/00000001.png (40,48", "000/00000001.png (40,49"))
        case "raw pixels" | "empty value":
            put(database, b"000/00000001", FRAMES[1].tobytes() if change == "raw pixels" else b"")
        case "no text":
            meta.write_bytes(b"\xff\xfe\x00")
        case _:
            line = {"a line more": "000/9.png (40,48,3) 1", "another line": "000/9.png 40 48"}
            line |= {"no sequence": "9.png (40,48,3) 1", "grey": "000/9.png (40,48,1) 1"}
            meta.write_text(meta.read_text() + line[change] + "\n")
    with pytest.raises(InputError, match=message):
        lmdb_entries(database)


def put(database: Path, key: bytes, value: bytes) -> None:
    """Writes a value into a database."""
    import lmdb

    with lmdb.open(str(database), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        transaction.put(key, value)


def test_a_picture_that_is_not_there(database: Path) -> None:
    """Catches None that is decoded, for a picture that the list names and the database has not."""
    with pytest.raises(InputError, match=r"expected the picture 000/7 that meta_info.txt names, found none: .*lmdb"):
        read_picture(LmdbPicture(database, "000/7.png"))


def test_a_value_that_is_no_picture(tmp_path: Path) -> None:
    """Catches raw pixels, as some pack them, that are taken for a PNG."""
    database = write_lmdb(tmp_path / "a.lmdb", {"000": FRAMES[:2]}, names=NAMES)
    put(database, b"000/00000001", FRAMES[1].tobytes())
    with pytest.raises(InputError, match=r"expected a picture, cannot decode .*a.lmdb/000/00000001.png"):
        read_picture(LmdbPicture(database, "000/00000001.png"))


def test_without_the_extra(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback where a line could say what to install."""
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match=r"sharp.lmdb: expected the extra lmdb \(pip install 'spikejax\[lmdb\]'\)"):
        lmdb_entries(database)
    with pytest.raises(InputError, match="expected the extra lmdb"):
        read_picture(LmdbPicture(database, "000/00000000.png"))
