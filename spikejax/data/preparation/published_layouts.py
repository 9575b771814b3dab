"""Where the frames of published data sets are: which pictures and which spikes belong together, by their names alone.

Each layout is a function that lists, for every sequence, all frames that any of its files speaks of, with what is
missing. Whether the files can be used is decided in `frame_selection`. To add a layout, write such a function and a
line in `LAYOUTS`; or give `prepare --layout FILE.py:NAME`.

    gopro    GOPRO_Large/{train,test}/SEQUENCE/{blur,blur_gamma,sharp}/N.png, or as restoration frameworks rename it
             GOPRO_Large/{train,test}_{GT_blurred,GT}/SEQUENCE/N.png; and in either case
             GOPRO_Large_spike_seq/{train,test}/SEQUENCE/spike/N.dat
    x4k      {train,val}_blurry_33/.../A_B.png, {train,val}_spike_2xds/.../spike.dat,
             {train,val}/.../M.png, M the middle of A and B
    folders  [{train,val,test}/]SEQUENCE/{blur,sharp}/NAME.png and spike/NAME.dat, or one stream in spike/ for all of
             them
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spikejax.data.datasets.layout import BLUR, SHARP, SPIKE, SPLITS, TRAINING_SPLIT, read_alignment
from spikejax.data.spikes.any_stream import STREAM_SUFFIXES
from spikejax.data.spikes.stream_size import CONFIG, read_config
from spikejax.errors import InputError
from spikejax.extensions import find_entry
from spikejax.io.frame_source import natural_key
from spikejax.io.paths import walk_folders
from spikejax.io.pictures import PICTURE_SUFFIXES

# Kinds of blurry pictures of GoPro: two as it is published, and one where it is renamed.
GT_BLURRED = "GT_blurred"
GOPRO_BLURS = ("blur", "blur_gamma", GT_BLURRED)
# Stream frames per video frame that the GoPro streams were interpolated to, and video frames in an X4K exposure.
_GOPRO_STEPS, _X4K_FRAMES = 8, 33
# Published splits by the names of ours; a data set without validation data is tested on its test split.
_TEST = {"train": "train", "val": "test"}


@dataclass(frozen=True)
class SourceFrame:
    """A frame that some file speaks of.

    Attributes:
        number: in time; numbers that follow each other are neighbouring exposures.
        name: as its files call it.
        blur: None where there is no such file, as `sharp` and `stream`.
        sharp: the picture in the middle of the exposure.
        stream: the file that holds its spikes.
        window: steps [t0, t1) of that file; None = all of them, but for the margin.
        margin: steps at either end of that file that lie outside the exposure.
        t0: first step of the exposure, counted from the start of the sequence; None = it follows the frame before.
        problem: why it cannot be used; empty if its files are there.
    """

    number: int
    name: str
    blur: Path | None
    sharp: Path | None
    stream: Path | None
    window: tuple[int, int] | None = None
    t0: int | None = None
    problem: str = ""
    margin: int = 0


@dataclass(frozen=True)
class SourceSequence:
    """A sequence as it is published.

    Attributes:
        split: "train" or "val".
        name: usable as a folder's name.
        frames: in the order of time.
        steps: stream frames that every window must have; None = any number.
        ratio: picture size / spike size, where the names of the published folders say it; None = they do not.
    """

    split: str
    name: str
    frames: tuple[SourceFrame, ...]
    steps: int | None = None
    ratio: int | None = None


@dataclass(frozen=True)
class LayoutChoices:
    """What somebody has to say where the files leave it open.

    Attributes:
        blur: which folder of blurry pictures to take, of a layout that may hold several; None = the one that is there.
        split: that sequences belong to where no folder says it.
        spike_offset: number in the name of a frame's stream minus that of its pictures.
        spike_margin: steps at either end of a frame's stream that lie outside its exposure.
    """

    blur: str | None = None
    split: str = TRAINING_SPLIT
    spike_offset: int = 0
    spike_margin: int = 0


@dataclass(frozen=True)
class PublishedDataset:
    """A data set as it is published.

    Attributes:
        sequences: of all splits.
        blur: the name of the folders of blurry pictures that were taken; results differ by it.
    """

    sequences: tuple[SourceSequence, ...]
    blur: str = BLUR


Layout = Callable[[Path, LayoutChoices], PublishedDataset]


def find_layout(name: str) -> Layout:
    """The layout called `name`, an entry of `LAYOUTS` or the user's own; raises `InputError` if there is none."""
    layout: Layout = find_entry(LAYOUTS, name, key="--layout", kind=Callable)
    return layout


