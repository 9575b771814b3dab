"""What is to be written, and where: checked before any work, and without importing what writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax.errors import InputError
from spikejax.io.json_files import read_json
from spikejax.io.places import (
    PARTIAL,
    check_can_be_written,
    check_rename,
    entries,
    hidden_sibling,
    is_filled_in_place,
    resolved,
)
from spikejax.io.video_codecs import VideoSettings, is_video_name
from spikejax.quality.score_files import SCORES_FILE, metrics_path

if TYPE_CHECKING:
    from spikejax.io.colours import VideoColours
    from spikejax.io.timeline import Splice


@dataclass(frozen=True)
class OutputTarget:
    """What is to be written.

    Attributes:
        path: a folder for pictures, or a video.
        video: a video beside the folder; None = nothing beside `path`.
        settings: of the video.
        overwrite: whether the output of an earlier run is replaced.
        format: of the pictures, one of `PICTURE_FORMATS`.
    """

    path: Path
    video: Path | None = None
    settings: VideoSettings = field(default_factory=VideoSettings)
    overwrite: bool = False
    format: str = "png"

    @cached_property
    def place(self) -> Path:
        """Where `path` leads to, without links."""
        return resolved(self.path)

    @cached_property
    def movie_place(self) -> Path | None:
        """Where `movie` leads to, without links."""
        return None if self.movie is None else resolved(self.movie)

    @property
    def movie(self) -> Path | None:
        """The video, None if there is to be none."""
        return self.path if is_video_name(self.path) else self.video

    @property
    def metrics(self) -> Path:
        """The file of scores: in the folder, or beside the video."""
        return metrics_path(self.path)

    @cached_property
    def work(self) -> Path:
        """The folder that holds what is not finished: in an output that is filled in place, else beside it."""
        inside = self.place / PARTIAL
        if inside.is_dir():
            return inside
        beside = hidden_sibling(self.place, PARTIAL)
        in_place = not is_video_name(self.path) and is_filled_in_place(self.place)
        return inside if in_place and not beside.is_dir() else beside

    @property
    def frames(self) -> Path:
        """The folder of the frames so far, of which a folder of frames is made in the end."""
        return self.work / "frames"

    @property
    def movie_work(self) -> Path | None:
        """The folder for a video that is not finished, on its own disk; None if there is to be none."""
        return None if self.movie_place is None else hidden_sibling(self.movie_place, PARTIAL)

    @property
    def all_work(self) -> tuple[Path, ...]:
        """All folders that hold what is not finished."""
        return (self.work,) if self.movie_work in (None, self.work) else (self.work, self.movie_work)

    @property
    def half_moved(self) -> bool:
        """Whether a run was killed while it moved its frames to their place: what is there are its own."""
        return (self.frames / SCORES_FILE).is_file() and self.frames.is_relative_to(self.place)

    @property
    def stalled(self) -> Path:
        """The folder for what hosts say of a run that does not get on."""
        return self.place.with_name(f"{self.place.name}.stalled")

    def is_restored_from(self, source: str, part: Mapping[str, str | None]) -> bool:
        """Whether the output is there, and whole, and was restored from this part of this input."""
        metrics = None if self.work.exists() else read_json(self.metrics)
        if metrics is None or any(metrics.get(name) != value for name, value in part.items()):
            return False
        return metrics.get("input") in (source, os.path.abspath(source))

    def check(self) -> None:
        """Raises InputError if writing would destroy something, or cannot work."""
        if self.video is not None and (is_video_name(self.path) or not is_video_name(self.video)):
            raise InputError(f"expected a folder for frames and a video, found {self.path} and {self.video}")
        if self.movie is not None:
            self.settings.check(self.movie)
        if self.movie_place is not None and self.movie_place.is_dir():
            raise InputError(f"expected a video to write to, found a folder: {self.movie}")
        if self.video is not None and self.movie_place is not None and self.movie_place.is_relative_to(self.place):
            # The folder comes to its place whole, so that what lies there would be lost, or be in its way.
            raise InputError(f"expected a video outside of the folder for frames, {self.path}, found {self.video}")
        if self.place.is_file() and not is_video_name(self.path):
            raise InputError(f"expected a folder to write to, found a file: {self.path}")
        for path, place in ((self.path, self.place), (self.video, self.movie_place)):
            if self.half_moved and path is self.path:
                continue
            if path is not None and place is not None and _is_taken(place) and not self.overwrite:
                raise InputError(f"expected a new output (--overwrite replaces one), found {path}")
        if self.place.is_dir() and entries(self.place) and not (self.half_moved or self.metrics.is_file()):
            # A slip of the pen in --output must not cost a folder of photographs.
            raise InputError(f"expected the output of an earlier run to replace, found no {SCORES_FILE} in {self.path}")
        for place in self.all_work:
            check_can_be_written(place)

    def check_renames(self) -> None:
        """Tries all that makes the output visible at the end, on empty files in the folders of the work.

        Raises:
            InputError: something of it cannot be.
        """
        if not is_video_name(self.path):
            goal = self.place / SCORES_FILE if self.work.parent == self.place else self.place
            check_rename(self.work, goal)
        else:
            check_rename(self.work, resolved(self.metrics))
        if self.movie_work is not None and self.movie_place is not None:
            check_rename(self.movie_work, self.movie_place)


def _is_taken(place: Path) -> bool:
    return bool(entries(place)) if place.is_dir() else place.exists()


@dataclass(frozen=True)
class VideoSource:
    """What a restored video takes over from the one it was made from.

    Attributes:
        rate: frames a second.
        time_base: seconds of which its times are multiples; None for a frame at the rate.
        pixel_aspect: width of a pixel over its height.
        sound: the file with its sound.
        film: the number of the video among that file's video streams, None for the one that players choose.
        offset: the time there of the first frame, in seconds; more than 0 where a part is restored.
        is_part: whether frames follow there that are not restored, with their sound.
        colours: what its numbers mean.
        bits: of a number in pictures that are written of it.
        splices: where its clock jumps; grows while it is read.
        profile: the ICC profile of pictures, None for sRGB.
        rereadable: whether a run that was stopped could read it again, and go on.
    """

    rate: Fraction | None = None
    time_base: Fraction | None = None
    pixel_aspect: Fraction | None = None
    sound: Path | None = None
    film: int | None = None
    offset: Fraction = Fraction(0)
    is_part: bool = False
    colours: VideoColours | None = None
    bits: int = 16
    splices: list[Splice] = field(default_factory=list)
    profile: bytes | None = None
    rereadable: bool = True
