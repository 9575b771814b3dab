"""Training batches in the background: shuffled, cropped, augmented, endless, and the same however they are made.

A sample is a function of (seed, epoch, index) alone: neither the number of workers, nor of hosts, nor the batch size,
nor where a run was interrupted changes it. Samples are numbered on and on, epoch after epoch, and a batch is the next
`batch_size` of them, so a batch may span two epochs and no epoch has a tail that is left out or filled up. Each of
several hosts makes its own rows of every batch: together they see every sample exactly once an epoch, and the only
state there is, the number of the next batch, is the same on all hosts and for any number of them.
"""

from __future__ import annotations

import dataclasses
import functools

import grain
import numpy as np

from spikejax.data.batches.augment import augment, draw_augmentation, draw_box
from spikejax.data.datasets.clip_dataset import ClipDataset
from spikejax.data.spikes.threshold import raise_threshold
from spikejax.errors import InputError

# As good as endless: grain wants a length, and a run of a million batches a second would take 35,000 years.
_ENDLESS = 2**60
# Batches that wait ready beside those that workers make, at most one for each worker. Not critical: where workers keep
# up more would only hold memory (8 clips of 5 frames of 256x256 with spikes: 150 MB), and where not no number helps.
_BATCHES_READY = 8


@dataclasses.dataclass(frozen=True)
class SampleDraws:
    """What is drawn at random for every sample.

    Attributes:
        crop: side in pixels of the random squares of the input; the sharp ones are `scale` times as large, and a
            multiple of the ratio of picture size to spike size.
        flips: whether samples are mirrored at random, left and right, up and down.
        rotate: whether they are turned by a random number of quarter turns.
        reverse_time: whether they are played backwards at random.
        repeat_last: how many times the last frame is there once more at the end, after all else.
        threshold_factor: the spike camera's threshold is raised by a random factor up to this one, see
            `threshold.raise_threshold`; the factor's logarithm is uniform. 1 = never.
    """

    crop: int
    flips: bool = True
    rotate: bool = True
    reverse_time: bool = False
    repeat_last: int = 0
    threshold_factor: float = 1.0

    def __post_init__(self) -> None:
        """Raises `InputError` for a factor that would lower the threshold."""
        if not self.threshold_factor >= 1:
            raise InputError(
                "expected a threshold factor of at least 1 (spikes that were never there cannot be added), "
                f"found {self.threshold_factor}"
            )


def train_loader(
    dataset: ClipDataset,
    draws: SampleDraws,
    *,
    batch_size: int,
    seed: int,
    workers: int,
    shard_index: int = 0,
    shard_count: int = 1,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """An endless iterator over batches, whose `get_state` and `set_state` continue at the very next one.

    What goes wrong while a batch is made in the background is raised by the `next` that would have returned it.

    Args:
        dataset: where samples come from. Epoch after epoch, each in an order of its own; a batch may span two.
        draws: what is random about a sample.
        batch_size: samples per batch, of all hosts together.
        seed: of the order, the squares and the augmentation.
        workers: threads that make batches ahead of time; 0 makes each when it is asked for. Threads rather than
            processes: decoding and unpacking release the interpreter's lock, and the decoded pictures are shared.
        shard_index: which of the hosts this is, from 0.
        shard_count: their number; it must divide the batch size. Host i makes the i-th part of every batch.

    Returns:
        An iterator over {"input", "sharp": float32 [b, t, crop, crop, 3], "voxels": float32 [b, t, h', w', k]}, the
        last only if the data set is read with spikes; b is batch_size / shard_count. What a degradation makes has the
        shapes that it names.

    Raises:
        InputError: the crop is larger than the pictures or does not lie on the grid of the spikes, or a number is out
            of its range.
    """
    if batch_size < 1 or workers < 0:
        raise InputError(
            f"expected a batch size of at least 1 and no negative number of workers, found {batch_size}, {workers}"
        )
    if not 0 <= shard_index < shard_count or batch_size % shard_count:
        raise InputError(
            "expected a number of hosts that divides the batch size, and this one's number below it, "
            f"found host {shard_index} of {shard_count} and batch size {batch_size}"
        )
    _check_crop(dataset, draws.crop)
    samples = _Samples(dataset, draws, seed)
    rows = _Rows(batch_size, batch_size // shard_count, shard_index)
    numbers = grain.MapDataset.range(_ENDLESS).map(rows)
    batches = numbers.map(samples).batch(rows.own).map(dataset.normalise)
    ready = workers + min(workers, _BATCHES_READY)
    ahead = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=ready)
    return iter(batches.to_iter_dataset(ahead))


def batch_names(dataset: ClipDataset, *, batch_size: int, seed: int, number: int) -> list[str]:
    """Sequence and frames of every sample of batch `number` (from 0) that `train_loader` makes with these arguments."""
    names = []
    for sample in range(number * batch_size, (number + 1) * batch_size):
        epoch, position = divmod(sample, len(dataset))
        names.append(dataset.window_name(int(_shuffled(len(dataset), seed, epoch)[position])))
    return names


def _shuffled(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)


def _check_crop(dataset: ClipDataset, crop: int) -> None:
    scale = dataset.degradation.scale
    for index in dataset.first_windows():
        height, width, ratio = dataset.size(index)
        if not 0 < crop * scale <= min(height, width) or crop * scale % ratio:
            enlarged = f", times {scale}, the factor of super-resolution" if scale > 1 else ""
            raise InputError(
                f"expected a crop of at most {min(height, width)} pixels (pictures of {height}x{width}), "
                f"a multiple of {ratio} (picture size / spike size), found {crop}{enlarged}"
            )


@dataclasses.dataclass(frozen=True)
class _Rows:
    """This host's samples among those of all hosts: rows [host * own, (host + 1) * own) of every batch."""

    batch_size: int
    own: int
    host: int

    def __call__(self, number: int) -> int:
        batch, row = divmod(int(number), self.own)
        return batch * self.batch_size + self.host * self.own + row


class _Samples:
    """The samples of all epochs one after the other, by their number, as stored."""

    def __init__(self, dataset: ClipDataset, draws: SampleDraws, seed: int) -> None:
        self._dataset = dataset
        self._draws = draws
        self._seed = seed
        # Two, because a batch may span two epochs, and threads work on neighbouring batches.
        self._order = functools.lru_cache(maxsize=2)(functools.partial(_shuffled, len(dataset), seed))

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        epoch, position = divmod(number, len(self._dataset))
        index = int(self._order(epoch)[position])
        rng = np.random.default_rng([self._seed, epoch, index])
        draws, (height, width, _) = self._draws, self._dataset.size(index)
        side = draws.crop * self._dataset.degradation.scale
        box = draw_box(rng, height=height, width=width, crop=side, ratio=self._dataset.grid(index))
        augmentation = draw_augmentation(rng, flips=draws.flips, rotate=draws.rotate, reverse_time=draws.reverse_time)
        sample = self._dataset.read_stored(index, box, rng)
        if draws.threshold_factor > 1 and "voxels" in sample:
            factor = draws.threshold_factor ** rng.uniform()
            sample["voxels"] = raise_threshold(sample["voxels"], factor, rng=rng)
        sample = augment(sample, augmentation)
        if draws.repeat_last:
            sample = {key: np.concatenate([clip, *[clip[-1:]] * draws.repeat_last]) for key, clip in sample.items()}
        return sample
