"""Which sequences of a data set of pictures belong to which split, and which input belongs to which sharp picture.

What does not fit together is refused, not left out: where a folder lacks pictures, every number measured on it would be
another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spikejax.data.datasets.layout import SPLITS, TEST_SPLIT, TRAINING_SPLIT, VALIDATION_SPLIT
from spikejax.data.datasets.picture_index import PictureFolder
from spikejax.data.preparation.picture_layouts import (
    PictureLayout,
    PictureRoots,
    chosen_input,
    input_tree,
    lists_beside,
    located,
)
from spikejax.data.preparation.picture_lists import ListedSequence, SequenceList
from spikejax.data.preparation.picture_trees import PictureTree, SourceFolder
from spikejax.errors import InputError

# The four sequences of REDS that papers test on, and what frameworks add to the number of one of the published
# validation split, which then is trained on.
REDS4 = ("000", "011", "015", "020")
_FIRST_OF_VALIDATION = 240


@dataclass(frozen=True)
class PictureChoices:
    """What somebody has to say where the files leave it open.

    Attributes:
        blur: the kind of pictures that become the network's input; None = those that are there, "none" = none.
        split: that sequences belong to where neither a folder nor a list says it.
        lists: instead of those that lie with the data.
        partition: of REDS: "REDS4", or "published".
    """

    blur: str | None = None
    split: str = TRAINING_SPLIT
    lists: tuple[SequenceList, ...] = ()
    partition: str = "REDS4"


@dataclass(frozen=True)
class SourceSequence:
    """A sequence of a data set of pictures.

    Attributes:
        split: that it belongs to; None = not known yet.
        name: usable as a folder's name.
        key: its name from the root of all, by which its input is found.
        row: where it is from.
        sharp: its sharp pictures.
        blur: the network's input, if that is not made.
        listed: the line of a list that names it, if one does.
    """

    split: str | None
    name: str
    key: str
    row: PictureRoots
    sharp: SourceFolder
    blur: SourceFolder | None = None
    listed: ListedSequence | None = None


@dataclass(frozen=True)
class SelectedPictures:
    """The sequences of a data set.

    Attributes:
        base: the folder that their paths begin in.
        blur: the kind of input; None = there is none.
        sequences: of all splits, in their order.
        notes: what the user should know of it, a line each.
    """

    base: Path
    blur: str | None
    sequences: tuple[SourceSequence, ...]
    notes: tuple[str, ...]


def select_pictures(name: str, source: Path, choices: PictureChoices) -> SelectedPictures:
    """The sequences of a data set without spikes.

    Args:
        name: of the layout.
        source: the published data set.
        choices: see there.

    Raises:
        InputError: the source is not of that layout, something in it does not fit together, or something is left open.
    """
    layout, base, rows = located(name, source)
    kind = chosen_input(base, rows, choices.blur)
    notes: list[str] = []
    sequences = [
        SourceSequence(row.split, key.replace("/", "_"), key, row, folder)
        for row in rows
        for key, folder in row.sharp.sequences(base).items()
    ]
    if not sequences:
        raise InputError(f"expected sequences as {rows[0].sharp}, found no pictures: {base}")
    if name == "reds":
        sequences = _partition_of_reds(sequences, choices.partition, base)
    known = {row.sharp: frozenset(own.key for own in sequences if own.row is row) for row in rows}
    sequences = _by_lists(sequences, layout, base, choices, notes)
    if kind is None:
        notes.append("no input is taken, sharp pictures alone: data.degradation says how it is made of them")
    else:
        paired = []
        for row in rows:
            source_input = _Input(row, input_tree(base, row, kind), base, known[row.sharp])
            paired += source_input.added_to([own for own in sequences if own.row is row], notes)
        sequences = paired
    sequences = [_frames_of_list(sequence) for sequence in sequences]
    _check_names(sequences, base)
    order = {split: number for number, split in enumerate(SPLITS)}
    sequences.sort(key=lambda sequence: order[str(sequence.split)])
    return SelectedPictures(base, kind, tuple(sequences), tuple(notes))


def _partition_of_reds(sequences: list[SourceSequence], partition: str, base: Path) -> list[SourceSequence]:
    """REDS with four sequences of its training split as validation, and its validation split trained on."""
    training = {sequence.name for sequence in sequences if sequence.split == TRAINING_SPLIT}
    if partition != "REDS4" or not training:
        return sequences
    missing = [name for name in REDS4 if name not in training]
    if missing:
        hint = "--partition published takes the splits as they are"
        raise InputError(f"expected sequences {', '.join(REDS4)} of REDS4, found no {missing[0]} ({hint}): {base}")
    moved = []
    for own in sequences:
        if own.split == VALIDATION_SPLIT and own.name.isdecimal():
            own = replace(own, split=TRAINING_SPLIT, name=f"{_FIRST_OF_VALIDATION + int(own.name):03d}")
        elif own.split == TRAINING_SPLIT and own.name in REDS4:
            own = replace(own, split=VALIDATION_SPLIT)
        moved.append(own)
    return moved


def _by_lists(
    sequences: list[SourceSequence], layout: PictureLayout, base: Path, choices: PictureChoices, notes: list[str]
) -> list[SourceSequence]:
    """The sequences that lists name, each in its split, and those of splits without a list."""
    lists = list(choices.lists) or lists_beside(layout, base)
    if not lists:
        if layout.needs_lists and any(sequence.split is None for sequence in sequences):
            names = " and ".join(layout.lists[:2])
            raise InputError(f"expected the lists {names}, found none (--list FILE names others): {base}")
        return [_without_list(sequence, layout.test, choices.split) for sequence in sequences]
    named: dict[str, tuple[str, ListedSequence]] = {}
    by_name = {key: sequence for sequence in sequences for key in (sequence.name, sequence.key)}
    for entries in lists:
        notes.append(f"{entries.split} as the list {entries.path}")
        for entry in entries.read():
            sequence = by_name.get(entry.name)
            if sequence is None:
                raise InputError(f"expected the sequence {entry.name} of a list ({entry.where}), found none: {base}")
            if sequence.split in (None, entries.split):
                other, _ = named.setdefault(sequence.name, (entries.split, entry))
                if other != entries.split:
                    also = f"found {entry.name} in {other} as well"
                    raise InputError(f"expected each sequence in one split, {also}: {entry.where}")
    listed = {entries.split for entries in lists}
    kept = []
    for own in sequences:
        if own.name in named and own.split in (None, named[own.name][0]):
            split, entry = named[own.name]
            kept.append(replace(own, split=split, listed=entry))
        elif own.split is not None and own.split not in listed:
            kept.append(own)
    if len(kept) < len(sequences):
        notes.append(f"{len(sequences) - len(kept)} of {len(sequences)} sequences are in no list, and left out")
    return kept


def _without_list(sequence: SourceSequence, test: Iterable[str], split: str) -> SourceSequence:
    if sequence.split is not None:
        return sequence
    return replace(sequence, split=TEST_SPLIT if sequence.name in test else split)


@dataclass(frozen=True)
class _Input:
    """The input of the sequences of a row.

    Attributes:
        row: with the sharp pictures.
        tree: where the input is.
        base: the folder that both are in.
        known: all sequences of sharp pictures, those that no list names as well.
    """

    row: PictureRoots
    tree: PictureTree
    base: Path
    known: frozenset[str]

    def added_to(self, sequences: list[SourceSequence], notes: list[str]) -> list[SourceSequence]:
        """The sequences with their input: of the same names, or else in the same order, which is noted once."""
        folders = self.tree.sequences(self.base)
        keys = [sequence.key for sequence in sequences]
        lacking = [key for key in keys if key not in folders]
        strangers = [key for key in folders if key not in self.known]
        if lacking and len(lacking) == len(keys) == len(folders):
            first = next(iter(folders))
            _note_once(notes, "sequences", f"{first} of {self.tree} with {keys[0]} of {self.row.sharp}")
            partners = list(folders.values())
        elif lacking or strangers:
            without = f"{lacking[0]} is in the first alone" if lacking else f"{strangers[0]} is in the second alone"
            raise InputError(
                f"expected the same sequences as {self.row.sharp} and {self.tree}, found {len(self.known)} and "
                f"{len(folders)}, {without}: {self.base}"
            )
        else:
            partners = [folders[key] for key in keys]
        return [self._paired(own, partner, notes) for own, partner in zip(sequences, partners, strict=True)]

    def _paired(self, sequence: SourceSequence, partner: SourceFolder, notes: list[str]) -> SourceSequence:
        ours, theirs = sequence.sharp.pictures, partner.pictures
        if len(ours.names) != len(theirs.names):
            raise InputError(
                f"expected as many pictures of a sequence in both folders, found {len(ours.names)} in {ours.path} and "
                f"{len(theirs.names)} in {theirs.path}: {self.base}"
            )
        if [Path(name).stem for name in ours.names] != [Path(name).stem for name in theirs.names]:
            example = f"{theirs.path}/{theirs.names[0]} with {ours.path}/{ours.names[0]}"
            _note_once(notes, "pictures", example)
        return replace(sequence, blur=partner)


def _note_once(notes: list[str], what: str, example: str) -> None:
    begin = f"{what} pair up by their order: "
    if not any(note.startswith(begin) for note in notes):
        notes.append(f"{begin}{example}, ...")


def _frames_of_list(sequence: SourceSequence) -> SourceSequence:
    """The sequence with those frames that its list names."""
    if sequence.listed is None:
        return sequence
    chosen = sequence.listed.chosen(sequence.sharp.pictures.names)

    def part(folder: SourceFolder) -> SourceFolder:
        names = tuple(folder.pictures.names[number] for number in chosen)
        return replace(folder, pictures=PictureFolder(folder.pictures.path, names))

    return replace(sequence, sharp=part(sequence.sharp), blur=sequence.blur and part(sequence.blur))


def _check_names(sequences: list[SourceSequence], base: Path) -> None:
    """Raises `InputError` where two sequences of a split would have one folder."""
    known: dict[tuple[str | None, str], str] = {}
    for sequence in sequences:
        other = known.setdefault((sequence.split, sequence.name), sequence.key)
        if other != sequence.key:
            raise InputError(f"expected sequences of different names, found {other} and {sequence.key}: {base}")