def find_published(layout: str, source: Path, choices: LayoutChoices) -> PublishedDataset:
    """The sequences of a published data set in a folder.

    Args:
        layout: an entry of `LAYOUTS`, or `FILE.py:NAME` of such a function.
        source: the folder.
        choices: for the layout.

    Raises:
        InputError: there is no such layout or folder, the folder is not of that layout, or something is left open that
            `choices` does not say, or the other way round.
    """
    find = find_layout(layout)
    if not source.is_dir():
        raise InputError(f"expected the folder of the published data set, found none: {source}")
    return find(source, choices)


def find_gopro(source: Path, choices: LayoutChoices) -> PublishedDataset:
    """GoPro with spikes; the blurry pictures are those of one of `GOPRO_BLURS`."""
    base = _gopro_base(source)
    blur = _choose_blur(base / "GOPRO_Large", choices.blur)
    return PublishedDataset(tuple(_gopro_sequences(base, blur, choices)), blur)


def _gopro_sequences(base: Path, blur: str, choices: LayoutChoices) -> Iterator[SourceSequence]:
    pictures = base / "GOPRO_Large"
    for split, part in _TEST.items():
        streams = base / "GOPRO_Large_spike_seq" / part
        if blur == GT_BLURRED:
            roots, within = (pictures / f"{part}_{blur}", pictures / f"{part}_GT"), ("", "")
        else:
            roots, within = (pictures / part, pictures / part), (blur, SHARP)
        for name in sorted({name for root in (*roots, streams) for name in _folders(root)}):
            interpolation = re.match(r"GOPR\d+_(\d+)", name)
            steps = _GOPRO_STEPS * int(interpolation[1]) if interpolation else None
            blurry, sharp = (root / name / folder for root, folder in zip(roots, within, strict=True))
            frames = _match(
                _files(blurry, PICTURE_SUFFIXES),
                _files(sharp, PICTURE_SUFFIXES),
                _streams(streams / name / SPIKE, choices),
                expected=f"{_last_two(blurry)}, {_last_two(sharp)} and {name}/{SPIKE}",
            )
            timed = (_with_gopro_time(frame, steps) for frame in frames)
            yield SourceSequence(
                split, name, tuple(replace(frame, margin=choices.spike_margin) for frame in timed), steps
            )


def _last_two(folder: Path) -> str:
    return "/".join(folder.parts[-2:])


def _with_gopro_time(frame: SourceFrame, steps: int | None) -> SourceFrame:
    """The frame with the time that its name says: file N holds the N-th window of the sequence's stream."""
    if not frame.name.isdecimal():
        return replace(frame, problem=frame.problem or f"expected a number as the frame's name, found {frame.name}")
    return frame if steps is None else replace(frame, t0=frame.number * steps)


def _choose_blur(base: Path, wanted: str | None) -> str:
    """Which folder of blurry pictures to take; raises `InputError` unless it is there and there is no doubt."""
    patterns = {kind: f"*_{kind}/*" if kind == GT_BLURRED else f"*/*/{kind}" for kind in GOPRO_BLURS}
    present = [kind for kind, pattern in patterns.items() if any(base.glob(pattern))]
    if wanted is None and len(present) > 1:
        raise InputError(
            f"expected --blur {' or --blur '.join(present)}, as both are there and published numbers differ: {base}"
        )
    if not present or wanted not in (None, *present):
        raise InputError(
            f"expected folders {wanted or ' or '.join(GOPRO_BLURS)} of blurry pictures, found none: {base}"
        )
    return wanted or present[0]


def _refuse_blur(choices: LayoutChoices) -> None:
    if choices.blur is not None:
        raise InputError(f"expected --blur with --layout gopro only, found --blur {choices.blur} with another layout")


def find_x4k(source: Path, choices: LayoutChoices) -> PublishedDataset:
    """X4K1000FPS with spikes, a stream for each sequence; the windows are in the pictures' names."""
    _refuse_blur(choices)
    if choices.spike_offset or choices.spike_margin:
        raise InputError(
            "expected --spike-offset and --spike-margin with a layout of a stream for each frame, found --layout x4k"
        )
    return PublishedDataset(tuple(_x4k_sequences(source)))


