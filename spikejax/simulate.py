"""Makes a spike-deblurring sequence of any video: python -m spikejax.simulate --input VIDEO_OR_FOLDER --output ROOT.

Light between the video's frames is interpolated along the optical flow. Each exposure spans several frames; the blurry
picture is the mean of the linear light over it, the sharp one the video's frame at its middle, and the spikes are
simulated at every step. The result has the layout that training and restoring read.
"""

from __future__ import annotations

import argparse
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from spikejax.cli import positive_count, run
from spikejax.data.datasets.layout import (
    DESCRIPTION,
    SPLITS,
    read_alignment,
    read_description,
    write_alignment,
    write_description,
    write_dropped,
)
from spikejax.data.datasets.voxel_statistics import TRAINING_SPLIT, write_statistics
from spikejax.data.simulation.interpolated_light import EndOfFrames, Interpolator
from spikejax.data.simulation.motion import Motion, random_motion
from spikejax.data.simulation.rig import CameraSettings, Exposure, Rig
from spikejax.data.simulation.spike_camera import SensorNoise
from spikejax.data.simulation.write_sequence import write_sequence
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_directory, refuse_existing
from spikejax.io.frame_source import FrameSource, open_frames
from spikejax.progress import with_progress

SOURCE = "spikejax.simulate"
# Frames that an added motion is bounded for where a video does not say how many it has.
_USUAL_LENGTH = 250
# Light of an exposure that is in memory at once; a picture of 1080p takes 25 MB.
_CHUNK_BYTES = 128 * 2**20


@dataclass(frozen=True)
class SimulateSettings:
    """How a video becomes a sequence.

    Attributes:
        exposure_frames: video frames that an exposure spans.
        size: height and width of the pictures, cut from the middle of the scaled video; None for the video's own.
        shake: pixels per exposure of an added camera motion; 0 for none.
        max_frames: most pictures to make; None for all.
        seed: of the spike camera's initial charge and noise and of the added motion.
        camera: how light becomes pictures and spikes.
    """

    exposure_frames: int
    size: tuple[int, int] | None
    shake: float
    max_frames: int | None
    seed: int
    camera: CameraSettings


def main(arguments: Sequence[str]) -> None:
    """Simulates a sequence as the command line says."""
    options = _parser().parse_args(arguments)
    settings = SimulateSettings(
        exposure_frames=options.exposure_frames,
        size=options.size,
        shake=options.shake,
        max_frames=options.max_frames,
        seed=options.seed,
        camera=CameraSettings(
            steps_per_frame=options.steps,
            theta=options.theta,
            reset=options.reset,
            spike_scale=options.spike_scale,
            noise=SensorNoise(
                shot_photons=options.shot_photons,
                threshold_variation=options.threshold_variation,
                dark_rate=options.dark_rate,
                dark_variation=options.dark_variation,
            ),
        ),
    )
    source = open_frames(options.input)
    name = options.sequence or Path(options.input).resolve().stem
    folder = simulate(source, options.output, name, settings, split=options.split, overwrite=options.overwrite)
    if options.split == TRAINING_SPLIT:
        write_statistics(options.output, bins=options.bins)
    print(folder)


def simulate(
    source: FrameSource, root: str | Path, name: str, settings: SimulateSettings, *, split: str, overwrite: bool = False
) -> Path:
    """Writes one sequence into a data set, which is made if it is not there, and returns the sequence's folder.

    Args:
        source: the video.
        root: the data set.
        name: of the sequence.
        settings: how to make it.
        split: "train" or "val".
        overwrite: whether a sequence of that name gives way.

    Raises:
        InputError: the video is too short, the sequence is there already, or the data set was made in another way.
    """
    if not re.fullmatch(r"[\w][\w.@ -]*", name):
        raise InputError(f"expected a sequence name of letters, digits and -_. that a folder can have, found {name!r}")
    root = Path(root)
    description = _description(root, settings.camera)
    folder = root / split / name
    refuse_existing(folder, replace=overwrite)  # before the work, not after it
    with atomic_directory(folder, replace=overwrite) as temporary:
        rows = write_sequence(temporary, name, _watched(_exposures(source, name, settings), source, settings))
        if not rows:
            needed = settings.exposure_frames + 1 + settings.exposure_frames % 2
            raise InputError(f"expected a video of at least {needed} frames, the length of one exposure: {source.path}")
    others = [row for row in read_alignment(root / split) if row.sequence != name]
    write_alignment(root / split, sorted([*others, *rows], key=lambda row: (row.sequence, row.frame)))
    write_dropped(root / split, [])
    description["sequences"][f"{split}/{name}"] = {"input": source.path.name, **_provenance(settings)}
    write_description(root, description)
    return folder


