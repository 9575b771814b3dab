"""Options of commands that say how noisy the simulated spike camera is."""

from __future__ import annotations

import argparse

from spikejax.cli import number_from
from spikejax.data.simulation.camera_settings import CameraSettings, SensorNoise


def add_noise_options(group: argparse._ActionsContainer) -> None:
    """Adds the options that `noise_of` reads."""
    add, default, amount = group.add_argument, CameraSettings().noise, number_from(0)
    add(
        "--shot-photons", type=amount, default=default.shot_photons, metavar="X",
        help="photons of a white pixel in a step, for shot noise; 0 = no such noise (default: %(default)s)",
    )  # fmt: skip
    add(
        "--threshold-variation", type=amount, default=default.threshold_variation, metavar="X",
        help="relative standard deviation of the pixels' thresholds (default: %(default)s)",
    )  # fmt: skip
    add(
        "--dark-rate", type=amount, default=default.dark_rate, metavar="X",
        help="spikes a step that a pixel fires in the dark (default: %(default)s)",
    )  # fmt: skip
    add(
        "--dark-variation", type=amount, default=default.dark_variation, metavar="X",
        help="relative standard deviation of the pixels' dark rates (default: %(default)s)",
    )  # fmt: skip


def noise_of(options: argparse.Namespace) -> SensorNoise:
    """The noise that the options say; raises `InputError` for values without a meaning."""
    return SensorNoise(
        shot_photons=options.shot_photons,
        threshold_variation=options.threshold_variation,
        dark_rate=options.dark_rate,
        dark_variation=options.dark_variation,
    )