def _x4k_sequences(source: Path) -> Iterator[SourceSequence]:
    present = [split for split in SPLITS if (source / f"{split}_blurry_33").is_dir()]
    if not present:
        raise InputError(f"expected folders train_blurry_33 or val_blurry_33, found none: {source}")
    for split in present:
        pictures, streams = source / f"{split}_blurry_33", source / f"{split}_spike_2xds"
        clips = {
            folder.relative_to(root)
            for root, suffix in ((pictures, ".png"), (streams, ".dat"))
            for folder, names in walk_folders(root)
            if any(name.endswith(suffix) for name in names)
        }
        for clip in sorted(clips):
            sharp = _files(source / split / clip, PICTURE_SUFFIXES)
            stream = streams / clip / "spike.dat"
            blurry = _files(pictures / clip, PICTURE_SUFFIXES)
            frames = tuple(_x4k_frames(blurry, sharp, stream if stream.exists() else None, source / split / clip))
            if not frames:
                problem = f"expected blurry pictures of the stream, found none: {pictures / clip}"
                frames = (SourceFrame(0, "*", None, None, stream, problem=problem),)
            # The folder's name says it: "2xds".
            yield SourceSequence(split, "_".join(clip.parts), frames, _X4K_FRAMES, ratio=2)


def _x4k_frames(
    blurry: dict[str, Path], sharp: dict[str, Path], stream: Path | None, folder: Path
) -> Iterator[SourceFrame]:
    firsts = sorted(window[0] for name in blurry if (window := _x4k_window(name)) is not None)
    numbers = dict(zip(firsts, _frame_numbers(firsts), strict=True))
    for name, blur in blurry.items():
        window = _x4k_window(name)
        if window is None:
            expected = f"a name A_B.png, the first and last of {_X4K_FRAMES} frames"
            yield SourceFrame(0, name, blur, None, stream, problem=f"expected {expected}, found {blur}")
            continue
        middle = str((window[0] + window[1]) // 2)
        problem = ""
        if middle not in sharp:
            problem = f"expected the sharp picture {middle} of the window, found none in {folder}"
        elif stream is None:
            problem = f"expected the sequence's spike.dat, found none for {blur}"
        yield SourceFrame(numbers[window[0]], name, blur, sharp.get(middle), stream, window, window[0], problem)


def _x4k_window(name: str) -> tuple[int, int] | None:
    """The stream frames [t0, t1) of a picture A_B; B is the last one, or the one after it."""
    match = re.fullmatch(r"(\d+)_(\d+)", name)
    if match is None or int(match[2]) - int(match[1]) not in (_X4K_FRAMES - 1, _X4K_FRAMES):
        return None
    return int(match[1]), int(match[1]) + _X4K_FRAMES


def _frame_numbers(labels: Sequence[int]) -> list[int]:
    """Numbers of frames that carry such labels, ascending: those at the usual distance follow each other."""
    distances = [after - before for before, after in itertools.pairwise(labels)]
    usual = max(set(distances), key=distances.count, default=1)
    numbers = itertools.accumulate((1 if distance == usual else 2 for distance in distances), initial=0)
    return list(numbers)[: len(labels)]


def find_folders(source: Path, choices: LayoutChoices) -> PublishedDataset:
    """Plain folders; without folders train and val (or test) in it, all sequences belong to `choices.split`."""
    _refuse_blur(choices)
    return PublishedDataset(tuple(_folder_sequences(source, choices)))


def _folder_sequences(source: Path, choices: LayoutChoices) -> Iterator[SourceSequence]:
    parts = {ours: source / ours for ours in SPLITS if (source / ours).is_dir()}
    if "val" not in parts and "test" in parts:
        parts["val"] = parts.pop("test")
    for ours, part in (parts or {choices.split: source}).items():
        windows: dict[str, dict[int, tuple[int, int]]] = {}
        for row in read_alignment(part):
            windows.setdefault(row.sequence, {})[row.frame] = (row.t0, row.t1)
        for name in _folders(part):
            if any((part / name / kind).is_dir() for kind in (BLUR, SHARP, SPIKE)):
                yield SourceSequence(ours, name, tuple(_folder_frames(part / name, windows.get(name, {}), choices)))


def _folder_frames(folder: Path, windows: dict[int, tuple[int, int]], choices: LayoutChoices) -> Iterator[SourceFrame]:
    blurry, sharp = (_files(folder / kind, PICTURE_SUFFIXES) for kind in (BLUR, SHARP))
    streams = _streams(folder / SPIKE, choices)
    single = _single_stream(folder / SPIKE, streams, blurry)
    if single is not None and (choices.spike_offset or choices.spike_margin):
        raise InputError(
            f"expected a stream for each frame with --spike-offset and --spike-margin, found one for all: {single}"
        )
    expected = f"{folder.name}/{BLUR}, {folder.name}/{SHARP} and {folder.name}/{SPIKE}"
    frames = list(_match(blurry, sharp, dict.fromkeys(blurry, single) if single else streams, expected=expected))
    # Names that are numbers tell of frames that no file speaks of.
    named = all(frame.name.isdecimal() for frame in frames)
    numbers = _frame_numbers([int(frame.name) for frame in frames]) if named else list(range(len(frames)))
    for index, (number, frame) in enumerate(zip(numbers, frames, strict=True)):
        window = windows.get(index)
        problem = frame.problem
        if single is not None and window is None and windows:
            problem = problem or f"expected the frame's window in alignment.csv, found no line for frame {index}"
        # A stream of its own begins with its window, wherever in time that is.
        within = None if single is None else window
        t0 = None if window is None else window[0]
        yield replace(frame, number=number, window=within, t0=t0, problem=problem, margin=choices.spike_margin)


def _single_stream(folder: Path, streams: dict[str, Path], blurry: dict[str, Path]) -> Path | None:
    """The one stream of all frames, if that is what a folder holds."""
    if (folder / CONFIG).exists():
        filename = read_config(folder).filename
        if filename is not None:
            if not (folder / filename).is_file():
                raise InputError(f"expected the stream {filename} that {CONFIG} names, found none: {folder}")
            return folder / filename
    if len(streams) == 1 and len(blurry) != 1 and not set(streams) & set(blurry):
        return next(iter(streams.values()))
    return None


def _match(
    blurry: dict[str, Path], sharp: dict[str, Path], streams: dict[str, Path], *, expected: str
) -> Iterator[SourceFrame]:
    """All names that any of the three has, in natural order; the number of a name that is none is 0."""
    for name in sorted({*blurry, *sharp, *streams}, key=natural_key):
        holders = {"blurry picture": blurry, "sharp picture": sharp, "stream": streams}
        missing = [kind for kind, files in holders.items() if name not in files]
        problem = f"expected {expected} to hold {name}, found no {' and no '.join(missing)}" if missing else ""
        number = int(name) if name.isdecimal() else 0
        yield SourceFrame(number, name, blurry.get(name), sharp.get(name), streams.get(name), problem=problem)


def _files(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The files of a folder by name; a number's leading zeros do not count."""
    named: dict[str, Path] = {}
    if not folder.is_dir():
        return named
    for file in sorted(folder.iterdir(), key=lambda file: natural_key(file.name)):
        if file.suffix.lower() not in suffixes or file.name.startswith("."):
            continue
        name = str(int(file.stem)) if file.stem.isdecimal() else file.stem
        if name in named:
            raise InputError(f"expected one file per frame, found both {named[name].name} and {file.name}: {folder}")
        named[name] = file
    return named


def _streams(folder: Path, choices: LayoutChoices) -> dict[str, Path]:
    """The streams of a folder by the names of the pictures that they belong to."""
    streams = _files(folder, STREAM_SUFFIXES)
    if not choices.spike_offset:
        return streams
    for name, path in streams.items():
        if not name.isdecimal():
            raise InputError(f"expected numbers as the streams' names with --spike-offset, found {path}")
    return {str(int(name) - choices.spike_offset): path for name, path in streams.items()}


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; none if it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def has_gopro_spikes(source: Path) -> bool:
    """Whether the folder of GoPro has spikes, or that of its pictures has them beside it."""
    base = source.parent if source.name == "GOPRO_Large" else source
    return (base / "GOPRO_Large_spike_seq").is_dir()


def _gopro_base(source: Path) -> Path:
    base = source.parent if source.name == "GOPRO_Large" else source
    for name in ("GOPRO_Large", "GOPRO_Large_spike_seq"):
        if not (base / name).is_dir():
            raise InputError(f"expected folders GOPRO_Large and GOPRO_Large_spike_seq, found no {name}: {base}")
    return base


LAYOUTS: Mapping[str, Layout] = {"gopro": find_gopro, "x4k": find_x4k, "folders": find_folders}
