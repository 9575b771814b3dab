"""Inner loops that are compiled, by numba: the spike camera's pixels with their noise.

All of them are in one file, because numba's cache of compiled code on disk notices changes to a function's own file
alone. They release the interpreter's lock, so that threads run them side by side, and write to arrays of their caller.
Random numbers are functions of a key and a counter: a pixel's noise at a step does not depend on what was asked before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8, UInt32

from spikejax.data.compiled import compiled

# Pixels that are followed through all steps before the next ones: their charge stays in the processor's first cache.
# Not critical: from 1024 to 65536 the time for noisy light differs by 4%, that for light without noise by 13% (40 steps
# of 250 x 400 pixels, least CPU time of 9 runs in turn); 256 takes 1.07 and 1.18 of the time.
_BLOCK = 2048
# What a step of the counter adds before it is mixed: SplitMix64 (Steele et al., 2014), entered at any point.
_GOLDEN, _MIX_1, _MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
# The second and the third number of a counter are the first ones of counters half and a quarter of the range away.
_SECOND, _THIRD = np.uint64(2**63), np.uint64(2**62)
# An alias table has at most so many slots: an entry's lowest bits are the slot's other outcome, the rest its own share.
_OTHER_BITS = 12
MAX_SLOTS = 2**_OTHER_BITS


class PoissonTables(NamedTuple):
    """Alias tables (see `fill_alias_tables`) of Poisson distributions with evenly spaced means.

    Attributes:
        coarse: the last level's mean is that of light 1.
        first: the outcome that a coarse level's first slot stands for; a fine level's stands for 0.
        fine: the mean after the last level's is that of the coarse level 1.
        fine_mean: mean of the fine level 1.
    """

    coarse: UInt32[np.ndarray, "l n"]
    first: UInt32[np.ndarray, " l"]
    fine: UInt32[np.ndarray, "f m"]
    fine_mean: float


@compiled
def _mixed(counter: np.uint64) -> np.uint64:
    """64 random bits of a counter."""
    bits = (counter ^ (counter >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))


@compiled
def fill_alias_tables(shares: Float64[np.ndarray, "l n"], tables: UInt32[np.ndarray, "l n"]) -> None:
    """Fills `tables` so that two look-ups draw from each row of `shares`, the distribution of n outcomes.

    Walker's alias method by Vose (1991): all slots are equally likely, and each holds its own outcome and one other.
    An entry is the share of the slot's own outcome, and in its lowest bits the other one.
    """
    levels, slots = shares.shape
    whole = 2 ** (32 - _OTHER_BITS)
    height = np.empty(slots, np.float64)  # of what is in a slot; the slots' mean is 1
    low, high = np.empty(slots, np.int64), np.empty(slots, np.int64)
    for level in range(levels):
        lows = highs = 0
        for slot in range(slots):
            height[slot] = shares[level, slot] * slots
            tables[level, slot] = np.uint32(slot)  # whatever the share, it is itself
            if height[slot] < 1:
                low[lows] = slot
                lows += 1
            else:
                high[highs] = slot
                highs += 1
        while lows and highs:
            lows -= 1
            slot, other = low[lows], high[highs - 1]
            share = min(np.int64(height[slot] * whole + 0.5), whole - 1)
            tables[level, slot] = np.uint32(share << _OTHER_BITS) | np.uint32(other)
            height[other] -= 1 - height[slot]
            if height[other] < 1:
                highs -= 1
                low[lows] = other
                lows += 1


@compiled
def _add_from_table(
    table: UInt32[np.ndarray, "l n"],
    levels: UInt32[np.ndarray, " b"],
    bits: UInt32[np.ndarray, " b"],
    counts: UInt32[np.ndarray, " b"],
) -> None:
    """Adds an outcome of each level's distribution; the random bits are a position in its row of slots."""
    slots = np.uint64(table.shape[1])
    entries = table.reshape(-1)
    for i in range(len(levels)):
        position = np.uint64(bits[i]) * slots
        slot = np.uint32(position >> np.uint64(32))
        entry = entries[np.uint64(levels[i]) * slots + slot]
        own = np.uint32(position) >> np.uint32(_OTHER_BITS) < entry >> np.uint32(_OTHER_BITS)
        counts[i] += slot if own else entry & np.uint32(MAX_SLOTS - 1)


@compiled
def _small_poisson(mean: float, bits: np.uint32) -> int:
    """A Poisson number of a small mean, by inversion."""
    uniform = bits * 2.0**-32
    if uniform < 1 - mean:  # below exp(-mean), so 0: nearly always the answer, and without the exponential
        return 0
    share = math.exp(-mean)
    count = 0
    while uniform >= share and share > 1e-12:
        uniform -= share
        count += 1
        share *= mean / count
    return count


