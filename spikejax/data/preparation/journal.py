"""The journal of a preparation: a line for every frame that is done, so that it can be stopped and continued.

A line is written when all files of its frame are whole. It says what the frame was made of; a frame whose source has
changed since is made again. What is torn off at the end by a full disk or a power cut is a frame that is not done.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from spikejax.data.preparation.frame_selection import FrameKey, PlannedFrame, PlannedSequence

JOURNAL = "prepared.jsonl"


@dataclass(frozen=True)
class FrameRecord:
    """A frame that is done, or whose content turned out to be useless.

    Attributes:
        split: "train" or "val".
        sequence: the folder that was written to.
        source: the source's name of the sequence.
        name: the frame's name in the source.
        number: its number among the frames of the folder.
        files: size and time of change of each of its files, and its window: what it was made of.
        problem: why it cannot be used; empty for a frame that is done.
        spikes: number of spikes in its window.
        histogram: how many counts are 0, 1, 2, ...
        same: whether its sharp picture is its blurry one.
        alignment: correlation of its spikes' rate with the blurry picture's light; 0 where one of them is even.
    """

    split: str
    sequence: str
    source: str
    name: str
    number: int
    files: tuple[int, ...]
    problem: str = ""
    spikes: int = 0
    histogram: tuple[int, ...] = ()
    same: bool = False
    alignment: float = 0.0

    @property
    def key(self) -> FrameKey:
        """The frame of the source."""
        return self.split, self.source, self.name


def fingerprint(frame: PlannedFrame) -> tuple[int, ...]:
    """What a frame is made of, without reading it."""
    statuses = [os.stat(path) for path in (frame.blur, frame.sharp, frame.stream)]
    return (*(value for status in statuses for value in (status.st_size, status.st_mtime_ns)), *frame.window, frame.t0)


def is_record_of(record: FrameRecord | None, sequence: PlannedSequence, number: int) -> bool:
    """Whether a frame of the plan is done as the record says, and of the same files."""
    if record is None or (record.sequence, record.number) != (sequence.name, number) or record.problem:
        return False
    return record.files == fingerprint(sequence.frames[number])


class Journal:
    """The records in ROOT/prepared.jsonl, the newest of every frame."""

    def __init__(self, root: str | os.PathLike[str]):
        """Reads what is there."""
        self._path = Path(root) / JOURNAL
        self.records: dict[FrameKey, FrameRecord] = {}
        self._torn = False
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").split("\n"):
            try:
                fields = json.loads(line)
                record = FrameRecord(
                    **{**fields, "files": tuple(fields["files"]), "histogram": tuple(fields["histogram"])}
                )
            except (ValueError, TypeError, KeyError):
                self._torn = self._torn or bool(line)
                continue
            self.records[record.key] = record

    def append(self, record: FrameRecord) -> None:
        """Adds a line, on disk when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            # A line of its own, also behind one that was torn off.
            file.write(("\n" if self._torn else "") + json.dumps(asdict(record)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._torn = False
        self.records[record.key] = record