def _description(root: Path, camera: CameraSettings) -> dict[str, Any]:
    """What dataset.json says or will say; all sequences of a data set are seen by the same camera."""
    wanted = {"source": SOURCE, **asdict(camera)}
    present = read_description(root)
    if present is None:
        return {**wanted, "sequences": {}}
    for key, value in wanted.items():
        if present.get(key) != value:
            raise InputError(
                f"expected a data set with {key} {value!r}, found {present.get(key)!r}: {root / DESCRIPTION}"
            )
    return present


def _provenance(settings: SimulateSettings) -> dict[str, Any]:
    return {key: value for key, value in asdict(settings).items() if key != "camera"}


def _watched(exposures: Iterator[Exposure], source: FrameSource, settings: SimulateSettings) -> Iterator[Exposure]:
    """The exposures, with progress on the terminal."""
    total = settings.max_frames
    if source.expected_length is not None:
        in_video = max(0, source.expected_length - 1 - settings.exposure_frames % 2) // settings.exposure_frames
        total = in_video if total is None else min(total, in_video)
    return with_progress(exposures, "simulating", total=total, unit="frame")


def _exposures(source: FrameSource, name: str, settings: SimulateSettings) -> Iterator[Exposure]:
    """The consecutive exposures, until the video ends."""
    height, width = _picture_size(source, settings)
    # Every sequence has noise of its own, whatever its place among the others.
    rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode())])
    motion, margin = None, 0.0
    if settings.shake:
        frames = settings.max_frames or (source.expected_length or _USUAL_LENGTH) // settings.exposure_frames + 1
        half = dict(half_height=height / 2, half_width=width / 2)
        motion = random_motion(rng, pixels_per_exposure=settings.shake, frames=frames, wander=False, **half)
        margin = motion.margin(frames=frames, **half)
    rig = Rig(height, width, settings.camera, rng=rng)
    view = _View(source, settings, height, width, motion, margin)
    frame = 0
    while settings.max_frames is None or frame < settings.max_frames:
        try:
            yield _expose(rig, view, frame, height, width, settings.camera.steps_per_frame)
        except EndOfFrames:
            return  # what was seen of the last exposure is not a whole one
        frame += 1


