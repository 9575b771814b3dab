"""Shows a data set or a spike stream: python -m spikejax.view --input ROOT/val/SEQ --output FILE.png|.mp4.

A row shows a frame's blurry picture, its spikes (their rate over the exposure), the reconstructions TFP and TFI of the
exposure's middle, a restored picture if there is one, the sharp picture, and the edges of the sharp picture over those
of TFP: white where they meet, red and cyan where the two are not aligned. A row's title gives the frame's window of the
stream, and says so if other spikes fit the blurry picture better.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.cli import positive_count, run
from spikejax.data.datasets.layout import BLUR, SPLITS, read_alignment
from spikejax.data.datasets.usable_frames import FrameFiles, FrameRun, Scan
from spikejax.data.light import to_display
from spikejax.data.simulation.rig import to_picture
from spikejax.data.spikes.agreement import correlation, grey_light, overlay_edges, suspicion
from spikejax.data.spikes.reconstruction import tfi, tfp
from spikejax.data.spikes.stream_files import read_config, read_spikes
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.frame_source import open_frames, read_picture, write_picture
from spikejax.io.video_writer import VIDEO_SUFFIXES, write_video
from spikejax.progress import with_progress
from spikejax.reports.contact_sheet import Row, draw_sheet

_SHEET_ROWS = 6
_VIDEO_FRAMES = 300
# TFP of the exposure's middle takes this share of its steps: sharper than the exposure, less noisy than TFI.
_TFP_SHARE = 1 / 8
_SPIKE_SUFFIXES = (".dat", ".npy", ".npz")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows to show, made when they are asked for.

    Attributes:
        count: number of rows.
        rows: the rows.
        even: whether all are of one size, as a video needs.
    """

    count: int
    rows: Iterator[Row]
    even: bool = True


def main(arguments: Sequence[str]) -> None:
    """Writes a sheet or a video as the command line says."""
    options = _parser().parse_args(arguments)
    output = Path(options.output)
    video = output.suffix.lower() in VIDEO_SUFFIXES
    if not video and output.suffix.lower() != ".png":
        raise InputError(f"expected an output .png or a video ({', '.join(sorted(VIDEO_SUFFIXES))}), found {output}")
    if output.exists() and not options.overwrite:
        raise InputError(f"expected a new file, found one that exists already: {output}")
    path = Path(options.input)
    most = options.frames or (_VIDEO_FRAMES if video else _SHEET_ROWS)
    if path.suffix in _SPIKE_SUFFIXES:
        shown = stream_rows(path, size=options.spike_size, most=most, half_width=options.half_width)
    else:
        shown = data_set_rows(path, sequence=options.sequence, recon=options.recon, most=most)
    if video:
        if not shown.even:
            raise InputError(f"expected one sequence for a video (--sequence NAME), found the data set {path}")
        _write_video(output, shown, panel_width=options.panel_width, rate=options.rate, overwrite=options.overwrite)
    else:
        rows = list(_watched(shown))
        with atomic_write(output) as temporary:
            write_picture(temporary, draw_sheet(rows, panel_width=options.panel_width))
    print(output)


def _watched(rows: Rows) -> Iterator[Row]:
    return with_progress(rows.rows, "drawing", total=rows.count, unit="row")


def _write_video(output: Path, shown: Rows, *, panel_width: int | None, rate: float, overwrite: bool) -> None:
    sheets = (draw_sheet([row], panel_width=panel_width) for row in _watched(shown))
    write_video(output, sheets, rate=Fraction(rate).limit_denominator(1000), overwrite=overwrite)


# ---- A data set ----


