"""Where restored frames go: a folder of pictures, a video, or both; whole at the end, and resumable until then.

Work is done in a folder beside the output, `.NAME.partial` (of an output that is filled in place, see
`spikejax.io.places`, in it), which holds

    frames/          the frames so far, each whole; of a video, those that are not in a closed segment
    N.segment        a part of the video that is encoded (beside its own target), see `spikejax.io.video_segments`
    run.json         what is being done: a run that continues must do the same
    plan.json        how the frames are cut up, where that was chosen by the memory there was
    scores.jsonl     the scores of the frames so far, a line each

When all is there, the parts are renamed to where they belong, and the folder goes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from spikejax.errors import InputError
from spikejax.inference.disk_room import check_room, room_in_words
from spikejax.inference.output_target import OutputTarget, VideoSource
from spikejax.inference.tiling import Extent
from spikejax.io.alone import LOCK, working_alone
from spikejax.io.atomic import atomic_write, move_folder
from spikejax.io.disk_space import free_bytes
from spikejax.io.json_files import read_json, write_json
from spikejax.io.output_formats import PICTURE_FORMATS
from spikejax.io.pictures import WrittenFrame, is_deep, read_kept
from spikejax.io.pixel_depth import to_uint8
from spikejax.io.places import fill_folder
from spikejax.io.still_pictures import write_in_format
from spikejax.io.video_codecs import is_video_name
from spikejax.io.video_segments import SegmentedVideo
from spikejax.quality.score_files import SCORES_FILE

_RUN, _PLAN, _SCORES = "run.json", "plan.json", "scores.jsonl"


@runtime_checkable
class Output(Protocol):
    """Takes restored frames in order.

    Attributes:
        done: frames that are kept so far.
    """

    done: int

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The scores of the frames so far, where they are known."""

    @property
    def tile(self) -> Extent | None:
        """The tile that an earlier run has passed to `keep_tile`, None if there was none."""

    def keep_tile(self, tile: Extent) -> None:
        """Keeps how the frames are cut up for a run that resumes."""

    def write(self, frame: WrittenFrame, time: Fraction | None, scores: dict[str, Any]) -> None:
        """Keeps the next frame and its scores."""

    def room(self, total: int) -> tuple[str, bool]:
        """What all `total` frames will take on the disk, in words, and whether that fits; there is one at least."""

    def finish(self, report: Mapping[str, Any]) -> None:
        """Puts everything where it belongs, the report with it."""


