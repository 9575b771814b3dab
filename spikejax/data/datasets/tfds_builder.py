"""The TFDS builder: a data set in folders as sharded files that TFDS and the tools around it read.

    python -m spikejax.prepare --output ROOT --tfds DIR

An example is a frame, in the order of the sequences, so that a clip is consecutive examples. What the frames' order and
sizes are, and the statistics, is in the builder's metadata: a clip is located without reading a record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.layout import SPLITS
from spikejax.data.datasets.voxel_statistics import read_statistics
from spikejax.errors import InputError
from spikejax.io.paths import AnyPath


class SpikeDeblurring(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes the shards that `tfds.data_source("spike_deblurring", data_dir=DIR)` and `tfds.load` read.

    Reading needs no code of ours, which is why TFDS is not told of this class: all there is to know lies with the
    shards.

    Examples: "sequence", "frame" (its name), "blur" and "sharp" uint8 [h,w,3], "voxels" [h',w',k], the counts of spikes
    per pixel and time bin of the exposure.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Frames with their sharp pictures and the counts of their spikes."}

    def __init__(self, *, root: AnyPath, bins: int, **options: Any):
        """Scans a data set in folders.

        Args:
            root: the data set.
            bins: time bins of its voxels.
            options: those of every builder, such as `data_dir` and `file_format`.
        """
        self._statistics = read_statistics(root, bins=bins)
        self._sets = {
            split: FolderDataset(root, split, ClipSpec(1, bins, statistics=self._statistics))
            for split in SPLITS
            if (Path(root) / split).is_dir()
        }
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        sizes = [dataset.size(index) for dataset in self._sets.values() for index in dataset.first_windows()]
        picture = _common([(height, width) for height, width, _ in sizes])
        spikes = _common([(height // ratio, width // ratio) for height, width, ratio in sizes])
        voxels = (*spikes, self._statistics.bins)
        features = {
            "sequence": tfds.features.Text(),
            "frame": tfds.features.Text(),
            "blur": tfds.features.Image(shape=(*picture, 3), encoding_format="png"),
            "sharp": tfds.features.Image(shape=(*picture, 3), encoding_format="png"),
            "voxels": tfds.features.Tensor(shape=voxels, dtype=np.uint8, encoding=tfds.features.Encoding.ZLIB),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(self.metadata()),
            disable_shuffling=True,
        )

    def metadata(self) -> dict[str, Any]:
        """What the examples alone do not say: the sequences of each split, and the statistics of the voxels."""
        runs = {
            split: [
                {"name": run.name, "stems": run.stems, "height": run.height, "width": run.width, "ratio": run.ratio}
                for run in dataset.runs
            ]
            for split, dataset in self._sets.items()
        }
        return {"runs": runs, "statistics": asdict(self._statistics)}

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(split) for split in self._sets}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        dataset = self._sets[split]
        number = 0
        for run in dataset.runs:
            for start, frame in enumerate(run.frames):
                counts = dataset.read_run(run, start, start + 1)["voxels"][0]
                if counts.max(initial=0) > 255:
                    raise InputError(f"expected at most 255 spikes per pixel and bin, found more: {frame.blur}")
                yield (
                    number,
                    {
                        "sequence": run.name,
                        "frame": frame.stem,
                        "blur": str(frame.blur),
                        "sharp": str(frame.sharp),
                        "voxels": counts.astype(np.uint8),
                    },
                )
                number += 1


def write_tfds(root: AnyPath, data_dir: AnyPath, *, bins: int, file_format: str = "array_record") -> Path:
    """Writes the shards of a data set in folders and returns their folder; does nothing if they are there.

    Args:
        root: the data set in folders.
        data_dir: where TFDS keeps data sets.
        bins: time bins of the voxels.
        file_format: "array_record" for `tfds.data_source` and training here, "tfrecord" for `tfds.load`: either of
            them reads one of the two only.

    Raises:
        InputError: the data set cannot be used, or the shards that are there are of another one.
    """
    builder = SpikeDeblurring(root=root, bins=bins, data_dir=os.fspath(data_dir), file_format=file_format)
    wanted = json.loads(json.dumps(builder.metadata()))  # as it comes back from the file
    builder.download_and_prepare()
    written = tfds.builder_from_directory(builder.data_path)
    if dict(written.info.metadata) != wanted:
        raise InputError(f"expected no shards or those of {root}, found those of another data set: {written.data_path}")
    return Path(written.data_path)


def _common(sizes: list[tuple[int, int]]) -> tuple[int | None, int | None]:
    """The size that all have; unknown where they differ."""
    return sizes[0] if len(set(sizes)) == 1 else (None, None)