def _expose(rig: Rig, view: _View, frame: int, height: int, width: int, steps: int) -> Exposure:
    """One exposure, seen in pieces of bounded size."""
    chunk = max(1, _CHUNK_BYTES // (height * width * 3 * 4))
    middle = None
    for first in range(0, steps, chunk):
        light = np.empty((min(chunk, steps - first), height, width, 3), np.float32)
        for step in range(first, first + len(light)):
            if middle is None and 2 * step + 1 >= steps:  # when its time has come: a video is read forward only
                middle = view.at(frame + 0.5)
            light[step - first] = view.at(frame + (step + 0.5) / steps)
        rig.see(light)
    assert middle is not None
    return rig.finish(middle)


def _picture_size(source: FrameSource, settings: SimulateSettings) -> tuple[int, int]:
    scale = settings.camera.spike_scale
    if settings.size is not None:
        return settings.size
    # As much of the video as the spikes' grid covers; a multiple of 8 columns makes whole bytes of every row.
    height, width = source.height // scale * scale, source.width // (8 * scale) * 8 * scale
    if min(height, width) == 0:
        raise InputError(
            f"expected a video of at least {scale}x{8 * scale}, found {source.height}x{source.width}: {source.path}"
        )
    return height, width


class _View:
    """The part of the video that the cameras see, at any instant counted in exposures."""

    def __init__(
        self,
        source: FrameSource,
        settings: SimulateSettings,
        height: int,
        width: int,
        motion: Motion | None,
        margin: float,
    ):
        """Scales the video so that it covers `height` x `width` and, on all sides, the margin that the motion needs."""
        self._scaled = (source.width, source.height)
        if settings.size is not None or motion is not None:
            scale = max((height + 2 * margin) / source.height, (width + 2 * margin) / source.width)
            self._scaled = (max(width, round(source.width * scale)), max(height, round(source.height * scale)))
        self._exposure_frames = settings.exposure_frames
        # The middle of every exposure falls on a frame of the video: sharp pictures are never interpolated ones.
        self._start = 0.5 * (settings.exposure_frames % 2)
        self._height, self._width = height, width
        self._motion = motion
        self._light = Interpolator(iter(source), prepare=self._scale)

    def at(self, time: float) -> Float32[np.ndarray, "h w 3"]:
        """Linear light at an instant, not before the last one asked for; raises `EndOfFrames`."""
        light = self._light.at(self._start + time * self._exposure_frames)
        left, top = ((have - want) // 2 for have, want in zip(self._scaled, (self._width, self._height), strict=True))
        if self._motion is None:
            return light[top : top + self._height, left : left + self._width]
        turn, shift = (part[0] for part in self._motion.maps(np.array([time])))
        centre = np.array([(self._width - 1) / 2, (self._height - 1) / 2])
        shift = shift + (left, top) + centre - turn @ centre
        return cv2.warpAffine(
            light,
            np.column_stack([turn, shift]),
            (self._width, self._height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    def _scale(self, light: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "hs ws 3"]:
        if light.shape[1::-1] == self._scaled:
            return light
        shrinks = light.shape[1] > self._scaled[0]
        return cv2.resize(light, self._scaled, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.simulate",
        description="Makes a spike-deblurring sequence (blurry and sharp pictures, spikes) of a video or a folder.",
        formatter_class=_HelpFormatter,
    )
    camera = CameraSettings()
    files = parser.add_argument_group("files")
    files.add_argument("--input", required=True, metavar="PATH", help="video, or folder of consecutive pictures")
    files.add_argument(
        "--output", required=True, metavar="ROOT", help="data set to add the sequence to, made if missing"
    )
    files.add_argument("--split", choices=SPLITS, default=TRAINING_SPLIT, help="split to add it to")
    files.add_argument("--sequence", metavar="NAME", help="name of the sequence; without it the input's")
    files.add_argument("--overwrite", action="store_true", help="replace a sequence of that name")
    time = parser.add_argument_group("time")
    time.add_argument(
        "--exposure-frames", type=positive_count, default=8, metavar="N", help="video frames that an exposure spans"
    )
    time.add_argument(
        "--steps",
        type=positive_count,
        default=camera.steps_per_frame,
        metavar="N",
        help="steps of the spike camera in an exposure",
    )
    time.add_argument("--max-frames", type=positive_count, metavar="N", help="most pictures to make; without it all")
    light = parser.add_argument_group("picture")
    light.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="scale to cover this size, cut out the middle; without it the video's own",
    )
    light.add_argument(
        "--shake",
        type=_amount,
        default=0.0,
        metavar="PIXELS",
        help="add a camera motion, at most this much in an exposure",
    )
    spikes = parser.add_argument_group("spikes")
    spikes.add_argument("--spike-scale", type=positive_count, default=1, metavar="N", help="picture size / spike size")
    spikes.add_argument(
        "--theta",
        type=_amount,
        default=camera.theta,
        metavar="X",
        help="threshold, at least 1; white gives 1/X spikes a step",
    )
    spikes.add_argument(
        "--reset", choices=("subtract", "zero"), default=camera.reset, help="what firing does to a pixel's charge"
    )
    noise = camera.noise
    spikes.add_argument(
        "--shot-photons",
        type=_amount,
        default=noise.shot_photons,
        metavar="X",
        help="photons of white in a step, for shot noise; 0 for none",
    )
    spikes.add_argument(
        "--threshold-variation",
        type=_amount,
        default=noise.threshold_variation,
        metavar="X",
        help="relative standard deviation of the pixels' thresholds",
    )
    spikes.add_argument(
        "--dark-rate", type=_amount, default=noise.dark_rate, metavar="X", help="spikes a step that come in the dark"
    )
    spikes.add_argument(
        "--dark-variation",
        type=_amount,
        default=noise.dark_variation,
        metavar="X",
        help="relative standard deviation of the pixels' dark rates",
    )
    spikes.add_argument(
        "--bins", type=positive_count, default=32, metavar="K", help="time bins of the voxels' statistics"
    )
    spikes.add_argument("--seed", type=int, default=0, metavar="N", help="of the spike camera and the added motion")
    return parser


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number from 0, found {text!r}")
    return amount


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or 0 in (size := (int(match[1]), int(match[2]))):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 256x448, found {text!r}")
    return size


if __name__ == "__main__":
    run(main)