class WrittenHere:
    """The output on the host that writes it; an `Output`.

    Attributes:
        done: frames that are kept so far.
    """

    def __init__(self, target: OutputTarget, source: VideoSource, *, names: tuple[str, ...] | None) -> None:
        self._target, self._source, self._names = target, source, names
        self._folder, self._half_moved = target.frames, target.half_moved
        self._movie: SegmentedVideo | None = None
        self._frames_stay, self._shortens = not is_video_name(target.path), source.bits <= 8
        self._largest = self._measured = self._measured_bytes = 0
        self.done = 0
        self._scores: list[dict[str, Any]] = []
        self._alpha_lost = False

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The scores of the frames so far."""
        return self._scores

    @property
    def tile(self) -> Extent | None:
        """What an earlier run has passed to `keep_tile`, None if there was none."""
        kept = read_json(self._target.work / _PLAN)
        return None if kept is None else Extent(**kept)

    def keep_tile(self, tile: Extent) -> None:
        """Keeps how the frames are cut up for a run that resumes."""
        write_json(self._target.work / _PLAN, asdict(tile))

    def write(self, frame: WrittenFrame, time: Fraction | None, scores: dict[str, Any]) -> None:
        """Keeps the next frame and its scores.

        Raises:
            OSError: the disk is full.
        """
        # The segment is encoded in memory, and written when it is closed.
        check_room(self._folder, 2 * self._largest or frame.nbytes // 8)
        self._measure(self._keep(self.done, to_uint8(frame) if self._shortens and self._movie is None else frame))
        with (self._target.work / _SCORES).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"time": None if time is None else str(time), **scores}) + "\n")
        self._scores.append(scores)
        self.done += 1
        self._encode(frame, time)

    def _measure(self, size: int) -> None:
        self._largest, self._measured = max(self._largest, size), self._measured + 1
        self._measured_bytes += size

    def _encode(self, frame: WrittenFrame, time: Fraction | None) -> None:
        if self._movie is None:
            return
        before = self._movie.closed
        if self._movie.write(frame, time):
            self._let_go(before)

    def _let_go(self, first: int) -> None:
        """Frames from number `first` on are in closed segments: their pictures go, or get the bits that are wanted."""
        for number in range(first, 0 if self._movie is None else self._movie.closed):
            if not self._frames_stay:
                self._file(number).unlink(missing_ok=True)
            elif self._shortens and is_deep(self._file(number)):
                # Until now a run that resumes would have encoded it, with all the bits that there are.
                self._keep(number, to_uint8(read_kept(self._file(number))))

    def room(self, total: int) -> tuple[str, bool]:
        """What all `total` frames will take on the disk, in words, and whether that fits; there is one at least."""
        picture = self._measured_bytes / max(1, self._measured)
        parts = {}
        if self._frames_stay:
            parts[self._folder] = (picture * (total - self.done), 0.0)
        if self._movie is not None and self._target.movie_work is not None:
            each = self._movie.bytes_of_a_frame
            kept = 0 if self._frames_stay else picture * self._movie.longest_segment
            stays, goes = parts.get(self._folder, (0.0, 0.0))
            parts[self._folder] = (stays, goes + kept)
            parts[self._target.movie_work] = (each * total, each * (total - self._movie.closed))
        return room_in_words(parts)

    def _keep(self, number: int, frame: WrittenFrame) -> int:
        """Keeps a frame, whole or not at all; returns its bytes on the disk."""
        file = self._file(number)
        if file.suffix == ".jpg" and frame.shape[2] == 4 and not self._alpha_lost:
            self._alpha_lost = True
            print(
                "spikejax: note: jpeg holds no transparency, which is left out (--format png keeps it)", file=sys.stderr
            )
        temporary = file.with_name(f".frame.tmp{file.suffix}")
        try:
            write_in_format(temporary, frame, profile=self._source.profile)
            size = temporary.stat().st_size
            os.replace(temporary, file)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return size

    def finish(self, report: Mapping[str, Any]) -> None:
        """Puts everything where it belongs, the report with it."""
        target = self._target
        if self._movie is not None and target.movie is not None:
            assert target.movie_place is not None and target.movie_work is not None
            before = self._movie.closed
            self._movie.close()
            self._let_go(before)
            check_room(target.movie_work, self._movie.size)
            self._movie.join(
                self._movie_file,
                sound_of=self._source.sound,
                sound_from=self._source.offset,
                whole_sound=not self._source.is_part,
                film=self._source.film,
                splices=self._source.splices,
            )
            os.replace(self._movie_file, target.movie_place)
        if is_video_name(target.path):
            write_json(target.metrics, report)
        else:
            write_json(self._folder / SCORES_FILE, report)
            if self._half_moved:
                fill_folder(self._folder, target.place, replace=False, last=SCORES_FILE)
            else:
                move_folder(self._folder, target.place, replace=target.overwrite, last=SCORES_FILE)
        self._remove_work()

    def start(self) -> None:
        """Goes on with the frames, and the video's segments, that are kept from an earlier run."""
        if self._target.movie_work is not None:
            options = {
                "settings": self._target.settings,
                "rate": self._source.rate,
                "time_base": self._source.time_base,
                "pixel_aspect": self._source.pixel_aspect,
                "colours": self._source.colours,
            }
            room = None if self._frames_stay else free_bytes(self._folder)
            self._movie = SegmentedVideo(self._target.movie_work, self._movie_file.suffix, options, room=room)
        self._read_scores()
        self._let_go(0)  # a run may have been killed before it did
        for number in range(self.done if self._movie is None else self._movie.closed, self.done):
            self._measure(self._file(number).stat().st_size)
            self._encode(read_kept(self._file(number)), self._times[number])

    def abandon(self) -> None:
        """Closes what is open and keeps the frames for another time, if there are any and that can go on with them."""
        if self._movie is not None:
            self._movie.abandon()
        if not (self.done and self._source.rereadable):
            self._remove_work()

    def _remove_work(self) -> None:
        for folder in self._target.all_work:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _movie_file(self) -> Path:
        assert self._target.movie is not None and self._target.movie_work is not None
        return self._target.movie_work / f"video{self._target.movie.suffix.lower()}"

    def _file(self, number: int) -> Path:
        name = f"{number:06d}" if self._names is None else Path(self._names[number]).stem
        return self._folder / f"{name}{PICTURE_FORMATS[self._target.format]}"

    def _is_kept(self, number: int) -> bool:
        """Whether a frame is there, with all its bits where it is not in a segment of the video yet."""
        file = self._file(number)
        if self._movie is None or not self._shortens or number < self._movie.closed:
            return file.is_file()
        return file.is_file() and is_deep(file)

    def _read_scores(self) -> None:
        """Counts the frames that are there with their scores; later ones are made again."""
        log = self._target.work / _SCORES
        # The last line may have been cut when the run was stopped.
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        self.done = 0
        if self._movie is not None:
            self._movie.forget_after(len(whole))
            self.done = 0 if self._frames_stay else self._movie.closed
        while self.done < len(whole) and self._is_kept(self.done):
            self.done += 1
        if self._movie is not None:
            self._movie.forget_after(self.done)
        entries = whole[: self.done]
        with atomic_write(log) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        times = [entry.pop("time") for entry in entries]
        self._times = [None if time is None else Fraction(time) for time in times]
        self._scores = entries


