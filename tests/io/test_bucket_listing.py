"""Folders in buckets: what one listing says, and what is read of them."""

from pathlib import Path

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.io.bucket_listing import file_size, listed
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from tests.fake_bucket import FakeBucket


def test_one_listing_says_all(bucket: FakeBucket, tmp_path: Path) -> None:
    """Catches questions that are asked file by file, a neighbour's files, and marks of folders taken for files."""
    for name in ("data/train/a/x.png", "data/train/b.csv", "data/train2/other", "data/train.csv"):
        (bucket.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket.folder / name).write_bytes(b"01234")
    folder = listed("gs://bucket/data/train")
    assert folder.is_dir() and not folder.is_file() and folder.name == "train"
    assert [path.name for path in folder.iterdir()] == ["a", "b.csv"]
    file = folder / "a" / "x.png"
    assert file.is_file() and file.exists() and not file.is_dir() and file_size(file) == 5
    assert (file.stem, file.suffix, str(file)) == ("x", ".png", "gs://bucket/data/train/a/x.png")
    assert file.parent == folder / "a" and not (folder / "c").exists()
    assert bucket.requests == [("find", "gs://bucket/data/train")]

    assert file.read_bytes() == b"01234" and file.open("rb").read() == b"01234" and file.open().read() == "01234"
    assert file.read_bytes(1, 3) == b"12"
    for use in (lambda path: path.read_bytes(), file_size, lambda path: path.iterdir()):
        with pytest.raises(FileNotFoundError):
            use(folder / "c")
    assert not listed("gs://bucket/nothing").exists()
    assert listed(tmp_path) == tmp_path


def test_a_folder_mark_is_no_file(bucket: FakeBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an empty object that a console has made for a folder, which would be a picture without a name."""
    entries = {"bucket/a/": {"size": 0}, "bucket/a/b/": {"size": 0}, "bucket/a/b/c": {"size": 1}}
    monkeypatch.setattr(bucket, "find", lambda path, detail: entries)
    folder = listed("gs://bucket/a")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in (folder / "b").iterdir()] == ["c"]


@pytest.mark.parametrize("own_depth", [False, True])
def test_frames_of_a_folder(bucket: FakeBucket, tmp_path: Path, own_depth: bool) -> None:
    """Catches frames of another order or depth than on a disk, and a request for every frame before the first."""
    dtype = np.uint16 if own_depth else np.uint8
    (bucket.folder / "clip").mkdir()
    for number in (2, 10, 1):
        picture = np.full((6, 8, 3), (number, 0, 9), dtype)
        write_picture(bucket.folder / "clip" / f"frame{number}.png", picture)
    source = open_frames("gs://bucket/clip", own_depth=own_depth)
    assert (source.height, source.width, source.bits) == (6, 8, 16 if own_depth else 8)
    assert source.names == ("frame1.png", "frame2.png", "frame10.png")
    assert len(bucket.requests) <= 3
    local = open_frames(bucket.folder / "clip", own_depth=own_depth)
    for frame, expected in zip(source, local, strict=True):
        assert frame.dtype == dtype
        np.testing.assert_array_equal(frame, expected)
    write_picture(bucket.folder / "clip" / "frame2.png", np.zeros((6, 9, 3), dtype))
    with pytest.raises(InputError, match=r"frame1.png is 8x6 but frame2.png is 9x6 \(width x height\)"):
        list(open_frames("gs://bucket/clip", own_depth=own_depth))


@pytest.mark.parametrize("name", ["clip.mp4", "*.png", "nothing"])
def test_what_is_no_folder_of_pictures_is_refused(bucket: FakeBucket, name: str) -> None:
    """Catches a video that is read byte by byte from a bucket, and a pattern that matches nothing without a word."""
    (bucket.folder / "clip.mp4").write_bytes(b"video")
    with pytest.raises(InputError, match="expected a folder of pictures, or a video on .* disks, found gs:"):
        open_frames(f"gs://bucket/{name}")
