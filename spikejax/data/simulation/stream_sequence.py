"""A spike-deblurring sequence made of a real stream of spikes alone, of which nobody knows the truth.

Each exposure is a window of the stream. What an ordinary camera would have seen is the mean rate over it: that is the
blurry picture. In the place of the sharp one stands what the spikes themselves say of its middle, TFI: noisy and of few
levels, but not blurred, so that a restored frame has to be more like it than the blurry picture is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.light import to_display
from spikejax.data.simulation.rig import Exposure
from spikejax.data.simulation.write_sequence import add_to_data_set
from spikejax.data.spikes.any_stream import read_spikes, size_of
from spikejax.data.spikes.reconstruction import tfi
from spikejax.errors import InputError
from spikejax.io.pixel_depth import to_uint8

# What dataset.json says.
_CUT_BY = "spikejax.simulate, of a stream"


def add_stream(
    path: Path,
    root: str | Path,
    name: str,
    *,
    steps: int,
    theta: float,
    size: tuple[int, int] | None = None,
    upside_down: bool = False,
    max_frames: int | None = None,
    split: str,
    overwrite: bool = False,
    print_line: Callable[[str], object] = lambda line: None,
) -> Path:
    """Writes a stream as a sequence of a data set, which is made if it is not there; returns the sequence's folder.

    Args:
        path: a `.dat`, `.npy` or `.npz` of spikes.
        root: the data set.
        name: of the sequence.
        steps: of the stream in an exposure.
        theta: a pixel that fires 1 / theta times a step is white.
        size: height and width of the spikes, where neither the file nor a config.yaml says it (see `stream_size`).
        upside_down: whether the camera stored the rows the other way round.
        max_frames: the largest number of exposures; None = all.
        split: "train" or "val".
        overwrite: whether a sequence of that name is replaced.
        print_line: shows a line to the user.

    Raises:
        InputError: the stream is damaged, of unknown size or shorter than an exposure; or the sequence is there.
    """
    found = size_of(path, given=size, option="--size")
    print_line(found.note)
    spikes = read_spikes(path, height=found.height, width=found.width, upside_down=upside_down)
    count = len(spikes) // steps
    if count == 0:
        raise InputError(f"expected a stream of at least {steps} steps, the length of one exposure: {path}")
    return add_to_data_set(
        root,
        name,
        _exposures(spikes, steps, min(count, max_frames or count), theta),
        description={"source": _CUT_BY, "steps_per_frame": steps, "theta": theta},
        provenance={"input": path.name},
        split=split,
        overwrite=overwrite,
    )


def _exposures(spikes: UInt8[np.ndarray, "s h w"], steps: int, count: int, theta: float) -> Iterator[Exposure]:
    for frame in range(count):
        window = spikes[frame * steps : (frame + 1) * steps]
        rate = window.mean(axis=0, dtype=np.float32)
        # Of the whole stream, as a dark pixel's spikes around the middle may lie in the exposures beside.
        instant = tfi(spikes, frame * steps + steps // 2)
        yield Exposure(_grey(rate, theta), _grey(instant, theta), window)


def _grey(rate: Float32[np.ndarray, "h w"], theta: float) -> UInt8[np.ndarray, "h w 3"]:
    return to_uint8(to_display(np.repeat(rate[..., None] * np.float32(theta), 3, axis=-1)))
