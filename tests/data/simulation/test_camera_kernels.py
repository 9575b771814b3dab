"""The compiled loops of the spike camera, against Python that does one pixel and one step at a time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikejax.data.simulation import camera_kernels
from spikejax.data.simulation.camera_kernels import MAX_SLOTS, PoissonTables, expose, fill_alias_tables
from spikejax.data.simulation.shot_noise import poisson_tables

STEPS, PIXELS = 5, 2100  # the second block of pixels is not a whole one
KEY = 0x0123456789ABCDEF
PHOTONS = np.float32(300)  # enough for tables that do not begin at 0
_64_BITS = 2**64 - 1


def splitmix(counter: int) -> int:
    """SplitMix64's output for a state, in Python's own whole numbers."""
    bits = counter & _64_BITS
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _64_BITS
    return bits ^ bits >> 31


def draw_poisson(mean: float, bits: int) -> int:
    """The Poisson number whose cumulative distribution passes a uniform number of 32 bits."""
    uniform, count, share = bits * 2.0**-32, 0, math.exp(-mean)
    while uniform >= share:
        uniform -= share
        count += 1
        share *= mean / count
    return count


def draw_from(table: np.ndarray, bits: int) -> int:
    """An outcome of one level's alias table: the slot that the bits fall into, or that slot's other outcome."""
    slot, fraction = divmod(bits * len(table), 2**32)
    entry, shift = int(table[slot]), MAX_SLOTS.bit_length() - 1
    return slot if fraction >> shift < entry >> shift else entry & (MAX_SLOTS - 1)


def count_photons(light: np.float32, tables: PoissonTables, counter: int) -> int:
    """Photons of one pixel: of the coarse level, the fine level, and what is left of the light."""
    level = min(max(light, np.float32(0)), np.float32(1)) * np.float32(len(tables.coarse) - 1)
    coarse = int(level)
    level = (level - np.float32(coarse)) * np.float32(len(tables.fine))
    fine, bits = int(level), splitmix(counter)
    rest = float(level - np.float32(fine)) * tables.fine_mean
    return (
        int(tables.first[coarse])
        + draw_from(tables.coarse[coarse], bits >> 32)
        + draw_from(tables.fine[fine], bits & 0xFFFFFFFF)
        + draw_poisson(rest, splitmix(counter + 2**63) >> 32)
    )


def expose_plainly(
    light: np.ndarray,
    gain: np.float32,
    photons: np.float32,
    tables: PoissonTables,
    dark: np.ndarray,
    theta: np.ndarray,
    subtract: bool,
    key: int,
    first_step: int,
    charge: np.ndarray,
) -> np.ndarray:
    """What `expose` fills its last argument with."""
    steps, pixels = light.shape
    spikes = np.zeros((steps, pixels), np.uint8)
    for step in range(steps):
        for pixel in range(pixels):
            counter = key + ((first_step + step) * pixels + pixel) * 0x9E3779B97F4A7C15
            arriving = light[step, pixel]
            if photons > 0:
                beyond = max(arriving - np.float32(1), np.float32(0))
                arriving = np.float32(count_photons(arriving, tables, counter)) / photons + beyond
            arriving = gain * arriving
            if len(dark):
                arriving += theta[pixel] * np.float32(draw_poisson(dark[pixel], splitmix(counter + 2**62) >> 32))
            total = charge[pixel] + arriving
            spikes[step, pixel] = total >= theta[pixel]
            if not spikes[step, pixel]:
                charge[pixel] = total
            else:
                charge[pixel] = min(total - theta[pixel], theta[pixel]) if subtract else 0
    return spikes


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize(("photons", "has_dark"), [(0, False), (PHOTONS, False), (0, True), (PHOTONS, True)])
def test_expose_is_the_loop_over_pixels(subtract: bool, photons: float, has_dark: bool) -> None:
    """Catches blocks that mix pixels or leave some out, a counter that is another step's, and noise of the wrong size.

    Light from below 0 to beyond 1, thresholds and dark rates that differ between pixels, and steps before these.
    """
    rng = np.random.default_rng(0)
    light = rng.uniform(-0.2, 1.4, (STEPS, PIXELS)).astype(np.float32)
    theta = rng.uniform(0.3, 2, PIXELS).astype(np.float32)
    dark = rng.uniform(0, 0.4, PIXELS).astype(np.float32) if has_dark else np.empty(0, np.float32)
    charge = rng.random(PIXELS).astype(np.float32) * theta
    arguments: tuple[Any, ...] = (
        light, np.float32(0.8), np.float32(photons), poisson_tables(float(PHOTONS)), dark, theta, subtract,
    )  # fmt: skip
    expected_charge, spikes = charge.copy(), np.full(light.shape, 99, np.uint8)
    expected = expose_plainly(*arguments, KEY, 7, expected_charge)
    expose(*arguments, np.uint64(KEY), 7, charge, spikes)
    np.testing.assert_array_equal(spikes, expected)
    # Compiled code may join a product and a sum into one rounding.
    np.testing.assert_allclose(charge, expected_charge, atol=1e-6)
    assert 0.1 < spikes.mean() < 0.9


def outcomes_of(table: np.ndarray) -> np.ndarray:
    """How often each outcome comes, when both look-ups go through all they may meet: slots, and shares of a slot."""
    shift = MAX_SLOTS.bit_length() - 1
    often = np.zeros(len(table))
    for slot, entry in enumerate(table.tolist()):
        own = (entry >> shift) / 2 ** (32 - shift)
        often[slot] += own
        often[entry & (MAX_SLOTS - 1)] += 1 - own
    return often / len(table)


@pytest.mark.parametrize(
    "shares",
    [
        lambda rng: rng.random(50),
        lambda rng: np.eye(50)[17],
        lambda rng: np.full(50, 1.0),
        lambda rng: rng.random(1),
        lambda rng: rng.random(MAX_SLOTS) ** 8,
    ],
    ids=["any", "one outcome", "even", "one slot", "as many slots as there can be"],
)
def test_an_alias_table_is_its_distribution(shares: Callable[[np.random.Generator], np.ndarray]) -> None:
    """Catches a slot that keeps what another one was given, an outcome of share 0 that comes, and levels mixed up."""
    distribution = shares(np.random.default_rng(1))
    both = np.stack([distribution, distribution[::-1]])
    both /= both.sum(axis=1, keepdims=True)
    tables = np.zeros(both.shape, np.uint32)
    fill_alias_tables(both, tables)
    for level in range(2):
        # A share has 20 bits of a slot; the errors of the slots that one outcome fills up may add.
        np.testing.assert_allclose(outcomes_of(tables[level]), both[level], atol=2.0**-20)


def test_the_generator_is_splitmix() -> None:
    """Catches another mixing of the counter: every published noisy stream would be another one."""
    # Known answers of the generator for the seed 1234567.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    golden = 0x9E3779B97F4A7C15
    counters = [(1234567 + number * golden) & _64_BITS for number in range(1, 5)]
    assert [int(camera_kernels._mixed(np.uint64(counter))) for counter in counters] == expected
    assert [splitmix(counter) for counter in counters] == expected
