"""The kinds of data set that a run can read, by the name that `data.source` has.

To add one: derive a class from `ClipDataset` and write a line in `DATASETS`; or name it as `FILE.py:NAME` in the
configuration, and nothing here needs to know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.tfds_dataset import TfdsDataset
from spikejax.errors import InputError
from spikejax.extensions import find_entry
from spikejax.io.paths import AnyPath, check_scheme, local_only


class MovingPhotographs(FolderDataset):
    """The embedded data set, for those without a download: rendered to a folder when it is first asked for."""

    needs_root: ClassVar[bool] = False
    reads_buckets: ClassVar[bool] = False

    @classmethod
    def make(cls, root: AnyPath, *, bins: int, seed: int, settings: Mapping[str, Any]) -> None:
        """See `write_moving_photographs`."""
        from spikejax.data.simulation.moving_photographs import write_moving_photographs  # only here: a second

        write_moving_photographs(root, seed=seed, bins=bins, **settings)


class MovingScenes(MovingPhotographs):
    """The embedded data set with more to train on, for runs of hours; validated on the same scenes."""

    @classmethod
    def make(cls, root: AnyPath, *, bins: int, seed: int, settings: Mapping[str, Any]) -> None:
        """See `write_moving_photographs`."""
        super().make(root, bins=bins, seed=seed, settings={**settings, "varied": True})


DATASETS: Mapping[str, type[ClipDataset]] = {
    "folder": FolderDataset,
    "tfds": TfdsDataset,
    "moving_photographs": MovingPhotographs,
    "moving_scenes": MovingScenes,
}


def find_dataset(source: str) -> type[ClipDataset]:
    """The kind of data set that `data.source` names: an entry of `DATASETS`, or the user's own.

    Raises:
        InputError: there is no such kind, or it is not a class of data sets.
    """
    kind = find_entry(DATASETS, source, key="data.source", kind=type)
    if not issubclass(kind, ClipDataset):
        raise InputError(f"data.source: expected a class derived from ClipDataset, found {kind.__name__}: {source}")
    return kind


def open_dataset(source: str | type[ClipDataset], root: AnyPath, split: str, spec: ClipSpec) -> ClipDataset:
    """A split of a data set of the kind that `source` names, or is.

    Raises:
        InputError: there is no such kind, or nothing there that the spec can be met with.
    """
    kind: Any = find_dataset(source) if isinstance(source, str) else source
    if kind.reads_buckets:
        check_scheme(root)
    else:
        local_only(root)
    return kind(root, split, spec)