@compiled
def _count_photons(
    light: Float32[np.ndarray, " b"],
    tables: PoissonTables,
    counter: np.uint64,
    counts: UInt32[np.ndarray, " b"],
    scratch: UInt32[np.ndarray, "4 b"],
    rest: Float32[np.ndarray, " b"],
) -> None:
    """Sets Poisson numbers for light in [0, 1]; the last two arguments are room to work in.

    Exact, because Poisson numbers add up: one for the whole coarse levels in the light, one for the whole fine levels
    in the rest, and one for what is left of it. In several passes, most of which the processor does many pixels at a
    time.
    """
    # One by one: unpacked at once, numba would take them for arrays with gaps, and the passes for single pixels.
    size = len(light)
    coarse, fine, bits, more_bits = scratch[0][:size], scratch[1][:size], scratch[2][:size], scratch[3][:size]
    coarse_levels, fine_levels = np.float32(len(tables.coarse) - 1), np.float32(len(tables.fine))
    # Six passes over the block's b pixels, each with one kind of work, so that all but the look-ups are vectorised.
    # 1: 64 random bits a pixel, half for the coarse table and half for the fine one.
    for i in range(len(light)):
        mixed = _mixed(counter + np.uint64(i) * _GOLDEN)
        bits[i], more_bits[i] = np.uint32(mixed >> np.uint64(32)), np.uint32(mixed)
    # 2: light = coarse level + fine level + rest, in units of the tables' steps.
    for i in range(len(light)):
        level = min(max(light[i], np.float32(0)), np.float32(1)) * coarse_levels
        coarse[i] = np.uint32(level)
        level = (level - np.float32(coarse[i])) * fine_levels
        fine[i] = np.uint32(level)
        rest[i] = level - np.float32(fine[i])
    # 3 and 4: a coarse table begins at the first outcome that has a share of its level; then two look-ups each.
    for i in range(len(light)):
        counts[i] = tables.first[coarse[i]]
    _add_from_table(tables.coarse, coarse, bits, counts)
    _add_from_table(tables.fine, fine, more_bits, counts)
    # 5 and 6: the rest, below one fine level, has a mean so small that adding up probabilities takes a step or two.
    for i in range(len(light)):
        bits[i] = np.uint32(_mixed(counter + np.uint64(i) * _GOLDEN + _SECOND) >> np.uint64(32))
    for i in range(len(light)):
        counts[i] += _small_poisson(rest[i] * tables.fine_mean, bits[i])


@compiled
def _add_dark(
    dark: Float32[np.ndarray, " n"],
    theta: Float32[np.ndarray, " n"],
    counter: np.uint64,
    arriving: Float32[np.ndarray, " b"],
    bits: UInt32[np.ndarray, " b"],
) -> None:
    """Adds the charge of dark spikes, a threshold's worth each; `bits` is room to work in."""
    for i in range(len(dark)):
        bits[i] = np.uint32(_mixed(counter + np.uint64(i) * _GOLDEN + _THIRD) >> np.uint64(32))
    for i in range(len(dark)):
        count = _small_poisson(dark[i], bits[i])
        if count > 0:
            arriving[i] += theta[i] * np.float32(count)


@compiled
def _fire(
    arriving: Float32[np.ndarray, " b"],
    theta: Float32[np.ndarray, " n"],
    subtract: bool,
    charge: Float32[np.ndarray, " n"],
    fired: UInt8[np.ndarray, " n"],
) -> None:
    """Integrates a step's charge and fires where it reaches the threshold."""
    if subtract:
        for i in range(len(charge)):
            total = charge[i] + arriving[i]
            fires = total >= theta[i]
            fired[i] = fires
            # At most a threshold stays: a saturated pixel must not go on firing long after the light has passed.
            charge[i] = min(total - (theta[i] if fires else np.float32(0)), theta[i])
    else:
        for i in range(len(charge)):
            total = charge[i] + arriving[i]
            fires = total >= theta[i]
            fired[i] = fires
            charge[i] = np.float32(0) if fires else total


@compiled
def expose(
    light: Float32[np.ndarray, "s n"],
    gain: np.float32,
    photons: np.float32,
    tables: PoissonTables,
    dark: Float32[np.ndarray, " m"],
    theta: Float32[np.ndarray, " n"],
    subtract: bool,
    key: np.uint64,
    first_step: int,
    charge: Float32[np.ndarray, " n"],
    spikes: UInt8[np.ndarray, "s n"],
) -> None:
    """Fills `spikes`, and goes on with `charge`, as `spike_camera.SpikeCamera` describes.

    Args:
        light: finite.
        gain: charge at light 1.
        photons: that light 1 brings; 0 for light without noise.
        tables: for `photons`.
        dark: each pixel's mean number of dark spikes a step; empty for none.
        theta: thresholds.
        subtract: whether firing takes the threshold away, or all charge.
        key: of the noise.
        first_step: number of steps before these.
        charge: of every pixel.
        spikes: the result.
    """
    steps, pixels = light.shape
    arriving = np.empty(_BLOCK, np.float32)
    counts, scratch, rest = np.empty(_BLOCK, np.uint32), np.empty((4, _BLOCK), np.uint32), np.empty(_BLOCK, np.float32)
    # Blocks of pixels outside, steps inside: a block's charge, thresholds and scratch (2048 pixels, 4 bytes each and
    # array) stay in the first cache, while the light [s, n] is read once, a row of the block at a time.
    for start in range(0, pixels, _BLOCK):
        block = slice(start, min(start + _BLOCK, pixels))
        for step in range(steps):
            arriving_light = light[step, block]
            # The counter is a function of step and pixel alone: cutting the stream elsewhere changes no number.
            counter = key + np.uint64((first_step + step) * pixels + start) * _GOLDEN
            if photons > 0:
                _count_photons(arriving_light, tables, counter, counts, scratch, rest)
                for i in range(len(arriving_light)):
                    # Light beyond 1 adds charge, but no noise of its own: the tables end at 1.
                    arriving[i] = gain * (
                        np.float32(counts[i]) / photons + max(arriving_light[i] - np.float32(1), np.float32(0))
                    )
            else:
                for i in range(len(arriving_light)):
                    arriving[i] = gain * arriving_light[i]
            if len(dark) > 0:
                _add_dark(dark[block], theta[block], counter, arriving, counts)
            _fire(arriving, theta[block], subtract, charge[block], spikes[step, block])
