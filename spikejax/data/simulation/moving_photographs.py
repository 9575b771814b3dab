"""Moving photographs, and moving scenes: data sets for those without a download, made of scikit-image's photographs.

A camera moves over a photograph, with translation, rotation and zoom at sub-pixel steps, and pieces of other
photographs move in front of it on paths of their own. Everything is rendered in linear light at every step of the spike
camera: the blurry picture is the mean over the exposure, the sharp one its middle, and the spikes come from the
simulated camera. Training and validation use different photographs, and everything is a function of the settings, the
seed among them.

Moving scenes train on more than the photographs: on fallen leaves (see `leaves`) as well, on a printed page, and all of
them in other colours and contrasts in each sequence. Their validation split is that of the moving photographs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from spikejax.data.datasets.layout import (
    DESCRIPTION,
    SPLITS,
    TRAINING_SPLIT,
    AlignedFrame,
    read_description,
    write_alignment,
    write_description,
    write_dropped,
)
from spikejax.data.datasets.voxel_statistics import ensure_statistics
from spikejax.data.simulation.camera_settings import CameraSettings
from spikejax.data.simulation.leaves import fall_leaves
from spikejax.data.simulation.motion import Motion, random_motion
from spikejax.data.simulation.photographs import PAGES, PHOTOGRAPHS, load_photograph, shrink_detail
from spikejax.data.simulation.rig import CameraRig, Exposure
from spikejax.data.simulation.write_sequence import write_sequence
from spikejax.errors import InputError
from spikejax.hardware.host import cpu_count
from spikejax.io.atomic import atomic_directory
from spikejax.io.paths import AnyPath
from spikejax.progress import Progress

# What dataset.json says, of the photographs alone and of the moving scenes.
_RENDERED_FROM = {False: "moving photographs (scikit-image)", True: "moving scenes (scikit-image, leaves)"}
# Fastest exposure of a sequence, as shares of the largest motion that the settings allow.
_SLOWEST_SHARE = 0.5
_MOST_PIECES = 3
# Pixels of the photograph per pixel of the frame. Shrinking gives texture at the scale of the frame's pixels.
_PHOTOGRAPH_SCALES = (1.2, 2.2)
# The starting point is the most textured of a few: a plain wall or sky teaches nothing and hardly blurs.
_STARTS_TRIED = 8
# Of the moving scenes: the name of what is no photograph, and how far a texture's contrast is changed, the exponent of
# its light. Light is relative to white, so that all exponents keep black and white.
_LEAVES = "leaves"
_CONTRASTS = (0.7, 1.4)


@dataclass(frozen=True)
class SceneSettings:
    """All that the data set depends on.

    Attributes:
        seed: of everything random.
        train_sequences: number of sequences.
        val_sequences: likewise.
        frames: exposures per sequence.
        height: of the pictures, in pixels.
        width: likewise.
        max_motion: pixels that a point may move over the picture within one exposure.
        varied: whether the training sequences are those of the moving scenes.
        camera: how light becomes pictures and spikes.
    """

    seed: int = 0
    train_sequences: int = 40
    val_sequences: int = 6
    frames: int = 10
    height: int = 128
    width: int = 160
    max_motion: float = 20.0
    varied: bool = False
    camera: CameraSettings = field(default_factory=CameraSettings)

    def __post_init__(self) -> None:
        """Raises `InputError` for values without a meaning."""
        counts = (self.train_sequences, self.val_sequences, self.frames, self.height, self.width)
        if min(counts) < 1 or self.max_motion <= 0:
            raise InputError(f"expected at least one of everything and some motion, found {self}")

    def sequences(self, split: str) -> int:
        """Number of sequences of a split."""
        return {"train": self.train_sequences, "val": self.val_sequences}[split]

    def describe(self) -> dict[str, Any]:
        """All settings as one flat mapping, for dataset.json."""
        flat = asdict(self)
        camera = flat.pop("camera")
        return {
            "source": _RENDERED_FROM[flat.pop("varied")],
            **flat,
            **camera,
            "photographs": {split: self.textures(split) for split in PHOTOGRAPHS},
        }

    def textures(self, split: str) -> list[str]:
        """The names of all that scenes of a split are made of."""
        if not self._is_varied(split):
            return list(PHOTOGRAPHS[split])
        # Every second one is of leaves, which are new in each sequence.
        return [name for photograph in (*PHOTOGRAPHS[split], *PAGES) for name in (photograph, _LEAVES)]

    def texture(self, name: str, split: str, rng: np.random.Generator) -> Float32[np.ndarray, "h w 3"]:
        """The linear light of one of the textures."""
        if not self._is_varied(split):
            return _photograph(name)
        photographs = [_photograph(other) for other in PHOTOGRAPHS[split]]
        texture = fall_leaves(photographs, rng) if name == _LEAVES else _photograph(name)
        return texture[..., rng.permutation(3)] ** np.float32(rng.uniform(*_CONTRASTS))

    def _is_varied(self, split: str) -> bool:
        return self.varied and split == TRAINING_SPLIT


def write_moving_photographs(
    root: AnyPath,
    *,
    bins: int = 32,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **settings: Any,
) -> bool:
    """Writes the data set (see `layout`) and says whether there was anything to write.

    Returns at once if it is there already with the same settings. It appears whole or not at all.

    Args:
        root: the folder to make.
        bins: time bins that ROOT/statistics.json is measured for; measured again if the data set is there for another
            number.
        workers: sequences rendered at a time; None for as many as this process has CPUs. The result does not depend
            on it.
        overwrite: whether a data set with other settings gives way.
        progress: whether to show progress on stderr.
        **settings: what the data set depends on, the fields of `SceneSettings`: seed, sizes, motion and camera.

    Raises:
        InputError: `root` holds anything else, or a data set with other settings, and `overwrite` is off.
    """
    scene_settings = SceneSettings(**settings)
    description = scene_settings.describe()
    present = read_description(root)
    if present is not None and present == {**description, "format": present["format"]}:
        ensure_statistics(root, bins=bins)
        return False
    if present is not None and not overwrite:
        raise InputError(f"{_difference(present, description)}: {Path(root) / DESCRIPTION}")
    with atomic_directory(root, replace=overwrite) as temporary:
        _write_splits(temporary, scene_settings, workers=workers or cpu_count(), progress=progress)
        write_description(temporary, description)
        ensure_statistics(temporary, bins=bins)
    return True


def _difference(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = [key for key in wanted if present.get(key) != wanted[key]]
    return "expected a data set with {}, found one with {}".format(
        *(", ".join(f"{key} {settings.get(key)!r}" for key in keys) for settings in (wanted, present))
    )


def _write_splits(root: Path, settings: SceneSettings, *, workers: int, progress: bool) -> None:
    total = sum(settings.sequences(split) for split in PHOTOGRAPHS) * settings.frames
    shown = Progress("writing moving photographs", total=total, unit="frame") if progress else None

    def write(split: str, number: int) -> list[AlignedFrame]:
        scene = make_scene(settings, split, number)
        name = f"{number:03d}_{scene.name}"
        return write_sequence(root / split / name, name, _counted(scene.exposures(), shown))

    # Threads, because rendering spends its time in OpenCV and numpy outside the interpreter's lock.
    with ThreadPoolExecutor(workers) as pool:
        pending = {
            split: [pool.submit(write, split, n) for n in range(settings.sequences(split))] for split in PHOTOGRAPHS
        }
        try:
            for split, futures in pending.items():
                write_alignment(root / split, [row for future in futures for row in future.result()])
                write_dropped(root / split, [])
        except BaseException:  # Ctrl-C too: do not render the rest of the data set before giving up
            pool.shutdown(cancel_futures=True)
            raise
    if shown is not None:
        shown.finish()


def _counted(exposures: Iterator[Exposure], shown: Progress | None) -> Iterator[Exposure]:
    for exposure in exposures:
        yield exposure
        if shown is not None:
            shown.advance()


@dataclass(frozen=True)
class Layer:
    """A texture and its motion over the picture.

    Attributes:
        texture: linear light; a piece's has a fourth channel, its coverage, which the light is multiplied with already.
        origin: the texture's point (x, y) that the frame's centre shows at time 0.
        scale: texture pixels per frame pixel.
        motion: of the frame over the texture.
    """

    texture: Float32[np.ndarray, "h w c"]
    origin: Float64[np.ndarray, "2"]
    scale: float
    motion: Motion

    def frame_to_texture(
        self, times: Float64[np.ndarray, " n"], *, height: int, width: int
    ) -> Float64[np.ndarray, "n 2 3"]:
        """Affine maps from the frame's pixels (x, y, 1) to the texture's, at each time."""
        turn, shift = (self.scale * part for part in self.motion.maps(times))
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        return np.concatenate([turn, (self.origin + shift - turn @ centre)[..., None]], axis=-1)


@dataclass(frozen=True)
class Scene:
    """A background and the pieces before it, as seen by a rig of cameras over a number of exposures."""

    name: str
    background: Layer
    pieces: Sequence[Layer]
    settings: SceneSettings
    rng: np.random.Generator

    def exposures(self) -> Iterator[Exposure]:
        """The consecutive exposures; to be iterated once, as the spike camera uses up randomness."""
        rig = CameraRig(self.settings.height, self.settings.width, self.settings.camera, rng=self.rng)
        steps = self.settings.camera.steps_per_frame
        for frame in range(self.settings.frames):
            # A step stands for the light half-way through it; the sharp picture for the instant half-way through all.
            instants = [*((np.arange(steps) + 0.5) / steps), 0.5]
            light = self.render(frame + np.array(instants))
            rig.expose(light[:-1])
            yield rig.end_exposure(light[-1])

    def render(self, times: Float64[np.ndarray, " n"]) -> Float32[np.ndarray, "n h w 3"]:
        """Linear light at each time, counted in exposures."""
        height, width = self.settings.height, self.settings.width
        light = np.empty((len(times), height, width, 3), np.float32)
        maps = self.background.frame_to_texture(times, height=height, width=width)
        for picture, to_texture in zip(light, maps, strict=True):
            cv2.warpAffine(
                self.background.texture,
                to_texture,
                (width, height),
                dst=picture,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        for piece in self.pieces:
            for picture, to_texture in zip(
                light, piece.frame_to_texture(times, height=height, width=width), strict=True
            ):
                _draw_piece(picture, piece.texture, to_texture)
        return light


def _draw_piece(
    picture: Float32[np.ndarray, "h w 3"],
    texture: Float32[np.ndarray, "th tw 4"],
    to_texture: Float64[np.ndarray, "2 3"],
) -> None:
    """Draws a piece over the picture, in place, within the rectangle that it covers."""
    corners = np.array([(0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)]) * (*texture.shape[1::-1], 1)
    seen = corners @ cv2.invertAffineTransform(to_texture).T
    left, top = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + 2, picture.shape[1::-1])
    if left >= right or top >= bottom:
        return
    to_texture = to_texture.copy()
    to_texture[:, 2] += to_texture[:, :2] @ (left, top)
    piece = cv2.warpAffine(
        texture, to_texture, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    behind = picture[top:bottom, left:right]
    # Three equal channels by OpenCV: broadcasting over an axis of length 3 is 4 times as slow in numpy.
    behind *= cv2.merge([1 - piece[..., 3]] * 3)
    behind += cv2.cvtColor(piece, cv2.COLOR_BGRA2BGR)


def make_scene(settings: SceneSettings, split: str, number: int) -> Scene:
    """The scene of a sequence: a function of the seed, the split and the number alone."""
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), number])
    names = settings.textures(split)
    name = names[number % len(names)]  # every photograph in turn

    def texture(name: str) -> tuple[Float32[np.ndarray, "h w 3"], float]:
        return _tinted(settings.texture(name, split, rng), rng)

    background = _background(*texture(name), settings, rng)
    others = [other for other in names if other != name]
    count = rng.integers(1, _MOST_PIECES + 1)
    pieces = [_piece(*texture(str(rng.choice(others))), settings, rng) for _ in range(count)]
    return Scene(name, background, pieces, settings, rng)


@cache
def _photograph(name: str) -> Float32[np.ndarray, "h w 3"]:
    photograph = load_photograph(name)
    photograph.flags.writeable = False  # shared by all threads
    return photograph


def _tinted(
    texture: Float32[np.ndarray, "h w 3"], rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "h w 3"], float]:
    """A texture under random coloured light, and the number of its pixels that a frame pixel shall cover."""
    scale = rng.uniform(*_PHOTOGRAPH_SCALES)
    tint = rng.uniform(0.75, 1.0, 3).astype(np.float32)
    return shrink_detail(texture, scale) * tint, scale


def _background(
    texture: Float32[np.ndarray, "h w 3"], scale: float, settings: SceneSettings, rng: np.random.Generator
) -> Layer:
    half = np.array([settings.width, settings.height]) / 2
    origin = _textured_point(texture, half * scale, rng)
    return Layer(texture, origin, scale, _motion(settings, rng, half_width=half[0], half_height=half[1]))


def _piece(
    photograph: Float32[np.ndarray, "h w 3"], scale: float, settings: SceneSettings, rng: np.random.Generator
) -> Layer:
    radius = rng.uniform(0.12, 0.28) * min(settings.height, settings.width) * scale
    side = 2 * math.ceil(1.5 * radius) + 1
    centre = _textured_point(photograph, np.array([side / 2, side / 2]), rng)
    patch = cv2.getRectSubPix(photograph, (side, side), tuple(centre))
    coverage = _blob(side, radius, scale, rng)
    # Multiplying first makes interpolated edges right: half a piece is half its light and half of what is behind it.
    texture = np.concatenate([patch * coverage[..., None], coverage[..., None]], axis=-1)
    # Somewhere in the frame half-way through the sequence, where it would otherwise often have left already.
    motion = _motion(settings, rng, half_width=radius / scale, half_height=radius / scale)
    centre_in_frame = rng.uniform(-0.4, 0.4, 2) * (settings.width, settings.height)
    turn, shift = (part[0] for part in motion.maps(np.array([settings.frames / 2])))
    origin = np.full(2, (side - 1) / 2) - scale * (turn @ centre_in_frame + shift)
    return Layer(texture, origin, scale, motion)


def _motion(settings: SceneSettings, rng: np.random.Generator, *, half_width: float, half_height: float) -> Motion:
    return random_motion(
        rng,
        pixels_per_exposure=rng.uniform(_SLOWEST_SHARE, 1) * settings.max_motion,
        frames=settings.frames,
        half_width=float(half_width),
        half_height=float(half_height),
    )


def _textured_point(
    texture: Float32[np.ndarray, "h w 3"], half: Float64[np.ndarray, "2"], rng: np.random.Generator
) -> Float64[np.ndarray, "2"]:
    """The most textured of a few random points (x, y), with all around inside the texture if it is large enough."""
    size = np.array(texture.shape[1::-1], np.float64)
    margin = np.minimum(half, size / 2)
    points = rng.uniform(margin, size - margin, (_STARTS_TRIED, 2))
    gradient = np.abs(np.diff(texture.mean(axis=-1), axis=1))

    def detail(point: Float64[np.ndarray, "2"]) -> float:
        left, top = np.maximum(point - margin, 0).astype(int)
        right, bottom = np.ceil(point + margin).astype(int)
        return float(gradient[top:bottom, left:right].mean())

    return max(points, key=detail)


def _blob(side: int, radius: float, scale: float, rng: np.random.Generator) -> Float32[np.ndarray, "side side"]:
    """Coverage in [0, 1] of a random smooth shape; its edge is one frame pixel wide."""
    axis = np.arange(side) - (side - 1) / 2
    angle, distance = np.arctan2(axis[:, None], axis), np.hypot(axis[:, None], axis)
    edge = np.full_like(angle, radius)
    for lobes in (2, 3, 5):
        edge += radius * rng.uniform(0, 0.3 / lobes**0.5) * np.cos(lobes * angle + rng.uniform(0, 2 * np.pi))
    return np.clip((edge - distance) / scale + 0.5, 0, 1).astype(np.float32)
