"""Where restored frames go: a folder of PNG files, a video, or both; whole at the end, and resumable until then.

Work is done in a folder beside the output, `.NAME.partial` (of an output that is filled in place, see
`spikejax.io.places`, in it), which holds

    frames/          the frames so far, each whole; what a video is made of is kept here without loss until it is done
    run.json         what is being done: a run that continues must do the same
    plan.json        how the frames are cut up, where that was chosen by the memory there was
    scores.jsonl     the scores of the frames so far, a line each

When all is there, the parts are renamed to where they belong, and the folder goes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from spikejax.errors import InputError
from spikejax.inference.output_target import OutputTarget, VideoSource
from spikejax.inference.tiling import Extent
from spikejax.io.atomic import atomic_write, move_folder
from spikejax.io.json_files import read_json, write_json
from spikejax.io.pictures import WrittenFrame, read_kept, write_picture
from spikejax.io.pixel_depth import to_uint8
from spikejax.io.places import fill_folder
from spikejax.io.video_codecs import is_video_name
from spikejax.io.video_writer import VideoWriter
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
        self._movie: VideoWriter | None = None
        self.done = 0
        self._scores: list[dict[str, Any]] = []

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
        self._keep(self.done, to_uint8(frame) if self._source.bits <= 8 and self._movie is None else frame)
        if self._movie is not None:
            self._movie.write(frame, time)
        with (self._target.work / _SCORES).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"time": None if time is None else str(time), **scores}) + "\n")
        self._scores.append(scores)
        self.done += 1

    def _keep(self, number: int, frame: WrittenFrame) -> None:
        file = self._file(number)
        temporary = file.with_name(".frame.tmp.png")
        write_picture(temporary, frame)
        os.replace(temporary, file)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Puts everything where it belongs, the report with it."""
        target = self._target
        if self._movie is not None and target.movie is not None:
            movie, self._movie = self._movie, None
            movie.close()
            assert target.movie_place is not None
            os.replace(self._movie_file, target.movie_place)
        if is_video_name(target.path):
            write_json(target.metrics, report)
        else:
            if self._source.bits <= 8 and target.movie is not None:
                # A run that resumes makes the video of them, which wants all the bits that there are.
                for number in range(self.done):
                    self._keep(number, to_uint8(read_kept(self._file(number))))
            write_json(self._folder / SCORES_FILE, report)
            if self._half_moved:
                fill_folder(self._folder, target.place, replace=False, last=SCORES_FILE)
            else:
                move_folder(self._folder, target.place, replace=target.overwrite, last=SCORES_FILE)
        self._remove_work()

    def start(self) -> None:
        """Starts the video with the frames that are kept from an earlier run."""
        self._read_scores()
        if self._target.movie is None:
            return
        self._movie = VideoWriter(
            self._movie_file,
            settings=self._target.settings,
            rate=self._source.rate,
            time_base=self._source.time_base,
            pixel_aspect=self._source.pixel_aspect,
            colours=self._source.colours,
            sound_of=self._source.sound,
            sound_from=self._source.offset,
            whole_sound=not self._source.is_part,
        )
        for number in range(self.done):
            self._movie.write(read_kept(self._file(number)), self._times[number])

    def abandon(self) -> None:
        """Closes what is open and keeps the frames for another time, if there are any."""
        if self._movie is not None:
            self._movie.abandon()
            self._movie_file.unlink(missing_ok=True)
        if not self.done:
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
        return self._folder / f"{name}.png"

    def _read_scores(self) -> None:
        """Counts the frames that are there with their scores; later ones are made again."""
        log = self._target.work / _SCORES
        # The last line may have been cut when the run was stopped.
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        self.done = 0
        while self.done < len(whole) and self._file(self.done).is_file():
            self.done += 1
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
    _check_unfinished(target, description, resume=resume)
    for folder in (target.frames, *target.all_work):
        folder.mkdir(parents=True, exist_ok=True)
    target.check_renames()
    write_json(target.work / _RUN, description)
    output = WrittenHere(target, source, names=names)
    try:
        output.start()
        yield output
    except BaseException:
        output.abandon()
        raise


def _check_unfinished(target: OutputTarget, description: Mapping[str, Any], *, resume: bool) -> None:
    if not any(folder.exists() for folder in target.all_work):
        return
    if not resume:
        if not target.overwrite:
            raise InputError(
                f"expected --resume to go on with the unfinished run in {target.work}, or --overwrite to begin again"
            )
        for folder in target.all_work:
            shutil.rmtree(folder, ignore_errors=True)
        return
    earlier = read_json(target.work / _RUN) or {}
    now = json.loads(json.dumps(description))
    for key in sorted(earlier.keys() | now.keys()):
        if earlier.get(key) != now.get(key):
            raise InputError(
                f"expected the options of the unfinished run in {target.work}: {key} was {earlier.get(key)!r}, "
                f"is now {now.get(key)!r} (--overwrite without --resume begins again)"
            )
