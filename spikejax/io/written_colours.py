"""In which colours a video is written, and what of its source's they cannot hold: decided before any work."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av
import cv2
import numpy as np

from spikejax.errors import InputError
from spikejax.io.colours import VideoColours, alpha_plane, from_rgb
from spikejax.io.pixel_formats import frame_of, nearest_formats, pixel_format
from spikejax.io.video_codecs import Codec, VideoSettings

# FFmpeg's names of the containers that we write.
MUXERS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}
_TRIED_FRAMES = 5
_AVX512 = 13  # OpenCV's CV_CPU_AVX_512F, which has no name in Python


def written_colours(
    settings: VideoSettings, suffix: str, height: int, width: int, *, bits: int, like: VideoColours | None
) -> VideoColours:
    """How a video is written: as the one that its frames were made from, as far as its codec can.

    Args:
        settings: of the video.
        suffix: of the file, which says the container.
        height: of a frame.
        width: of a frame.
        bits: of a number of a frame of pictures.
        like: of the video that frames were made from; None for frames of pictures.

    Raises:
        InputError: no format fits the size; or numbers of high dynamic range would get 8 bits.
    """
    source = VideoColours(pixel_format("yuv420p")) if like is None else like
    colours = source.stored_as(_format(settings, suffix, height, width, bits=bits, like=like))
    if like is not None and like.hdr_transfer and colours.format.bits < min(10, like.format.bits):
        raise InputError(
            f"expected at least 10 bits for {like.hdr_transfer} video of high dynamic range (--codec h265, or "
            f"--pixel-format of 10 bits), found {colours.format.name} of {settings.codec}"
        )
    if not settings.chosen_codec.full_range and colours.format.model != "rgb":
        colours = replace(colours, full=False)
    return colours


def _format(
    settings: VideoSettings, suffix: str, height: int, width: int, *, bits: int, like: VideoColours | None
) -> str:
    """The pixel format: the one that is asked for, else the nearest to the source's that can be written."""
    codec, odd = settings.chosen_codec, (height % 2, width % 2)
    if settings.pixel_format is not None:
        if any(odd) and not can_write(codec, settings.pixel_format, suffix, *odd):
            raise InputError(
                f"expected an even height and width for pixel format {settings.pixel_format}, found {height}x{width}"
            )
        return settings.pixel_format
    if like is None:
        return settings.format_for(height, width, bits=bits)
    for name in nearest_formats(like.format, settings.encoder_formats):
        if can_write(codec, name, suffix, *odd):
            return name
    return settings.format_for(height, width, bits=like.format.bits)


def encoder_options(codec: Codec, quality: int | None, colours: VideoColours, width: int) -> dict[str, str]:
    """The encoder's settings for a video of those colours and that width, by FFmpeg's names."""
    quality = codec.quality if quality is None else quality
    options = dict(codec.options) | ({} if quality is None else {"crf": str(quality)})
    if colours.format.alpha:
        options |= dict(codec.alpha_options)
    if codec.display is not None and colours.hdr is not None:
        own = options.get(codec.display.option)
        options[codec.display.option] = ":".join(filter(None, (own, codec.display.text(colours.hdr))))
    special = codec.narrow_options if width < codec.narrow_below else ()
    special += codec.avx512_options if cv2.checkHardwareSupport(_AVX512) else ()
    options |= {name: ":".join(filter(None, (options.get(name), value))) for name, value in special}
    if colours.format.shared != (1, 1):
        options["chroma_sample_location"] = colours.chroma
    return options


@functools.cache
def can_write(codec: Codec, name: str, suffix: str, odd_rows: int, odd_columns: int) -> bool:
    """Whether an encoder, as this FFmpeg has it, and a container take frames of a pixel format and of such a size.

    Encoders list formats that they refuse, and containers take an encoder's but for some of its formats; so frames are
    written into memory.
    """
    os.environ.setdefault("SVT_LOG", "1")  # this encoder prints a page about itself otherwise
    colours = VideoColours(pixel_format("yuv420p")).stored_as(name)
    options = encoder_options(codec, None, colours, 64 + odd_columns)
    tag = options.pop("tag", None)
    container = av.open(io.BytesIO(), "w", format=MUXERS[suffix])
    try:
        stream: Any = container.add_stream(codec.encoder, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 64 + odd_rows, 64 + odd_columns, name
        if tag is not None and suffix != ".mkv":
            stream.codec_context.codec_tag = tag
        shape = (stream.height, stream.width, 3)
        planes = from_rgb(np.zeros(shape, np.uint8), colours)
        planes += [alpha_plane(np.zeros(shape[:2], np.uint8), colours.format)] * colours.format.alpha
        # Of a single frame of H.265, FFmpeg fails to write the header of an MP4 every tenth time.
        for _ in range(_TRIED_FRAMES):
            container.mux(stream.encode(frame_of(planes, name)))
        container.mux(stream.encode(None))
        container.close()
    except (av.error.FFmpegError, ValueError, OSError):
        return False
    return True


def lost_colours(settings: VideoSettings, like: VideoColours, written: VideoColours) -> Iterator[str]:
    """Yields, in words, what a video that is written so cannot hold of the one that it is made from."""
    theirs, ours = like.format, written.format
    if theirs.alpha and not ours.alpha:
        yield f"{settings.codec} holds no transparency, which is left out (--codec ffv1 or vp9 keeps it)"
    if ours.bits < theirs.bits:
        yield f"numbers of {theirs.bits} bits are rounded to {ours.bits} ({ours.name})"
    if any(mine > given for mine, given in zip(ours.shared, theirs.shared, strict=True)):
        yield f"colours are stored at a lower resolution ({theirs.name} becomes {ours.name})"
    if theirs.model == "rgb" and ours.model != "rgb":
        yield f"RGB is stored as {ours.name}, which rounds colours (--codec ffv1 keeps them)"
    if like.full and not written.full and ours.model != "rgb":
        yield f"{settings.codec} holds no full range: brightness is stored from 16 to 235 of 255"
    if like.hdr is not None and settings.chosen_codec.display is None:
        yield f"{settings.codec} does not hold what the video says of the display it was made on"
