"""Training batches in the background: shuffled, cropped, augmented, endless, and the same however they are made.

A sample is a function of (seed, epoch, index) alone: neither the number of workers, nor the batch size, nor where a run
was interrupted changes it. Samples are numbered on and on, so the only state there is is the number of the next batch.
"""

from __future__ import annotations

import functools
from typing import Any

import grain
import numpy as np

from spikejax.data.augment import augment, draw_augmentation, draw_box
from spikejax.data.folders import FolderDataset
from spikejax.errors import InputError

# As good as endless: grain wants a length, and a run of a million batches a second would take 35,000 years.
_ENDLESS = 2**60
# Batches that wait ready for each worker; more would only hold memory.
_BATCHES_AHEAD = 2


def train_loader(
    dataset: FolderDataset,
    *,
    batch_size: int,
    crop: int,
    seed: int,
    workers: int,
    flips: bool = True,
    rotate: bool = True,
    reverse_time: bool = False,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """An endless iterator over batches, whose `get_state` and `set_state` continue at the very next one.

    Args:
        dataset: where samples come from. Epoch after epoch, each in an order of its own; a batch may span two.
        batch_size: samples per batch.
        crop: side in pixels of the random squares, a multiple of the ratio of picture size to spike size.
        seed: of the order, the squares and the augmentation.
        workers: threads that make batches ahead of time; 0 makes each when it is asked for. Threads rather than
            processes: decoding and unpacking release the interpreter's lock, and the decoded pictures are shared.
        flips: mirror at random, left and right, up and down.
        rotate: turn by a random number of quarter turns.
        reverse_time: play backwards at random.

    Returns:
        An iterator over {"blur", "sharp": float32 [b, t, crop, crop, 3], "voxels": float32 [b, t, h', w', k]}, the last
        only if the data set is read with spikes.

    Raises:
        InputError: the crop is larger than the pictures or does not lie on the grid of the spikes.
    """
    if batch_size < 1 or workers < 0:
        raise InputError(
            f"expected a batch size of at least 1 and no negative number of workers, found {batch_size}, {workers}"
        )
    _check_crop(dataset, crop)
    samples = _Samples(dataset, crop=crop, seed=seed, flips=flips, rotate=rotate, reverse_time=reverse_time)
    batches = grain.MapDataset.range(_ENDLESS).map(samples).batch(batch_size)
    ahead = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=workers * _BATCHES_AHEAD)
    return iter(batches.to_iter_dataset(ahead))


def _check_crop(dataset: FolderDataset, crop: int) -> None:
    for index in dataset.first_windows():
        height, width, ratio = dataset.size(index)
        if not 0 < crop <= min(height, width) or crop % ratio:
            raise InputError(
                f"expected a crop of at most {min(height, width)} pixels (pictures of {height}x{width}), "
                f"a multiple of {ratio} (picture size / spike size), found {crop}"
            )


class _Samples:
    """The samples of all epochs one after the other, by their number."""

    def __init__(
        self, dataset: FolderDataset, *, crop: int, seed: int, flips: bool, rotate: bool, reverse_time: bool
    ) -> None:
        self._dataset = dataset
        self._crop = crop
        self._seed = seed
        self._draw = functools.partial(draw_augmentation, flips=flips, rotate=rotate, reverse_time=reverse_time)
        # Two, because a batch may span two epochs, and threads work on neighbouring batches.
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def __call__(self, number: int) -> dict[str, Any]:
        epoch, position = divmod(int(number), len(self._dataset))
        index = int(self._order(epoch)[position])
        rng = np.random.default_rng([self._seed, epoch, index])
        height, width, ratio = self._dataset.size(index)
        box = draw_box(rng, height=height, width=width, crop=self._crop, ratio=ratio)
        sample = self._dataset.read(index, box)
        del sample["name"]
        return augment(sample, self._draw(rng))

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._dataset))
