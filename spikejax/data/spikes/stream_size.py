"""How large the frames of a stream of spikes are, which a `.dat` file does not say: decided here, and never guessed.

Every size that divides a file gives spikes, and all but one of them are a scramble: 14 frames of 720x1280 are exactly
as many bytes as 56 of 360x640. So the size is that of the nearest `config.yaml` with `spike_h` and `spike_w`, beside
the stream or in a folder above it; or else what the user says; or else the stream is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from spikejax.data.spikes.stream_files import frame_bytes, stored_widths
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.bucket_listing import DataPath, ListedPath, file_size, listed
from spikejax.io.paths import AnyPath, UserPath, user_path
from spikejax.progress import count_text

CONFIG = "config.yaml"
_KEYS = ("spike_h", "spike_w")
# Heights and widths of cameras and of published data sets, which a refusal names if they divide the file.
_USUAL = ((250, 400), (1000, 1000), (360, 640), (180, 320), (384, 384), (256, 256), (720, 1280))
# Pictures are at most so many times as large as the spikes beside them.
_LARGEST_RATIO = 8


@dataclass(frozen=True)
class StreamConfig:
    """What a `config.yaml` says.

    Attributes:
        height: rows of a spike frame.
        width: columns of a spike frame, without padding columns.
        filename: the stream's file, when the folder holds a single one.
    """

    height: int
    width: int
    filename: str | None = None


@dataclass(frozen=True)
class StreamSize:
    """How large the frames of a stream are.

    Attributes:
        height: rows.
        width: columns, without padding columns.
        source: who says so, such as "--spike-size" or the path of a config.yaml.
        filename: of the only stream of the folder, where its config.yaml names it.
    """

    height: int
    width: int
    source: str
    filename: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def note(self) -> str:
        """What the user should be told of it."""
        return size_notes([self])[0]


def size_notes(sizes: Iterable[StreamSize]) -> tuple[str, ...]:
    """What the user should be told of the sizes of many streams, a line for each size."""
    sources: dict[tuple[int, int], list[str]] = {}
    for size in dict.fromkeys(sizes):
        sources.setdefault(size.shape, []).append(size.source)
    lines = []
    for shape, (first, *others) in sources.items():
        says = f"as {first} and {len(others)} more say" if others else f"as {first} says"
        lines.append(f"spikes of {_by(shape)} (height x width), {says}")
    return tuple(lines)


def find_stream_size(
    stream: DataPath,
    *,
    given: tuple[int, int] | None = None,
    option: str = "",
    pictures: tuple[int, int] | None = None,
    otherwise: StreamSize | None = None,
) -> StreamSize:
    """The size of a `.dat` file's frames, or of all `.dat` files in a folder.

    Args:
        stream: the file, or the folder.
        given: height and width that the user says.
        option: by which the user says it, such as "--spike-size"; "" = there is none.
        pictures: height and width of the pictures beside them, for the sizes that a refusal names.
        otherwise: what is known without either, such as by a folder's name.

    Raises:
        InputError: nobody says it, or two say different things.
    """
    nearest = nearest_config(stream if stream.is_dir() else stream.parent)
    if nearest is not None:
        path, config = nearest
        size = (config.height, config.width)
        if given not in (None, size):
            raise InputError(
                f"expected {option or 'a size'} {_by(size)}, as {CONFIG} says (one that is nearer to the spikes may "
                f"say otherwise), found {_by(given)}: {path}"
            )
        return StreamSize(*size, str(path), config.filename)
    if given is not None:
        return StreamSize(*given, option or "the caller")
    if otherwise is not None:
        return otherwise
    way = f"{option} HEIGHTxWIDTH, or " if option else ""
    expected = f"expected the size of the spikes ({way}a {CONFIG} with {' and '.join(_KEYS)} beside them or above)"
    raise InputError(f"{expected}, found none{_dividing(stream, pictures)}: {stream}")


def nearest_config(folder: DataPath) -> tuple[DataPath | UserPath, StreamConfig] | None:
    """The `config.yaml` in a folder, or else the nearest one above it that says how large spikes are, and its path.

    Other programs' files of that name, above the folder, are passed over.

    Raises:
        InputError: the folder's own says no size, or another one a wrong size.
    """
    if (folder / CONFIG).exists():
        return folder / CONFIG, read_config(folder)
    for parent in _parents(folder):
        path = parent / CONFIG
        if _names_a_size(path):
            # A file that it names is one in its own folder.
            return path, replace(_config_of(path), filename=None)
    return None


def read_config(folder: AnyPath) -> StreamConfig:
    """What `config.yaml` in a folder of spikes says about their size.

    Raises:
        InputError: there is none, or it does not give spike_h and spike_w as positive whole numbers.
    """
    return _config_of(listed(folder) / CONFIG)


def write_config(folder: AnyPath, config: StreamConfig) -> None:
    """Writes `config.yaml` into a folder of spikes."""
    fields: dict[str, Any] = {"spike_h": config.height, "spike_w": config.width}
    if config.filename is not None:
        fields["filename"] = config.filename
    with atomic_write(Path(folder) / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")


def _parents(folder: DataPath) -> Iterator[DataPath | UserPath]:
    """The folders above a folder, the nearest first; those of its own path, then those of where links lead."""
    if isinstance(folder, ListedPath):
        above = folder.parent
        while above.is_dir():
            yield above
            above = above.parent
        outside = user_path(above)  # not in the listing
        yield from (parent for parent in (outside, *outside.parents) if "://" in os.fspath(parent))
        return
    own, real = Path(os.path.abspath(folder)), folder.resolve()
    yield from own.parents
    if real != own:
        yield from (real, *real.parents)


def _names_a_size(path: DataPath | UserPath) -> bool:
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(fields, dict) and any(key in fields for key in _KEYS)


def _config_of(path: DataPath | UserPath) -> StreamConfig:
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"expected a config.yaml with spike_h and spike_w beside the spikes, found none: {path}"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"expected YAML with spike_h and spike_w, found {type(error).__name__}: {path}") from error
    if not isinstance(fields, dict):
        raise InputError(f"expected spike_h and spike_w, found no such keys: {path}")
    height, width = (_positive(fields, key, path) for key in _KEYS)
    filename = fields.get("filename")
    if not isinstance(filename, str | None):
        raise InputError(f"expected a file's name as filename, found {filename!r}: {path}")
    return StreamConfig(height, width, filename)


def _positive(fields: Mapping[str, Any], key: str, path: DataPath | UserPath) -> int:
    number = fields.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError(f"expected {key} to be a positive whole number, found {number!r}: {path}")
    return number


def _dividing(stream: DataPath, pictures: tuple[int, int] | None) -> str:
    """The sizes that would divide a file, in words: those of the pictures' whole parts and the usual ones."""
    if stream.is_dir():
        files: list[DataPath] = sorted(stream.iterdir(), key=str)
        stream = next((file for file in files if file.suffix == ".dat"), stream)
    if not stream.is_file():
        return ""
    sizes = list(_USUAL)
    if pictures is not None:
        height, width = pictures
        ratios = [n for n in range(1, _LARGEST_RATIO + 1) if height % n == width % n == 0]
        sizes = [(height // n, width // n) for n in ratios] + [size for size in _USUAL if size[0] < height]
    total = file_size(stream)
    words = []
    for size in dict.fromkeys(sizes):
        for stored in stored_widths(*size):
            if total and size[0] * stored % 8 == 0 and total % frame_bytes(size[0], stored) == 0:
                count = total // frame_bytes(size[0], stored)
                words.append(f"{count_text(count, 'frame')} of {_by(size)}")
                break
    return f" ({total} bytes are {' or '.join(words)})" if words else f" ({total} bytes)"


def _by(size: tuple[int, int] | None) -> str:
    return "none" if size is None else f"{size[0]}x{size[1]}"
