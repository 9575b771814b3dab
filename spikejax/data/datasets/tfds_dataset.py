"""TFDS shards (see `tfds_builder`) as clips, the same as those of the folders that the shards were made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.datasets.voxel_statistics import SpikeStatistics, statistics_from
from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.paths import AnyPath

NAME = "spike_deblurring"


@dataclass(frozen=True)
class ShardRun:
    """Consecutive frames of a sequence, see `ClipRun`; `first` is the record of the first one."""

    name: str
    first: int
    stems: tuple[str, ...]
    height: int
    width: int
    ratio: int


class TfdsDataset(ClipDataset[ShardRun]):
    """The windows of consecutive frames of one split, in the order of the folders."""

    def __init__(self, data_dir: AnyPath, split: str, spec: ClipSpec):
        """Opens the shards; their records are read when they are asked for.

        Args:
            data_dir: where TFDS keeps its data sets, or the folder of the shards.
            split: "train" or "val".
            spec: what is asked of the clips; without statistics those of the shards are taken. Sequences that are too
                short or too small for it are left out.

        Raises:
            InputError: there are no shards, no such split, nothing that can be used, or voxels of other bins.
        """
        if spec.degradation.reads_input and spec.degradation.scale > 1:
            raise InputError(
                f"expected an input made of the sharp pictures, shards have none that is smaller: {data_dir}"
            )
        builder = _open_builder(data_dir)
        if split not in builder.info.splits:
            raise InputError(f"expected a split {split}, found {', '.join(builder.info.splits)}: {builder.data_path}")
        if spec.bins is not None and spec.statistics is None:
            spec = replace(spec, statistics=self.training_statistics(data_dir, bins=spec.bins))
        span, side = spec.span, spec.smallest_side
        runs = _runs(builder.info.metadata["runs"][split], spikes=spec.bins is not None)
        usable = [run for run in runs if len(run.stems) >= span and min(run.height, run.width) >= side]
        if not usable:
            raise InputError(f"expected sequences of {span} frames and {side} pixels, found none: {builder.data_path}")
        super().__init__(usable, spec)
        skipped = {} if spec.bins is not None else {"voxels": _skip_decoding()}
        self._records = builder.as_data_source(split=split, decoders=skipped or None)

    @classmethod
    def training_statistics(cls, root: AnyPath, *, bins: int) -> SpikeStatistics:
        """The statistics that are kept with the shards; raises `InputError` if they are for other bins."""
        builder = _open_builder(root)
        return statistics_from(builder.info.metadata["statistics"], bins=bins, source=str(builder.data_path))

    def read_frames(self, run: ShardRun, start: int, stop: int, box: Box) -> dict[str, np.ndarray]:
        """See `ClipDataset.read_frames`."""
        records = self._records.__getitems__(range(run.first + start, run.first + stop))
        # Shards call the input what the folders do.
        pictures = {"input": "blur", "sharp": "sharp"} if self.degradation.reads_input else {"sharp": "sharp"}
        clip = {key: np.stack([record[feature][box.slices] for record in records]) for key, feature in pictures.items()}
        if self.spec.bins is not None:
            part = (box // run.ratio).slices
            clip["voxels"] = np.stack([record["voxels"][part] for record in records])
        return clip


def _open_builder(data_dir: AnyPath) -> Any:
    import tensorflow_datasets as tfds  # only where it is asked for: it takes seconds to import

    data_dir = Path(data_dir)
    versions = [data_dir, *sorted(data_dir.glob(f"{NAME}/*"), reverse=True)]
    for folder in versions:
        if (folder / "dataset_info.json").exists() and (folder / "metadata.json").exists():
            return tfds.builder_from_directory(folder)
    raise InputError(f"expected TFDS shards in {data_dir} or {data_dir}/{NAME}/VERSION, found none")


def _skip_decoding() -> Any:
    import tensorflow_datasets as tfds

    return tfds.decode.SkipDecoding()


def _runs(stored: list[Mapping[str, Any]], *, spikes: bool) -> list[ShardRun]:
    runs, first = [], 0
    for run in stored:
        ratio = run["ratio"] if spikes else 1
        runs.append(ShardRun(run["name"], first, tuple(run["stems"]), run["height"], run["width"], ratio))
        first += len(run["stems"])
    return runs
