"""Damage to files, as disks, networks and people do it: pure functions of bytes and of a random generator.

Bits, pieces and lengths of any file; besides, what a check of the container would else catch before anything looks at
it: chunks of PNG and entries of zip archives are damaged inside and summed anew, and headers in JSON keep their length.
"""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]

# Numbers that overflow something, texts that mean something, and values of other kinds.
_NUMBERS = (b"0", b"-1", b"1e999", b"nan", b"99999999999999999999", b"2147483648", b"4294967295", b"0.5", b"1e-320", b"00", b"0x10")  # fmt: skip  # noqa: E501
_VALUES: tuple[Any, ...] = (None, True, 0, -1, 2**31, 2**63, 1e308, 0.5, "", "\x00", "a" * 1000, "../x", "é", [], [[]], {}, {"": 0})  # fmt: skip  # noqa: E501
_BYTES = (0, 1, 0x7F, 0x80, 0xFF)
_PNG = b"\x89PNG\r\n\x1a\n"


def damage(data: bytes, draw: random.Random) -> bytes:
    """A damaged copy; most often of one place, sometimes of several."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = draw.choice(_fitting(data))(data, draw)
    return data


def _fitting(data: bytes) -> list[Damage]:
    anything: list[Damage] = [_cut, _flip, _overwrite, _insert, _remove, _repeat, _zero, _set_word, _head]
    if data.startswith(_PNG):
        return [*anything, *[_png_chunk] * 6]
    if data.startswith(b"PK"):
        return [*anything, *[_zip_entry] * 6]
    if data.startswith(b"\x93NUMPY"):
        return [*anything, *[_npy_header] * 4]
    if len(data) > 9 and data[8:9] == b"{":
        return [*anything, *[_safetensors_header] * 6]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return anything
    texts: list[Damage] = [_number, _line, _word, _letters]
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return [*anything, *texts * 3]
    return [*anything, *texts, *[_json_value] * 8]


def _place(data: bytes | bytearray, draw: random.Random) -> int:
    """A place, more often near the head, where most of what is read lies."""
    end = draw.choice((64, 512, len(data)))
    return draw.randrange(max(1, min(end, len(data))))


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.choice((0, 1, draw.randrange(len(data) + 1), len(data) - 1))]


def _flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(draw.choice((1, 1, 8, 64))):
        changed[_place(changed, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + draw.randbytes(draw.choice((1, 4, 32))) + data[at + 4 :]


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + draw.randbytes(draw.choice((1, 3, 100))) + data[at:]


def _remove(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + data[at + draw.choice((1, 4, 100)) :]


def _repeat(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + data[at : at + draw.choice((1, 16, 200))] * draw.choice((2, 3, 20)) + data[at:]


def _zero(data: bytes, draw: random.Random) -> bytes:
    at, length = _place(data, draw), draw.choice((4, 64, 4096))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def _set_word(data: bytes, draw: random.Random) -> bytes:
    """A length, an offset or a count that says something else."""
    at, order = _place(data, draw), draw.choice("<>")
    value = draw.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, draw.randrange(2**32)))
    word = struct.pack(f"{order}I", value)[: draw.choice((2, 4))]
    return data[:at] + word + data[at + len(word) :]


def _head(data: bytes, draw: random.Random) -> bytes:
    """Bytes before the file, such as a byte order mark."""
    return draw.choice((b"\xef\xbb\xbf", b"\0", b"\n", b" " * 5, b"<html>")) + data


# ---- Texts ----


def _number(data: bytes, draw: random.Random) -> bytes:
    numbers = list(re.finditer(rb"\d[\d.]*", data))
    if not numbers:
        return data + draw.choice(_NUMBERS)
    chosen = draw.choice(numbers)
    return data[: chosen.start()] + draw.choice(_NUMBERS) + data[chosen.end() :]


def _line(data: bytes, draw: random.Random) -> bytes:
    """A line that is missing, comes twice, or has gone elsewhere."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    line = lines.pop(at)
    if draw.random() < 0.5:
        for _ in range(draw.choice((1, 2))):
            lines.insert(draw.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


def _word(data: bytes, draw: random.Random) -> bytes:
    words = list(re.finditer(rb"\w+", data))
    if not words:
        return data + b"x"
    chosen = draw.choice(words)
    other = draw.choice((draw.choice(words)[0], b"", b"null", b"[]", b"{}", b'"', b"-", b",", b"\xff", b"\\"))
    return data[: chosen.start()] + other + data[chosen.end() :]


def _letters(data: bytes, draw: random.Random) -> bytes:
    """Another encoding, or other ends of lines."""
    text = data.decode(errors="replace")
    return draw.choice((text.encode("utf-16"), text.replace("\n", "\r\n").encode(), text.replace(",", ";").encode()))


def _json_value(data: bytes, draw: random.Random) -> bytes:
    """JSON of which one value is of another kind, is missing, or has a brother."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return _word(data, draw)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(tree)
    if not places:
        return json.dumps(draw.choice(_VALUES)).encode()
    node, key = draw.choice(places)
    change = draw.randrange(4)
    if change == 0:
        del node[key]
    elif change == 1 and isinstance(node, dict):
        node["other"] = node[key]
    elif change == 2:
        other, where = draw.choice(places)
        node[key] = other[where] if other is not node and where in _keys(other) else draw.choice(_VALUES)
    else:
        node[key] = draw.choice(_VALUES)
    try:
        return json.dumps(tree).encode()
    except (ValueError, RecursionError):  # it holds itself
        return b"[" * 100000


def _keys(node: Any) -> Any:
    return node.keys() if isinstance(node, dict) else range(len(node))


# ---- Containers with sums or lengths of their own ----


def _png_chunk(data: bytes, draw: random.Random) -> bytes:
    """A PNG with a chunk that is damaged and summed anew, so that a decoder believes it."""
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return _flip(data, draw)
    number = draw.randrange(len(chunks))
    name, content = chunks[number]
    changed = draw.choice((_flip, _set_word, _overwrite, _cut, _zero))(content, draw)
    chunks[number] = name, changed
    if draw.random() < 0.1:
        chunks.insert(draw.randrange(len(chunks)), chunks[number])
    return _PNG + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def _zip_entry(data: bytes, draw: random.Random) -> bytes:
    """A zip archive of which one entry is damaged, has another name, is missing or comes twice."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    except Exception:  # damaged before
        return _flip(data, draw)
    if not entries:
        return data
    number = draw.randrange(len(entries))
    name, content, kind = entries[number]
    change = draw.randrange(5)
    if change == 0:
        entries.pop(number)
    elif change == 1:
        entries[number] = draw.choice(("../x", "", name + "x", name.upper())), content, kind
    else:
        entries[number] = name, damage(content, draw), kind
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content, kind in entries:
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return written.getvalue()


def _npy_header(data: bytes, draw: random.Random) -> bytes:
    """An array of NumPy's whose header, of the same length, says something else."""
    length = struct.unpack("<H", data[8:10])[0] if len(data) > 10 else 0
    header = data[10 : 10 + length]
    changed = draw.choice((_number, _word, _flip))(header, draw)
    return data[:10] + changed[:length].ljust(length) + data[10 + length :]


def _safetensors_header(data: bytes, draw: random.Random) -> bytes:
    """A file of safetensors whose header says something else, and its length what that takes."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = data[8 : 8 + length], data[8 + length :]
    changed = draw.choice((_json_value, _json_value, _number, _word))(header, draw)
    return struct.pack("<Q", len(changed)) + changed + rest
