"""Two trees of folders, one with the input and one with the sharp pictures, as test sets are published.

Every folder below a root that holds pictures is a sequence. Folders of both roots pair up in the order of their paths,
and pictures in the order of their names, whatever the names are.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from spikejax.data.datasets.degradation import add_noise
from spikejax.errors import InputError
from spikejax.io.bucket_listing import DataPath
from spikejax.io.frame_source import FrameSource, natural_key, open_frames
from spikejax.io.paths import AnyPath, local_only, walk_folders
from spikejax.io.pictures import PICTURE_SUFFIXES


@dataclass(frozen=True)
class InputRule:
    """What a network's input is, against the sharp pictures.

    Attributes:
        upscale: size of the sharp pictures over that of the input.
        window: frames of the input around the one that is sought, of a network that interpolates; None = it does not.
        sigma: standard deviation of the noise, of 255, that is added to the sharp pictures where no input is given.
    """

    upscale: int = 1
    window: int | None = None
    sigma: float | None = None


class PairedFolders:
    """The sequences of a test set.

    Attributes:
        notes: what the user should know of it, a line each.
        dropped: nothing; what does not pair up is refused.
    """

    dropped = ()

    def __init__(self, sharp: AnyPath, given: AnyPath | None, rule: InputRule) -> None:
        """Finds all sequences, and compares their numbers of frames and their sizes.

        Args:
            sharp: root of the true pictures.
            given: root of the input; None = it is made of the true pictures.
            rule: how the one has to be against the other.

        Raises:
            InputError: they do not pair up.
        """
        self.notes: list[str] = []
        self._rule = rule
        sharp_root = local_only(sharp)
        folders = picture_folders(sharp_root)
        self._sharp = {_name(folder, sharp_root): open_frames(folder) for folder in folders}
        self._given: dict[str, FrameSource] = {}
        if given is not None:
            self._pair_up(local_only(given), sharp_root)
        elif rule.window is None and rule.sigma is None:
            raise InputError(f"expected --input, the pictures that the network restores, with --sharp {sharp_root}")
        for name, truth in self._sharp.items():
            self._check(name, truth)

    def _pair_up(self, root: Path, sharp_root: Path) -> None:
        folders = picture_folders(root)
        if len(folders) != len(self._sharp):
            raise InputError(
                f"expected as many sequences below both roots, found {len(folders)} in {root} and {len(self._sharp)} "
                f"in {sharp_root}"
            )
        named = [_name(folder, root) for folder in folders]
        for own, name in zip(named, self._sharp, strict=True):
            if own != name:
                self.notes.append(f"sequences pair up by their order: {own} of {root} with {name} of {sharp_root}, ...")
                break
        self._given = dict(zip(self._sharp, map(open_frames, folders), strict=True))
        for name, given in self._given.items():
            differing = _first_other_name(given, self._sharp[name])
            if differing is not None:
                self.notes.append(f"pictures pair up by their order: {differing[0]} with {differing[1]}, ...")
                break

    def _check(self, name: str, truth: FrameSource) -> None:
        rule, given = self._rule, self._given.get(name)
        if given is None:
            needed = 2 if rule.window is None else 2 * rule.window - 1
            if truth.count < needed:
                raise InputError(f"expected at least {needed} frames, found {truth.count}: {truth.path}")
            return
        frames = given.count if rule.window is None else 1
        if rule.window is not None and given.count != rule.window:
            raise InputError(f"expected {rule.window} frames around the one sought, found {given.count}: {given.path}")
        if truth.count != frames:
            raise InputError(
                f"expected as many frames as the input's sequence has ({frames}), found {truth.count}: {truth.path}"
            )
        expected = (given.height * rule.upscale, given.width * rule.upscale)
        if (truth.height, truth.width) != expected:
            times = f"{rule.upscale} times " if rule.upscale > 1 else ""
            raise InputError(
                f"expected pictures {times}as large as the input, {expected[0]}x{expected[1]} (height x width), found "
                f"{truth.height}x{truth.width}: {truth.path}"
            )

    def sequences(self) -> list[tuple[str, int]]:
        """Name and number of frames to restore of every sequence."""
        window = self._rule.window
        if window is None:
            return [(name, truth.count) for name, truth in self._sharp.items()]
        if self._given:
            return [(name, 1) for name in self._sharp]
        # Of a sequence every second frame is the input, and every clip of `window` of them seeks the one in its middle.
        return [(name, (truth.count - (2 * window - 1)) // 2 + 1) for name, truth in self._sharp.items()]

    def read_stored_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """Frames [start, stop) of a sequence, "input" and "sharp" of 0 to 255; see `ClipDataset`."""
        window, given = self._rule.window, self._given.get(name)
        if window is None:
            stop = self._sharp[name].count if stop is None else stop
            sharp = _read(self._sharp[name], start, stop)
            return {
                "input": self._noisy(name, sharp, start) if given is None else _read(given, start, stop),
                "sharp": sharp,
            }
        if given is not None:
            return {"input": _read(given, 0, window), "sharp": _read(self._sharp[name], 0, 1)}
        clip = _read(self._sharp[name], 2 * start, 2 * start + 2 * window - 1)
        return {"input": clip[::2], "sharp": clip[window - 1 : window]}

    def _noisy(self, name: str, sharp: UInt8[np.ndarray, "t h w 3"], start: int) -> Any:
        assert self._rule.sigma is not None
        seed = zlib.crc32(name.encode(errors="surrogateescape"))
        # A frame's noise follows from its name and number, however its sequence is read.
        generators = [np.random.default_rng([seed, start + number]) for number in range(len(sharp))]
        return add_noise(sharp, self._rule.sigma, generators)


def picture_folders(root: Path) -> list[Path]:
    """The folders at and below `root` that hold pictures, in the order of their paths; links are followed.

    Raises:
        InputError: there is none.
    """
    if not root.is_dir():
        raise InputError(f"expected a folder of sequences, found none: {root}")
    folders = []
    for folder, names in walk_folders(root):
        suffixes = {(folder / name).suffix.lower() for name in names}
        if suffixes & PICTURE_SUFFIXES:
            folders.append(folder)
    if not folders:
        raise InputError(f"expected folders of pictures, found none below {root}")
    return sorted(folders, key=lambda folder: [natural_key(part) for part in folder.relative_to(root).parts])


def _first_other_name(given: FrameSource, truth: FrameSource) -> tuple[DataPath, DataPath] | None:
    """The first two pictures that pair up and have other names; None if there are none, or not as many."""
    if given.names is None or truth.names is None or len(given.names) != len(truth.names):
        return None
    for own, other in zip(given.names, truth.names, strict=True):
        if Path(own).stem != Path(other).stem:
            return given.path / own, truth.path / other
    return None


def _name(folder: Path, root: Path) -> str:
    """The sequence's name: the path below the root, or of pictures in the root itself the root's name."""
    return folder.relative_to(root).as_posix() if folder != root else root.absolute().name


def _read(source: FrameSource, start: int, stop: int) -> UInt8[np.ndarray, "t h w 3"]:
    frames: Sequence[Any] = [frame for _, (frame, _) in zip(range(start, stop), source.read(start), strict=False)]
    if len(frames) != stop - start:
        raise InputError(f"expected {stop} frames, found {start + len(frames)}: {source.path}")
    return np.stack(frames)