def data_set_rows(
    path: Path, *, sequence: str | None = None, recon: str | None = None, most: int = _SHEET_ROWS
) -> Rows:
    """A row per frame of a sequence, or per sequence of a data set.

    Args:
        path: ROOT, ROOT/SPLIT or ROOT/SPLIT/SEQUENCE.
        sequence: of ROOT.
        recon: folder of restored pictures, with the names of the sequence's.
        most: rows; of a longer sequence, ones at equal distances.

    Raises:
        InputError: there is no such data set or sequence, nothing in it can be used, or a restored picture is missing.
    """
    if not path.is_dir():
        raise InputError(f"expected a data set, a sequence, or spikes ({', '.join(_SPIKE_SUFFIXES)}), found {path}")
    if (path / BLUR).is_dir():
        path, sequence = path.parent, path.name
    splits = [path.parent / path.name] if path.name in SPLITS else [path / s for s in SPLITS if (path / s).is_dir()]
    if not splits:
        raise InputError(f"expected a data set with {' or '.join(SPLITS)}, or a sequence with {BLUR}, found {path}")
    runs = [(split, run) for split in splits for run in _runs(split)]
    if sequence is None:
        if recon is not None:
            raise InputError("expected one sequence (--sequence NAME) for --recon, found a whole data set")
        places = [(split, run, len(run.frames) // 2) for split, run in runs]
    else:
        own = [(split, run) for split, run in runs if _sequence(run) == sequence]
        places = [(split, run, number) for split, run in own for number in range(len(run.frames))]
    if not places:
        known = ", ".join(sorted({_sequence(run) for _, run in runs})[:8]) or "none"
        raise InputError(f"expected a sequence of the data set ({known}), found no {sequence!r} in {path}")
    chosen = [places[n] for n in _spread(len(places), most)]
    files = None if recon is None else _recon_files(Path(recon), [run.frames[n].stem for _, run, n in chosen])
    times = {key: _logged_times(*key) for key in {(split, _sequence(run)) for split, run, _ in chosen}}
    rows = (_row(run, n, times[split, _sequence(run)], files) for split, run, n in chosen)
    return Rows(len(chosen), rows, even=sequence is not None)


def _runs(split: Path) -> list[FrameRun]:
    return Scan(split.parent, split.name, frames=1, spikes=True, smallest_side=1).runs


def _sequence(run: FrameRun) -> str:
    return run.name.split("@")[0]


def _spread(count: int, most: int) -> list[int]:
    """At most so many of `count` numbers, at equal distances."""
    return [round(n) for n in np.linspace(0, count - 1, min(count, most))]


def _recon_files(folder: Path, stems: Sequence[str]) -> dict[str, Path]:
    names = {Path(name).stem: folder / name for name in open_frames(folder).names or ()}
    for stem in stems:
        if stem not in names:
            raise InputError(f"expected a restored picture {stem}.png as of the blurry one, found none in {folder}")
    return {stem: names[stem] for stem in stems}


def _row(run: FrameRun, number: int, times: dict[str, tuple[int, int]], recon: dict[str, Path] | None) -> Row:
    frame = run.frames[number]
    blur, sharp = read_picture(frame.blur), read_picture(frame.sharp)
    spikes = _read(frame)
    rate = spikes.mean(axis=0, dtype=np.float32)
    light = grey_light(blur, rate.shape)
    middle, half_width = len(spikes) // 2, max(1, round(len(spikes) * _TFP_SHARE / 2))
    playback = tfp(spikes, middle, half_width=half_width)
    # As bright as the blurry picture: one factor, since the camera's gain and threshold need not be known.
    brightness = float(light.mean() / rate.mean()) if rate.any() else 1.0
    agreement = correlation(light, rate)
    panels = {
        "blur": blur,
        f"spikes: rate of {len(spikes)} steps": _shown(rate, brightness),
        f"TFP: {2 * half_width + 1} steps": _shown(playback, brightness),
        "TFI": _shown(tfi(spikes, middle), brightness),
    }
    if recon is not None:
        panels["recon"] = read_picture(recon[frame.stem])
    panels["sharp"] = sharp
    panels["edges: sharp red, TFP cyan"] = overlay_edges(grey_light(sharp, rate.shape), playback)
    neighbours = {"the window before": number - 1, "the window after": number + 1}
    others = {
        name: _read(run.frames[n]).mean(axis=0, dtype=np.float32)
        for name, n in neighbours.items()
        if 0 <= n < len(run.frames)
    }
    assert frame.spikes is not None
    t0, t1 = times.get(frame.stem, frame.spikes.window)
    title = (
        f"{run.name} {frame.stem}: steps {t0} to {t1}, {int(spikes.sum()):,} spikes, blur and rate r {agreement:.3f}"
    )
    return Row(title, panels, suspicion(light, rate, others))


def _read(frame: FrameFiles) -> UInt8[np.ndarray, "s h w"]:
    assert frame.spikes is not None
    return frame.spikes.read().unpack()


def _logged_times(split: Path, sequence: str) -> dict[str, tuple[int, int]]:
    """The window of the stream of every frame that the alignment log knows, by the frame's name."""
    names = open_frames(split / sequence / BLUR).names or ()
    logged = {row.frame: (row.t0, row.t1) for row in read_alignment(split) if row.sequence == sequence}
    return {Path(name).stem: logged[number] for number, name in enumerate(names) if number in logged}


def _shown(rate: Float32[np.ndarray, "h w"], brightness: float) -> UInt8[np.ndarray, "h w 3"]:
    return to_picture(to_display(np.repeat(rate[..., None] * np.float32(brightness), 3, axis=-1)))


# ---- A bare stream ----


def stream_rows(
    path: Path, *, size: tuple[int, int] | None = None, most: int = _SHEET_ROWS, half_width: int = 16
) -> Rows:
    """Rows of a stream at steps at equal distances: its spikes at the step, TFP of a wide and a narrow window, TFI.

    Args:
        path: a file of spikes.
        size: height and width of its frames; None = as config.yaml beside it says.
        most: rows.
        half_width: of the wide TFP; the narrow one's is a quarter of it.

    Raises:
        InputError: the file is missing, damaged, not a whole number of frames, or of unknown size.
    """
    if size is None and path.suffix == ".dat":
        if not (path.parent / "config.yaml").exists():
            raise InputError(f"expected --spike-size H,W, or a config.yaml beside the spikes, for {path}")
        config = read_config(path.parent)
        size = (config.height, config.width)
    height, width = size or (None, None)
    spikes = read_spikes(path, height=height, width=width)
    # Steps without an edge of the stream in their windows, if it is long enough.
    margin = min(half_width, (len(spikes) - 1) // 2)
    steps = [margin + n for n in _spread(len(spikes) - 2 * margin, most)]
    # White is what nearly nothing exceeds.
    bright = float(np.percentile(spikes.mean(axis=0, dtype=np.float32), 99.5))
    brightness = 1 / bright if bright > 0 else 1.0
    return Rows(len(steps), (_stream_row(spikes, step, half_width, brightness) for step in steps))


def _stream_row(spikes: UInt8[np.ndarray, "s h w"], step: int, half_width: int, brightness: float) -> Row:
    narrow = max(1, half_width // 4)
    panels = {
        "spikes": np.repeat(spikes[step][..., None] * np.uint8(255), 3, axis=-1),
        f"TFP: {2 * half_width + 1} steps": _shown(tfp(spikes, step, half_width=half_width), brightness),
        f"TFP: {2 * narrow + 1} steps": _shown(tfp(spikes, step, half_width=narrow), brightness),
        "TFI": _shown(tfi(spikes, step), brightness),
    }
    count = int(spikes[step].sum())
    share = count / spikes[step].size
    return Row(f"step {step} of {len(spikes)}: {count:,} spikes, {share:.1%} of the pixels", panels)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m spikejax.view", description=__doc__)
    parser.add_argument("--input", required=True, metavar="PATH", help="ROOT, ROOT/SPLIT/SEQUENCE, or a file of spikes")
    parser.add_argument("--output", required=True, metavar="FILE", help="contact sheet (.png) or video (.mp4 ...)")
    parser.add_argument("--sequence", metavar="NAME", help="sequence of ROOT; without it the middle frame of each")
    parser.add_argument("--recon", metavar="FOLDER", help="restored pictures of the sequence, by the same names")
    parser.add_argument("--spike-size", type=_size, metavar="H,W", help="size of a bare stream's frames")
    parser.add_argument(
        "--half-width",
        type=positive_count,
        default=16,
        metavar="N",
        help="of TFP's wide window, bare streams (default: 16)",
    )
    parser.add_argument(
        "--frames",
        type=positive_count,
        metavar="N",
        help=f"most rows of a sheet (default: {_SHEET_ROWS}) or frames of a video (default: {_VIDEO_FRAMES})",
    )
    parser.add_argument(
        "--panel-width",
        type=positive_count,
        metavar="PIXELS",
        help="width of each picture; without it the pictures' own",
    )
    parser.add_argument("--rate", type=float, default=10.0, metavar="X", help="a video's frames a second (default: 10)")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that is there")
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[,x](\d+)", text)
    if match is None or 0 in (size := (int(match[1]), int(match[2]))):
        raise argparse.ArgumentTypeError(f"expected HEIGHT,WIDTH such as 250,400, found {text!r}")
    return size


if __name__ == "__main__":
    run(main)
