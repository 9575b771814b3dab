"""Smooth random motion of a camera or an object: translation, rotation and zoom as functions of time.

Time is counted in exposures and length in pixels of the frame. A pose (x, y, angle, log zoom) maps a frame point p,
relative to the frame's centre, to the scene point (x, y) + exp(log zoom) * rotation(angle) * p.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

# Slowest wave of a shaking hand, which does not wander off.
_SHAKING = 0.2
# Waves per exposure: slow ones make paths that wander over several frames, the fastest bends a path within one
# exposure.
_SLOWEST, _FASTEST = 0.04, 0.45
_WAVES = 4
# Share of the motion, at the frame's corner, that rotation and zoom have beside the translation.
_ROTATION_SHARE, _ZOOM_SHARE = 0.3, 0.15
# Instants per exposure at which the length of a path is measured.
_INSTANTS = 8


@dataclass(frozen=True)
class Motion:
    """A sum of sines per component of the pose: smooth in all derivatives, exact at any time.

    Attributes:
        amplitude: of each wave, per component (x, y in pixels, angle in radians, log zoom).
        frequency: in waves per exposure.
        phase: in radians.
        drift: constant speed per component and exposure.
    """

    amplitude: Float64[np.ndarray, "waves 4"]
    frequency: Float64[np.ndarray, "waves 4"]
    phase: Float64[np.ndarray, "waves 4"]
    drift: Float64[np.ndarray, "4"]

    def poses(self, times: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 4"]:
        """The pose (x, y, angle, log zoom) at each time, counted in exposures; all zero at time 0."""
        angles = 2 * np.pi * self.frequency * times[:, None, None] + self.phase
        waves = self.amplitude * (np.sin(angles) - np.sin(self.phase))
        return waves.sum(axis=1) + self.drift * times[:, None]

    def maps(self, times: Float64[np.ndarray, " n"]) -> tuple[Float64[np.ndarray, "n 2 2"], Float64[np.ndarray, "n 2"]]:
        """Matrix and shift at each time: the frame's point p, from its centre, shows the scene's matrix @ p + shift."""
        poses = self.poses(times)
        return np.exp(poses[:, 3])[:, None, None] * rotation(poses[:, 2]), poses[:, :2]

    def __mul__(self, factor: float) -> Motion:
        """The same motion with all of its components `factor` times as large."""
        return Motion(self.amplitude * factor, self.frequency, self.phase, self.drift * factor)

    def largest_motion(self, *, frames: int, half_height: float, half_width: float) -> float:
        """Pixels that the fastest of the frame's corners and centre travels over the picture within one exposure."""
        times = np.arange(frames * _INSTANTS + 1) / _INSTANTS
        turn, _ = self.maps(times)
        seen = self._corners(times, half_height, half_width)
        # A scene point moves over the picture by the scene's motion divided by the zoom.
        zoom = np.sqrt(np.linalg.det(turn[1:]))
        lengths = np.linalg.norm(np.diff(seen, axis=0), axis=-1) / zoom[:, None]
        return float(lengths.reshape(frames, _INSTANTS, -1).sum(axis=1).max())

    def margin(self, *, frames: int, half_height: float, half_width: float) -> float:
        """Pixels by which the frame's corners leave the place that the frame has at time 0."""
        seen = self._corners(np.arange(frames * _INSTANTS + 1) / _INSTANTS, half_height, half_width)
        return float(np.maximum(np.abs(seen) - (half_width, half_height), 0).max())

    def _corners(
        self, times: Float64[np.ndarray, " n"], half_height: float, half_width: float
    ) -> Float64[np.ndarray, "n p 2"]:
        """The scene points that the frame's centre and corners show."""
        turn, shift = self.maps(times)
        corners = np.array([(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]) * (half_width, half_height)
        return np.einsum("nij,pj->npi", turn, corners) + shift[:, None]


def random_motion(
    rng: np.random.Generator,
    *,
    pixels_per_exposure: float,
    frames: int,
    half_height: float,
    half_width: float,
    wander: bool = True,
) -> Motion:
    """A random motion whose fastest point, in its fastest exposure, travels `pixels_per_exposure` pixels.

    Args:
        rng: source of randomness.
        pixels_per_exposure: the largest motion within an exposure; the other exposures are slower.
        frames: number of exposures that the bound holds for.
        half_height: half the height of what moves, where rotation and zoom are fastest.
        half_width: likewise.
        wander: whether the motion may lead far away over time; else it stays about where it began, like a shaking hand.
    """
    radius = np.hypot(half_height, half_width)
    share = np.array([1, 1, _ROTATION_SHARE / radius, _ZOOM_SHARE / radius])
    frequency = np.exp(rng.uniform(np.log(_SLOWEST if wander else _SHAKING), np.log(_FASTEST), (_WAVES, 4)))
    # Dividing by the frequency gives waves of every frequency the same share of the speed.
    amplitude = share * rng.normal(size=(_WAVES, 4)) / (2 * np.pi * frequency)
    phase = rng.uniform(0, 2 * np.pi, (_WAVES, 4))
    drift = share * rng.normal(size=4) * (1, 1, 0.5, 0.2) * float(wander)
    motion = Motion(amplitude, frequency, phase, drift)
    for _ in range(4):  # not quite linear, because of rotation and zoom: a few rounds settle it
        measured = motion.largest_motion(frames=frames, half_height=half_height, half_width=half_width)
        motion = motion * (pixels_per_exposure / measured)
    return motion


def rotation(angle: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2 2"]:
    """Rotation matrices."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)