@contextmanager
def open_output(
    target: OutputTarget,
    source: VideoSource,
    *,
    names: tuple[str, ...] | None,
    description: Mapping[str, Any],
    resume: bool = False,
) -> Iterator[WrittenHere]:
    """Yields the output; after an exception, what is finished stays for a run that resumes.

    Args:
        target: what is to be written.
        source: what a video takes over.
        names: of the frames' files, without a regard to their suffix; None = their numbers.
        description: JSON that says what is done; a run that resumes must have the same.
        resume: whether to go on with what an earlier run has left, if there is anything.

    Raises:
        InputError: there is an output or an unfinished run already, or the unfinished run did something else.
    """
    target.check()
    with ExitStack() as stack:
        held: list[Path] = []
        try:
            for folder in target.all_work:
                stack.enter_context(working_alone(folder / LOCK, target.path))
                held.append(folder)
            _check_unfinished(target, description, resume=resume)
            target.frames.mkdir(exist_ok=True)
            target.check_renames()
            write_json(target.work / _RUN, description)
        except BaseException:
            _remove_empty(held)
            raise
        output = WrittenHere(target, source, names=names)
        try:
            output.start()
            yield output
        except BaseException:
            output.abandon()
            raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes the folders of work that hold nothing but their locks."""
    for folder in folders:
        if not any(path.is_file() and path.name != LOCK for path in folder.rglob("*")):
            shutil.rmtree(folder, ignore_errors=True)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_unfinished(target: OutputTarget, description: Mapping[str, Any], *, resume: bool) -> None:
    left = [path for folder in target.all_work for path in folder.iterdir() if path.name != LOCK]
    if not left:
        return
    if not resume:
        if not target.overwrite:
            raise InputError(
                f"expected --resume to go on with the unfinished run in {target.work}, or --overwrite to begin again"
            )
        _remove(left)
        return
    earlier = read_json(target.work / _RUN)
    if earlier is None:  # written before anything else: that run was killed before it began
        _remove(left)
        return
    now = json.loads(json.dumps(description))
    for key in sorted(earlier.keys() | now.keys()):
        if earlier.get(key) != now.get(key):
            raise InputError(
                f"expected the options of the unfinished run in {target.work}: {key} was {earlier.get(key)!r}, "
                f"is now {now.get(key)!r} (--overwrite without --resume begins again)"
            )
