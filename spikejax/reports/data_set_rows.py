"""Rows of a contact sheet that show frames of a data set, with what belongs to them.

A row shows a frame's blurry picture, its spikes (their rate over the exposure), the reconstructions TFP and TFI of the
exposure's middle, a restored picture if there is one, the sharp picture, and the edges of the sharp picture over those
of TFP: white where they meet, red and cyan where the two are not aligned. A row's title gives the frame's window of the
stream, and warns if other spikes fit the blurry picture better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.datasets.frame_runs import FrameFiles, FrameRun
from spikejax.data.datasets.layout import BLUR, SPLITS, read_alignment
from spikejax.data.datasets.usable_frames import Scan
from spikejax.data.spikes.agreement import better_match, correlation, grey_light, overlay_edges
from spikejax.data.spikes.any_stream import STREAM_SUFFIXES
from spikejax.data.spikes.reconstruction import tfi, tfp
from spikejax.data.spikes.stream_size import size_notes
from spikejax.errors import InputError
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import read_picture
from spikejax.reports.contact_sheet import RowStream, SheetRow, evenly_spread, rate_picture

# TFP of the exposure's middle takes this share of its steps: sharper than the exposure, less noisy than TFI.
_TFP_SHARE = 1 / 8


@dataclass(frozen=True)
class _FrameOfRun:
    """A frame of a data set.

    Attributes:
        split: the folder of its split.
        run: the run of frames that it belongs to.
        number: of the frame in the run.
    """

    split: Path
    run: FrameRun
    number: int

    @property
    def sequence(self) -> str:
        """The name of its sequence, which may consist of several runs, NAME@0, NAME@1, ..."""
        return self.run.name.split("@")[0]

    @property
    def files(self) -> FrameFiles:
        """Its files."""
        return self.run.frames[self.number]


def data_set_rows(path: Path, *, sequence: str | None = None, recon: str | None = None, limit: int = 6) -> RowStream:
    """A row for each frame of a sequence, or for each sequence of a data set.

    Args:
        path: ROOT, ROOT/SPLIT or ROOT/SPLIT/SEQUENCE.
        sequence: of ROOT.
        recon: folder of restored pictures, with the names of the sequence's.
        limit: the largest number of rows; of a longer sequence, frames at equal distances.

    Raises:
        InputError: there is no such data set or sequence, nothing in it can be used, or a restored picture is missing.
    """
    if not path.is_dir():
        raise InputError(f"expected a data set, a sequence, or spikes ({', '.join(STREAM_SUFFIXES)}), found {path}")
    if (path / BLUR).is_dir():
        if sequence is not None:
            raise InputError(f"expected a data set with --sequence, found a sequence: {path}")
        path, sequence = path.parent, path.name
    if sequence is None and recon is not None:
        raise InputError("expected one sequence (--sequence NAME) for --recon, found a whole data set")
    frames = _frames(path, sequence)
    chosen = [frames[number] for number in evenly_spread(len(frames), limit)]
    restored = {} if recon is None else _restored_files(Path(recon), [frame.files.stem for frame in chosen])
    times = {key: _logged_times(*key) for key in {(frame.split, frame.sequence) for frame in chosen}}
    rows = (
        _row(frame, times[frame.split, frame.sequence].get(frame.files.stem), restored.get(frame.files.stem))
        for frame in chosen
    )
    sizes = (frame.run.spike_size for frame in chosen)
    notes = size_notes(size for size in sizes if size is not None)
    return RowStream(len(chosen), rows, of_one_size=sequence is not None, notes=notes)


def _frames(path: Path, sequence: str | None) -> list[_FrameOfRun]:
    """All frames of a sequence, or without one the middle frame of every run; at least one."""
    splits = [path] if path.name in SPLITS else [path / name for name in SPLITS if (path / name).is_dir()]
    if not splits:
        raise InputError(f"expected a data set with {' or '.join(SPLITS)}, or a sequence with {BLUR}, found {path}")
    frames = [
        _FrameOfRun(split, run, number)
        for split in splits
        for run in Scan(split.parent, split.name, frames=1, spikes=True, smallest_side=1).runs
        for number in range(len(run.frames))
    ]
    if sequence is None:
        wanted = [frame for frame in frames if frame.number == len(frame.run.frames) // 2]
    else:
        wanted = [frame for frame in frames if frame.sequence == sequence]
    if not wanted:
        known = ", ".join(sorted({frame.sequence for frame in frames})[:8]) or "none"
        raise InputError(f"expected a sequence of the data set ({known}), found no {sequence!r} in {path}")
    return wanted


def _restored_files(folder: Path, stems: Sequence[str]) -> dict[str, Path]:
    names = {Path(name).stem: folder / name for name in open_frames(folder).names or ()}
    for stem in stems:
        if stem not in names:
            raise InputError(f"expected a restored picture {stem}.png as of the blurry one, found none in {folder}")
    return {stem: names[stem] for stem in stems}


def _logged_times(split: Path, sequence: str) -> dict[str, tuple[int, int]]:
    """The window of the stream of every frame that the alignment log knows, by the frame's name."""
    names = open_frames(split / sequence / BLUR).names or ()
    logged = {row.frame: (row.t0, row.t1) for row in read_alignment(split) if row.sequence == sequence}
    return {Path(name).stem: logged[number] for number, name in enumerate(names) if number in logged}


def _row(frame: _FrameOfRun, logged_window: tuple[int, int] | None, restored: Path | None) -> SheetRow:
    files, run = frame.files, frame.run
    assert files.spikes is not None
    blur, sharp = read_picture(files.blur), read_picture(files.sharp)
    spikes = _read_spikes(files)
    rate = _mean_rate(spikes)
    light = grey_light(blur, rate.shape)
    middle, half_width = len(spikes) // 2, max(1, round(len(spikes) * _TFP_SHARE / 2))
    playback = tfp(spikes, middle, half_width=half_width)
    # As bright as the blurry picture: one factor, since the camera's gain and threshold need not be known.
    brightness = float(light.mean() / rate.mean()) if rate.any() else 1.0
    panels = {
        "blur": blur,
        f"spikes: rate of {len(spikes)} steps": rate_picture(rate, brightness),
        f"TFP: {2 * half_width + 1} steps": rate_picture(playback, brightness),
        "TFI": rate_picture(tfi(spikes, middle), brightness),
        **({} if restored is None else {"recon": read_picture(restored)}),
        "sharp": sharp,
        "edges: sharp red, TFP cyan": overlay_edges(grey_light(sharp, rate.shape), playback),
    }
    t0, t1 = logged_window or files.spikes.window
    title = (
        f"{run.name} {files.stem}: steps {t0} to {t1}, {int(spikes.sum()):,} spikes, "
        f"blur and rate r {correlation(light, rate):.3f}"
    )
    return SheetRow(title, panels, better_match(light, rate, _neighbouring_rates(frame)))


def _neighbouring_rates(frame: _FrameOfRun) -> Mapping[str, Float32[np.ndarray, "h w"]]:
    neighbours = {"the window before": frame.number - 1, "the window after": frame.number + 1}
    return {
        name: _mean_rate(_read_spikes(frame.run.frames[number]))
        for name, number in neighbours.items()
        if 0 <= number < len(frame.run.frames)
    }


def _read_spikes(files: FrameFiles) -> UInt8[np.ndarray, "s h w"]:
    assert files.spikes is not None
    return files.spikes.read().unpack()


def _mean_rate(spikes: UInt8[np.ndarray, "s h w"]) -> Float32[np.ndarray, "h w"]:
    return spikes.mean(axis=0, dtype=np.float32)
