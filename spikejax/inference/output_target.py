"""What is to be written, and where: checked before any work, and without importing what writes it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from spikejax.errors import InputError
from spikejax.io.json_files import read_json
from spikejax.io.video_codecs import VideoSettings, is_video_name
from spikejax.quality.score_files import SCORES_FILE, metrics_path


@dataclass(frozen=True)
class OutputTarget:
    """What is to be written.

    Attributes:
        path: a folder for PNG files, or a video.
        video: a video beside the folder; None = nothing beside `path`.
        settings: of the video.
        overwrite: whether the output of an earlier run is replaced.
    """

    path: Path
    video: Path | None = None
    settings: VideoSettings = field(default_factory=VideoSettings)
    overwrite: bool = False

    @property
    def movie(self) -> Path | None:
        """The video, None if there is to be none."""
        return self.path if is_video_name(self.path) else self.video

    @property
    def metrics(self) -> Path:
        """The file of scores: in the folder, or beside the video."""
        return metrics_path(self.path)

    @property
    def work(self) -> Path:
        """The folder that holds what is not finished."""
        return self.path.with_name(f".{self.path.name}.partial")

    @property
    def stalled(self) -> Path:
        """The folder for what hosts say of a run that does not get on."""
        return self.path.with_name(f"{self.path.name}.stalled")

    def is_restored_from(self, source: str) -> bool:
        """Whether the output is there, and whole, and was restored from this input."""
        metrics = None if self.work.exists() else read_json(self.metrics)
        return metrics is not None and metrics.get("input") in (source, os.path.abspath(source))

    def check(self) -> None:
        """Raises InputError if writing would destroy something, or cannot work."""
        if self.video is not None and (is_video_name(self.path) or not is_video_name(self.video)):
            raise InputError(f"expected a folder for frames and a video, found {self.path} and {self.video}")
        if self.movie is not None:
            self.settings.check(self.movie)
        for path in (self.path, self.video):
            if path is not None and _is_taken(path) and not self.overwrite:
                raise InputError(f"expected a new output (--overwrite replaces one), found {path}")
        if self.path.is_dir() and any(self.path.iterdir()) and not self.metrics.is_file():
            # A slip of the pen in --output must not cost a folder of photographs.
            raise InputError(f"expected the output of an earlier run to replace, found no {SCORES_FILE} in {self.path}")


def _is_taken(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


@dataclass(frozen=True)
class VideoSource:
    """What a restored video takes over from the one it was made from.

    Attributes:
        rate: frames a second.
        time_base: seconds of which its times are multiples; None for a frame at the rate.
        pixel_aspect: width of a pixel over its height.
        sound: the file with its sound.
    """

    rate: Fraction | None = None
    time_base: Fraction | None = None
    pixel_aspect: Fraction | None = None
    sound: Path | None = None
