"""A spike-deblurring sequence made of any video.

Light between the video's frames is interpolated along the optical flow. Each exposure spans several frames; the blurry
picture is the mean of the linear light over it, the sharp one the video's frame at its middle, and the spikes are
simulated at every step.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from spikejax.data.simulation.camera_settings import CameraSettings
from spikejax.data.simulation.interpolated_light import EndOfFrames, Interpolator
from spikejax.data.simulation.motion import Motion, random_motion
from spikejax.data.simulation.rig import CameraRig, Exposure
from spikejax.data.simulation.write_sequence import add_to_data_set
from spikejax.errors import InputError
from spikejax.io.frame_source import FrameSource
from spikejax.progress import with_progress

# The program that made a data set, as dataset.json names it.
_SIMULATED_BY = "spikejax.simulate"
# Frames that an added motion is bounded for where a video does not say how many it has.
_USUAL_LENGTH = 250
# Light of an exposure that is in memory at once; a picture of 1080p takes 25 MB. A bound on memory: the spikes are
# the same however an exposure is cut.
_CHUNK_BYTES = 128 * 2**20


@dataclass(frozen=True)
class SimulateSettings:
    """How a video becomes a sequence.

    Attributes:
        exposure_frames: video frames that an exposure spans.
        size: height and width of the pictures, cut from the middle of the scaled video; None for the video's own.
        shake: pixels per exposure of an added camera motion; 0 for none.
        max_frames: the largest number of pictures to make; None for all.
        seed: of the spike camera's initial charge and noise and of the added motion.
        camera: how light becomes pictures and spikes.
    """

    exposure_frames: int
    size: tuple[int, int] | None
    shake: float
    max_frames: int | None
    seed: int
    camera: CameraSettings


def add_sequence(
    source: FrameSource, root: str | Path, name: str, settings: SimulateSettings, *, split: str, overwrite: bool = False
) -> Path:
    """Writes one sequence into a data set, which is made if it is not there, and returns the sequence's folder.

    Args:
        source: the video.
        root: the data set.
        name: of the sequence.
        settings: how to make it.
        split: "train" or "val".
        overwrite: whether a sequence of that name is replaced.

    Raises:
        InputError: the video is too short, the sequence is there already, or the data set was made in another way.
    """
    exposures = with_progress(
        _exposures(source, name, settings), "simulating", total=_expected_count(source, settings), unit="frame"
    )
    provenance = {key: value for key, value in asdict(settings).items() if key != "camera"}
    return add_to_data_set(
        root,
        name,
        _at_least_one(exposures, source, settings),
        description={"source": _SIMULATED_BY, **asdict(settings.camera)},
        provenance={"input": source.path.name, **provenance},
        split=split,
        overwrite=overwrite,
    )


def _at_least_one(exposures: Iterable[Exposure], source: FrameSource, settings: SimulateSettings) -> Iterator[Exposure]:
    """Yields the exposures; raises InputError if there are none."""
    count = 0
    for exposure in exposures:
        count += 1
        yield exposure
    if not count:
        needed = settings.exposure_frames + 1 + settings.exposure_frames % 2
        raise InputError(f"expected a video of at least {needed} frames, the length of one exposure: {source.path}")


def _expected_count(source: FrameSource, settings: SimulateSettings) -> int | None:
    """How many exposures there will be; None if nothing says how long the video is."""
    if source.expected_length is None:
        return settings.max_frames
    in_video = max(0, source.expected_length - 1 - settings.exposure_frames % 2) // settings.exposure_frames
    return in_video if settings.max_frames is None else min(settings.max_frames, in_video)


def _exposures(source: FrameSource, name: str, settings: SimulateSettings) -> Iterator[Exposure]:
    """Yields the consecutive exposures, until the video ends."""
    height, width = _picture_size(source, settings)
    # Every sequence has noise of its own, whichever sequences were made before it.
    rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode())])
    motion, margin = None, 0.0
    if settings.shake:
        frames = settings.max_frames or (source.expected_length or _USUAL_LENGTH) // settings.exposure_frames + 1
        half = dict(half_height=height / 2, half_width=width / 2)
        motion = random_motion(rng, pixels_per_exposure=settings.shake, frames=frames, wander=False, **half)
        margin = motion.margin(frames=frames, **half)
    rig = CameraRig(height, width, settings.camera, rng=rng)
    view = _CameraView(source, settings, (height, width), motion, margin)
    frame = 0
    while settings.max_frames is None or frame < settings.max_frames:
        try:
            yield _expose(rig, view, frame, settings.camera.steps_per_frame)
        except EndOfFrames:
            return  # the last exposure is not a whole one
        frame += 1


def _expose(rig: CameraRig, view: _CameraView, frame: int, steps: int) -> Exposure:
    """One exposure, shown to the cameras in pieces [s, h, w, 3] of bounded size."""
    height, width = view.size
    chunk = max(1, _CHUNK_BYTES // (height * width * 3 * 4))
    middle = None
    for first in range(0, steps, chunk):
        light = np.empty((min(chunk, steps - first), height, width, 3), np.float32)
        for step in range(first, first + len(light)):
            # Asked for before the first step after it: a video is read forward only.
            if middle is None and 2 * step + 1 >= steps:
                middle = view.at(frame + 0.5)
            light[step - first] = view.at(frame + (step + 0.5) / steps)
        rig.expose(light)
    assert middle is not None
    return rig.end_exposure(middle)


def _picture_size(source: FrameSource, settings: SimulateSettings) -> tuple[int, int]:
    """(height, width) of the pictures."""
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


class _CameraView:
    """The part of the video that the cameras see, at any instant counted in exposures.

    Attributes:
        size: its height and width.
    """

    def __init__(
        self,
        source: FrameSource,
        settings: SimulateSettings,
        size: tuple[int, int],
        motion: Motion | None,
        margin: float,
    ) -> None:
        """Scales the video so that it covers `size` and, on all sides, the margin that the motion needs."""
        height, width = self.size = size
        self._scaled = (source.width, source.height)
        if settings.size is not None or motion is not None:
            scale = max((height + 2 * margin) / source.height, (width + 2 * margin) / source.width)
            self._scaled = (max(width, round(source.width * scale)), max(height, round(source.height * scale)))
        self._exposure_frames = settings.exposure_frames
        # The middle of every exposure falls on a frame of the video: sharp pictures are never interpolated ones.
        self._start = 0.5 * (settings.exposure_frames % 2)
        self._motion = motion
        self._light = Interpolator(iter(source), prepare=self._scale)

    def at(self, time: float) -> Float32[np.ndarray, "h w 3"]:
        """Linear light at an instant, not before the last one asked for; raises `EndOfFrames`."""
        height, width = self.size
        light = self._light.at(self._start + time * self._exposure_frames)
        left, top = (self._scaled[0] - width) // 2, (self._scaled[1] - height) // 2
        if self._motion is None:
            return light[top : top + height, left : left + width]
        # Of the one instant; the motion is about the picture's centre, and OpenCV counts from the upper left corner.
        (matrix,), (shift,) = self._motion.maps(np.array([time]))
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = shift + (left, top) + centre - matrix @ centre
        return cv2.warpAffine(
            light,
            np.column_stack([matrix, shift]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    def _scale(self, light: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "hs ws 3"]:
        if light.shape[1::-1] == self._scaled:
            return light
        shrinks = light.shape[1] > self._scaled[0]
        return cv2.resize(light, self._scaled, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
