"""What a run trains and validates on, opened as its configuration says."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from spikejax.data.clips import ClipDataset
from spikejax.data.folders import FolderDataset
from spikejax.data.loader import train_loader
from spikejax.data.scenes import write_moving_photographs
from spikejax.data.statistics import SpikeStatistics, ensure_statistics
from spikejax.data.tfds_clips import TfdsDataset, shard_statistics
from spikejax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A run's data."""

    root: Path
    train_set: ClipDataset
    val_set: ClipDataset
    loader: Any  # endless iterator of batches of numpy arrays, with get_state and set_state
    statistics: dict[str, Any] | None  # of the voxels; None if the network takes no spikes

    def describe(self) -> str:
        """Returns how much there is, in words."""
        return f"{len(self.train_set)} training clips, {len(self.val_set.sequences())} validation sequences"


def data_root(config: ConfigDict, workdir: Path) -> Path:
    """Returns the folder of the run's data set; the embedded one goes to WORKDIR/data if `data.root` is empty.

    Raises:
        InputError: the source does not exist, or needs a folder that is not named.
    """
    source, root = config.data.source, config.data.root
    if source not in ("folder", "tfds", "moving_photographs"):
        raise InputError(f'data.source: expected "folder" or "tfds" or "moving_photographs", got {source!r}')
    if source != "moving_photographs" and not root:
        raise InputError("data.root: expected the folder of the data set (--config.data.root=DIR), got nothing")
    return Path(root) if root else workdir / "data"


def open_inputs(config: ConfigDict, root: Path, *, spike_bins: int | None) -> Inputs:
    """Returns the data of a run; the embedded data set is written first unless it is there.

    Args:
        config: see configs/common.py.
        root: folder of the data set, see `data_root`.
        spike_bins: time bins of the voxels that the network takes; None = it takes none.

    Raises:
        InputError: the data set is missing, damaged or does not fit the configuration.
    """
    if config.data.source == "moving_photographs":
        write_moving_photographs(root, seed=config.seed, bins=config.model.spike.bins, **config.data.scenes)
    shards = config.data.source == "tfds"
    statistics: SpikeStatistics | None = None
    if spike_bins is not None:
        statistics = (shard_statistics if shards else ensure_statistics)(root, bins=spike_bins)
    kind = TfdsDataset if shards else FolderDataset
    options = dict(frames=config.data.frames, bins=spike_bins, statistics=statistics)
    train_set: ClipDataset = kind(root, "train", crop=config.data.crop, **options)
    loader = train_loader(
        train_set,
        batch_size=config.data.batch_size,
        crop=config.data.crop,
        seed=config.seed,
        workers=config.data.workers,
        flips=config.data.flips,
        rotate=config.data.rotate,
        reverse_time=config.data.reverse_time,
        threshold_factor=config.data.threshold_factor,
    )
    val_set: ClipDataset = kind(root, "val", **options)
    fields = None if statistics is None else dataclasses.asdict(statistics)
    return Inputs(root=root, train_set=train_set, val_set=val_set, loader=loader, statistics=fields)


def read_sequences(dataset: ClipDataset, *, most: int = 0) -> Iterator[dict[str, Any]]:
    """Yields whole sequences, one at a time in memory; all if `most` is 0, else the first `most`."""
    names = [name for name, _ in dataset.sequences()]
    for name in names[: most or None]:
        yield dataset.read_sequence(name)
