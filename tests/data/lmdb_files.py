"""Pictures packed into LMDB as restoration frameworks pack them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np


def write_lmdb(database: Path, sequences: Mapping[str, Sequence[np.ndarray]], *, names: Sequence[str]) -> Path:
    """A database of sequences whose frames have these names, with its `meta_info.txt` and its lock."""
    import lmdb

    environment = lmdb.open(str(database), map_size=2**26)
    lines = []
    with environment.begin(write=True) as transaction:
        for sequence, frames in sequences.items():
            for name, frame in zip(names, frames, strict=True):
                _, content = cv2.imencode(".png", frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
                transaction.put(f"{sequence}/{Path(name).stem}".encode(), content.tobytes())
                height, width, channels = frame.shape
                lines.append(f"{sequence}/{name} ({height},{width},{channels}) 1\n")
    environment.close()
    (database / "meta_info.txt").write_text("".join(lines))
    return database


def pack_folders(root: Path) -> Path:
    """A folder of folders of pictures as the database ROOT.lmdb, in its place."""
    from spikejax.io.pictures import read_picture

    files = sorted(path for path in root.rglob("*") if path.is_file())
    sequences: dict[str, list[np.ndarray]] = {}
    for path in files:
        sequences.setdefault(path.parent.relative_to(root).as_posix(), []).append(read_picture(path))
    names = [path.name for path in files if path.parent == files[0].parent]
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    root.rmdir()
    return write_lmdb(root.with_name(f"{root.name}.lmdb"), sequences, names=names)
