"""Subtitles of text in another codec: what is said, and when; colours and places of letters are left out."""

from __future__ import annotations

import re
import struct
from typing import Any

import av

# Codecs of text, by FFmpeg's names, that can be read and, of containers, written.
READ = frozenset({"subrip", "srt", "text", "ass", "ssa", "webvtt", "mov_text"})
WRITTEN = ("mov_text", "webvtt", "subrip")
_COMMAS_BEFORE_TEXT = 8  # of an event of ASS
_OVERRIDES, _TAGS = re.compile(r"\{[^}]*\}"), re.compile(r"</?[a-zA-Z][^>]*>")
# FFmpeg's encoders ask for a style, of which nothing is used.
_HEADER = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""  # noqa: E501


def text_of(content: bytes, codec: str) -> str:
    """What a packet of subtitles says, line by line."""
    if codec == "mov_text":
        content = content[2 : 2 + int.from_bytes(content[:2], "big")]
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    if codec in ("ass", "ssa"):
        text = text.split(",", _COMMAS_BEFORE_TEXT)[-1].replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return _TAGS.sub("", _OVERRIDES.sub("", text)).strip("\n\0")


def packet_of(text: str, codec: str) -> av.Packet:
    """A packet that says so."""
    content = text.encode()
    return av.Packet(struct.pack(">H", len(content[:65535])) + content[:65535] if codec == "mov_text" else content)


def add_text(target: Any, codec: str) -> Any:
    """A new stream of text in an open container.

    Raises:
        ValueError: the container does not take it.
        av.error.FFmpegError: the same.
    """
    stream = target.add_stream(codec)
    stream.codec_context.subtitle_header = _HEADER
    stream.codec_context.open()
    return stream


class TextTrack:
    """A stream of text that becomes one of another codec."""

    def __init__(self, stream: Any, target: Any, codec: str) -> None:
        """Adds it to an open container.

        Args:
            stream: that is read.
            target: the container.
            codec: of the new stream.
        """
        self._from, self._to = stream.codec_context.codec.canonical_name, codec
        self._stream = add_text(target, codec)
        for name in ("language", "title"):
            if name in stream.metadata:
                self._stream.metadata[name] = stream.metadata[name]
        self._stream.disposition = stream.disposition.value

    def packets(self, packet: Any, shift: Any) -> Any:
        """Yields what is written of a packet, `shift` seconds later."""
        if packet.pts is None or packet.size == 0:
            return
        written = packet_of(text_of(bytes(packet), self._from), self._to)
        written.time_base, written.stream = packet.time_base, self._stream
        written.pts = written.dts = packet.pts + round(shift / packet.time_base)
        written.duration, written.is_keyframe = packet.duration or 0, True
        yield written
