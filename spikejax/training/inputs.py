"""What a run trains and validates on, opened as its configuration says."""

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.simulation.camera_settings import CameraSettings, SensorNoise
from spikejax.data.sources import MovingPhotographs, find_dataset, open_dataset
from spikejax.distributed import hosts, sharding
from spikejax.errors import InputError
from spikejax.hardware.host import cpu_count
from spikejax.io.paths import UserPath, as_path, local_only
from spikejax.models.traits import NetworkTraits
from spikejax.training.degradation_config import degradation_of


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A run's data.

    Attributes:
        train_set: what it is trained on.
        val_set: what it is validated on.
        loader: endless iterator of this host's part of batches of numpy arrays, with `get_state` and `set_state`.
        batch_size: clips of a batch, over all hosts.
        seed: of the order of samples.
        statistics: of the voxels; None if the network takes no spikes.
    """

    train_set: ClipDataset
    val_set: ClipDataset
    loader: Any
    batch_size: int
    seed: int
    statistics: dict[str, Any] | None

    def names(self, number: int) -> list[str]:
        """Sequence and frames of every clip of batch `number`, from 0, over all hosts."""
        from spikejax.data.batches.loader import batch_names  # here, for `data_root` alone does without the extra train

        return batch_names(self.train_set, batch_size=self.batch_size, seed=self.seed, number=number)

    @property
    def spike_ratio(self) -> int | None:
        """Size of the sharp pictures over that of the spikes; None if the network takes no spikes."""
        return None if self.statistics is None else self.train_set.size(0)[2]

    @property
    def identity(self) -> dict[str, int]:
        """What tells the data set's clips from others: their number, and a checksum of their names in their order."""
        names = "\n".join(self.train_set.window_name(index) for index in range(len(self.train_set)))
        return {"clips": len(self.train_set), "names": zlib.crc32(names.encode(errors="surrogateescape"))}

    def describe(self) -> str:
        """How much there is, in words."""
        amount = f"{len(self.train_set)} training clips, {len(self.val_set.sequences())} validation sequences"
        sizes = () if self.statistics is None else (self.train_set.spike_sizes or self.val_set.spike_sizes)
        return ", ".join((amount, *sizes))


def data_root(config: ConfigDict, workdir: Path) -> UserPath:
    """The folder of the run's data set; the embedded one goes to WORKDIR/data if `data.root` is empty.

    Raises:
        InputError: the source does not exist, or needs a folder that is not named, or one on a disk.
    """
    root, kind = config.data.root, find_dataset(config.data.source)
    if kind.needs_root and not root:
        raise InputError("data.root: expected the folder of the data set (--config.data.root=DIR), found none")
    if not root:
        return workdir / "data"
    return as_path(root) if kind.reads_buckets else local_only(root, what="data.root")


def data_seed(config: ConfigDict) -> int:
    """The seed of all that is random in the data of a run."""
    return config.seed if config.data.seed == -1 else config.data.seed


def embedded_data(config: ConfigDict, folder: Path, noise: SensorNoise | None = None) -> Path:
    """The folder, within `folder`, of the embedded data set of a run; it is written if it is not there.

    Data sets of other settings or of another noise have other names, so that runs can share `folder`.

    Args:
        config: of the run.
        folder: of all data sets.
        noise: of the spike camera. The validation split has the photographs, motion and pictures of the run's own data
            set; there is one training sequence, as the network was trained on spikes without noise.

    Raises:
        InputError: the run's data set is not the embedded one.
    """
    source, bins, seed = config.data.source, config.model.spike.bins, data_seed(config)
    kind = find_dataset(source)
    if not issubclass(kind, MovingPhotographs):
        raise InputError(
            "expected data.source moving_photographs, the embedded data set, which alone is filmed again with noise, "
            f"found {source!r}: python -m spikejax.simulate makes another data set"
        )
    settings = config.data.scenes.to_dict()
    if noise is not None:
        settings |= {"train_sequences": 1, "camera": CameraSettings(noise=noise)}
    description = json.dumps([source, bins, seed, settings], default=dataclasses.asdict, sort_keys=True)
    root = folder / f"{zlib.crc32(description.encode()):08x}"
    kind.make(root, bins=bins, seed=seed, settings=settings)
    return root


def open_inputs(
    config: ConfigDict, root: UserPath, *, traits: NetworkTraits, mesh: sharding.DeviceMesh | None = None
) -> Inputs:
    """The data of a run, of which each host reads its part; the embedded data set is written if need be.

    Args:
        config: see `spikejax.config.defaults`.
        root: folder of the data set, see `data_root`; all hosts see the same.
        traits: of the network.
        mesh: says which clips of a batch this host's devices hold; None = all.

    Raises:
        InputError: the data set is missing, damaged or does not fit the configuration.
    """
    from spikejax.data.batches.loader import SampleDraws, train_loader

    data, spike_bins = config.data, traits.spike_bins
    training, validation = (degradation_of(config, traits, validation=validation) for validation in (False, True))
    kind, seed = find_dataset(data.source), data_seed(config)
    statistics: SpikeStatistics | None = None
    with hosts.first_host_first("preparing the data"):  # what the first host writes the others read
        kind.make(root, bins=config.model.spike.bins, seed=seed, settings=data.scenes.to_dict())
        if spike_bins is not None:
            statistics = kind.training_statistics(root, bins=spike_bins)
    spec = ClipSpec(
        data.frames - data.repeat_last,
        spike_bins,
        crop=data.crop,
        degradation=training,
        statistics=statistics,
        normalise=traits.spike_normalise,
    )
    train_set = open_dataset(kind, root, "train", spec)
    own = range(data.batch_size) if mesh is None else sharding.host_rows(mesh, data.batch_size)
    draws = SampleDraws(
        crop=data.crop,
        flips=data.flips,
        rotate=data.rotate,
        reverse_time=data.reverse_time,
        repeat_last=data.repeat_last,
        threshold_factor=data.threshold_factor,
    )
    loader = train_loader(
        train_set,
        draws,
        batch_size=data.batch_size,
        seed=seed,
        workers=cpu_count() if data.workers == -1 else data.workers,
        shard_index=own.start // len(own),
        shard_count=data.batch_size // len(own),
    )
    if mesh is not None and spike_bins is not None:
        for ratio in {train_set.size(window)[2] for window in train_set.first_windows()}:
            sharding.check_rows(
                data.crop * training.scale // ratio, mesh, owner=f"the spikes of crops of {data.crop} pixels"
            )
    val_set = open_dataset(kind, root, "val", dataclasses.replace(spec, crop=None, degradation=validation))
    fields = None if statistics is None else dataclasses.asdict(statistics)
    return Inputs(train_set, val_set, loader, data.batch_size, seed, statistics=fields)
