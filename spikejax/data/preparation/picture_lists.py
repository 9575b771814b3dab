"""Lists of a data set's sequences, as data sets and restoration frameworks write them: which split takes which frames.

    sep_trainlist.txt, ImageSets/2017/val.txt, ...   SEQUENCE
    meta_info_NAME.txt                               SEQUENCE COUNT (height,width,channels) [START]

A list belongs to the test split if its name has "test", to val if it has "val", else to train.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spikejax.data.datasets.layout import SPLITS, TEST_SPLIT, TRAINING_SPLIT, VALIDATION_SPLIT
from spikejax.errors import InputError

_LINE = re.compile(r"(\S+)(?: (\d+) \((\d+),(\d+),\d+\)(?: (\d+))?)?")
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class ListedSequence:
    """A line of a list.

    Attributes:
        name: of the sequence, from the root of all.
        where: the list and the line, for messages.
        count: of its frames; None = all that are there.
        size: height and width of its sharp pictures; None = not said.
        start: number of its first frame; None = the first that is there.
    """

    name: str
    where: str
    count: int | None = None
    size: tuple[int, int] | None = None
    start: int | None = None

    def chosen(self, names: Sequence[str]) -> list[int]:
        """The places of the listed frames among a sequence's pictures; raises `InputError` if one is not there."""
        if self.count is None:
            return list(range(len(names)))
        if self.start is None:
            chosen = list(range(min(self.count, len(names))))
            expected = f"{self.count} frames"
        else:
            numbers = [int(match[1]) if (match := _LAST_NUMBER.search(Path(name).stem)) else -1 for name in names]
            listed = range(self.start, self.start + self.count)
            chosen = [place for place, number in enumerate(numbers) if number in listed]
            expected = f"frames {listed.start} to {listed.stop - 1}"
        if len(chosen) != self.count:
            raise InputError(f"expected {expected} of {self.name}, found {len(chosen)} of them: {self.where}")
        return chosen


@dataclass(frozen=True)
class SequenceList:
    """A list.

    Attributes:
        split: that its sequences belong to.
        path: its file.
    """

    split: str
    path: Path

    def read(self) -> list[ListedSequence]:
        """Its lines; raises `InputError` if there are none, one is of another form, or a sequence is there twice."""
        if not self.path.is_file():
            raise InputError(f"expected a list of sequences, found no file: {self.path}")
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"expected a list of sequences, found {error}: {self.path}") from error
        entries: dict[str, ListedSequence] = {}
        for number, line in enumerate(lines, 1):
            text = " ".join(line.split())
            if not text:
                continue
            match = _LINE.fullmatch(text)
            if match is None:
                expected = "SEQUENCE or SEQUENCE COUNT (height,width,channels) START"
                raise InputError(f"expected {expected}, found {text!r} in line {number}: {self.path}")
            name = match[1].strip("/")
            if name in entries:
                raise InputError(f"expected each sequence once, found {name} again in line {number}: {self.path}")
            where = f"{self.path}, line {number}"
            numbers = [None if group is None else int(group) for group in match.groups()[1:]]
            count, height, width, start = numbers
            size = None if height is None or width is None else (height, width)
            entries[name] = ListedSequence(name, where, count, size, start)
        if not entries:
            raise InputError(f"expected a list of sequences, found an empty file: {self.path}")
        return list(entries.values())


def named_list(text: str) -> SequenceList:
    """The list that somebody names, FILE or SPLIT=FILE."""
    split, mark, path = text.partition("=")
    if mark and split in SPLITS:
        return SequenceList(split, Path(path))
    return SequenceList(split_of(Path(text)), Path(text))


def split_of(path: Path) -> str:
    """The split that a list's name speaks of."""
    for word, split in (("test", TEST_SPLIT), ("val", VALIDATION_SPLIT)):
        if word in path.stem.lower():
            return split
    return TRAINING_SPLIT
