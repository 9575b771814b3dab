"""TFDS shards (see `tfds_builder`) as clips, the same as those of the folders that the shards were made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikejax.data.datasets.clip_dataset import ClipDataset, check_clip_size
from spikejax.data.datasets.degradation import AS_READ, Degradation
from spikejax.data.datasets.voxel_statistics import SpikeStatistics, statistics_from
from spikejax.errors import InputError
from spikejax.io.box import Box

AnyPath = str | os.PathLike[str]
NAME = "spike_deblurring"


@dataclass(frozen=True)
class ShardRun:
    """Consecutive frames of a sequence, see `clips.ClipRun`; `first` is the record of the first one."""

    name: str
    first: int
    stems: tuple[str, ...]
    height: int
    width: int
    ratio: int


class TfdsDataset(ClipDataset[ShardRun]):
    """The windows of consecutive frames of one split, in the order of the folders."""

    def __init__(
        self,
        data_dir: AnyPath,
        split: str,
        *,
        frames: int,
        bins: int | None,
        crop: int | None = None,
        statistics: SpikeStatistics | None = None,
        degradation: Degradation = AS_READ,
    ):
        """Opens the shards; their records are read when they are asked for.

        Args:
            data_dir: where TFDS keeps its data sets, or the folder of the shards.
            split: "train" or "val".
            frames: of the input of a sample; sequences with too few for it are left out.
            bins: time bins of the voxels; None reads no spikes at all.
            crop: side of the training crop of the input; sequences whose short side is below it are left out.
            statistics: what standardises the voxels, such as a checkpoint's; None for those of the shards.
            degradation: how the input is made of the sharp pictures, or that it is read.

        Raises:
            InputError: there are no shards, no such split, nothing that can be used, or voxels of other bins.
        """
        check_clip_size(frames, bins)
        if degradation.reads_input and degradation.scale > 1:
            raise InputError(
                f"expected an input made of the sharp pictures, shards have none that is smaller: {data_dir}"
            )
        builder = _open_builder(data_dir)
        metadata = builder.info.metadata
        if split not in builder.info.splits:
            raise InputError(f"expected a split {split}, found {', '.join(builder.info.splits)}: {builder.data_path}")
        if bins is not None and statistics is None:
            statistics = shard_statistics(data_dir, bins=bins)
        runs = _runs(metadata["runs"][split], spikes=bins is not None)
        span, side = degradation.span(frames), (crop or 1) * degradation.scale
        usable = [run for run in runs if len(run.stems) >= span and min(run.height, run.width) >= side]
        if not usable:
            raise InputError(f"expected sequences of {span} frames and {side} pixels, found none: {builder.data_path}")
        super().__init__(usable, frames=frames, bins=bins, statistics=statistics, degradation=degradation)
        self._skipped = {} if bins is not None else {"voxels": _skip_decoding()}
        self._records = builder.as_data_source(split=split, decoders=self._skipped or None)

    def _read_frames(self, run: ShardRun, start: int, stop: int, box: Box) -> dict[str, np.ndarray]:
        records = self._records.__getitems__(range(run.first + start, run.first + stop))
        # Shards call the input what the folders do.
        pictures = {"input": "blur", "sharp": "sharp"} if self.degradation.reads_input else {"sharp": "sharp"}
        clip = {key: np.stack([record[feature][box.slices] for record in records]) for key, feature in pictures.items()}
        if self._bins is not None:
            part = (box // run.ratio).slices
            clip["voxels"] = np.stack([record["voxels"][part] for record in records])
        return clip


def shard_statistics(data_dir: AnyPath, *, bins: int) -> SpikeStatistics:
    """The statistics of the training split's voxels; raises `InputError` if they are for other bins."""
    builder = _open_builder(data_dir)
    return statistics_from(builder.info.metadata["statistics"], bins=bins, source=str(builder.data_path))


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
