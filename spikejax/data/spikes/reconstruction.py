"""Classical reconstructions of the light from spikes, for pictures and as baselines: TFP and TFI.

Both return spikes a step, float32: with a camera of threshold theta and gain g, light = theta / g times that. After
Zhu et al., "A Retina-Inspired Sampling Method for Visual Texture Reconstruction", ICME 2019.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from spikejax.errors import InputError


def tfp(spikes: UInt8[np.ndarray, "s h w"], step: int, *, half_width: int) -> Float32[np.ndarray, "h w"]:
    """Texture from playback: the mean spike rate of the steps step - half_width to step + half_width.

    Wide windows have little noise and blur what moves; narrow ones know few levels of brightness.

    Args:
        spikes: 0 or 1.
        step: the window's middle; the window is clipped to the stream.
        half_width: from 0.

    Raises:
        InputError: the step is outside the stream, or the window has no width.
    """
    _check_step(spikes, step)
    if half_width < 0:
        raise InputError(f"expected a half width from 0, found {half_width}")
    window = spikes[max(0, step - half_width) : step + half_width + 1]
    return window.sum(axis=0, dtype=np.uint32).astype(np.float32) / np.float32(len(window))


def tfi(spikes: UInt8[np.ndarray, "s h w"], step: int, *, reach: int | None = None) -> Float32[np.ndarray, "h w"]:
    """Texture from interspike intervals: 1 / (next spike at or after the step - last spike before it).

    Sharp in time where it is bright. A pixel without both spikes in reach gets the longest interval there can be in it,
    as the darkest that could be seen; so a stream of zeros is even, and so is its first step. Holds two steps' worth of
    whole numbers in memory, whatever the stream's length.

    Args:
        spikes: 0 or 1.
        step: which is asked for.
        reach: steps that are searched on either side: step - reach to step + reach - 1, clipped to the stream. None =
            all of it.

    Raises:
        InputError: the step is outside the stream, or there is no step to search.
    """
    _check_step(spikes, step)
    if reach is not None and reach < 1:
        raise InputError(f"expected a reach of at least 1 step, found {reach}")
    first = 0 if reach is None else max(0, step - reach)
    stop = len(spikes) if reach is None else min(len(spikes), step + reach)
    to_next, following = _steps_to_spike(spikes[step:stop])
    to_last, preceding = _steps_to_spike(spikes[first:step][::-1])
    longest = max(stop - 1 - first, 1)
    interval = np.where(following & preceding, to_next + to_last + np.int32(1), np.int32(longest))
    return np.float32(1) / interval.astype(np.float32)


def _steps_to_spike(
    spikes: UInt8[np.ndarray, "s h w"],
) -> tuple[Int32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The first step with a spike, and whether there is one."""
    has_spike = np.zeros(spikes.shape[1:], np.bool_)
    steps = np.zeros(spikes.shape[1:], np.int32)
    for fired in spikes:
        has_spike |= fired != 0
        if has_spike.all():
            break
        steps += ~has_spike
    return steps, has_spike


def _check_step(spikes: UInt8[np.ndarray, "s h w"], step: int) -> None:
    if not 0 <= step < len(spikes):
        raise InputError(f"expected a step from 0 to {len(spikes) - 1} of the stream, found {step}")
