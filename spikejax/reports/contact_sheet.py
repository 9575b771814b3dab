"""Labelled pictures side by side: a row shows what belongs to one instant, and a sheet is rows below each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from spikejax.data.light import to_display
from spikejax.io.pixel_depth import to_uint8

_GAP = 6
_TEXT_SIZE = 13
_LINE = _TEXT_SIZE + 7
_BACKGROUND, _TEXT, _WARNING = (24, 24, 24), (225, 225, 225), (255, 120, 90)

Drawing = UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True)
class SheetRow:
    """What belongs to one instant.

    Attributes:
        title: drawn above the pictures.
        panels: pictures of one instant, by their labels; shown at one size, whatever theirs.
        warning: drawn after the title, in another colour.
    """

    title: str
    panels: Mapping[str, Drawing] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True)
class RowStream:
    """Rows to show, made when they are asked for.

    Attributes:
        count: number of rows.
        rows: the rows.
        of_one_size: whether all of them are, as a video needs.
        notes: what the user should know of what they show.
    """

    count: int
    rows: Iterator[SheetRow]
    of_one_size: bool = True
    notes: tuple[str, ...] = ()


def evenly_spread(count: int, limit: int) -> list[int]:
    """At most `limit` of the numbers below `count`, at equal distances."""
    return [round(number) for number in np.linspace(0, count - 1, min(count, limit))]


def rate_picture(rate: Float32[np.ndarray, "h w"], brightness: float) -> Drawing:
    """Rates of spikes as a grey picture; a rate of 1 / brightness is white."""
    return to_uint8(to_display(np.repeat(rate[..., None] * np.float32(brightness), 3, axis=-1)))


def draw_sheet(rows: Sequence[SheetRow], *, panel_width: int | None = None) -> Drawing:
    """The rows below each other, with their titles and labels.

    Args:
        rows: at least one, with at least one panel each.
        panel_width: pixels that a panel is wide; None = the first row's widest. Narrower pictures keep hard pixels.
    """
    pictures = [_draw_row(row, panel_width) for row in rows]
    width = max(picture.shape[1] for picture in pictures)
    padded = [_pad(picture, width) for picture in pictures]
    return np.concatenate(padded)


def _pad(picture: Drawing, width: int) -> Drawing:
    filled = np.full((picture.shape[0], width, 3), _BACKGROUND, np.uint8)
    filled[:, : picture.shape[1]] = picture
    return filled


def _draw_row(row: SheetRow, panel_width: int | None) -> Drawing:
    tallest = max(row.panels.values(), key=lambda picture: picture.shape[1])
    width = panel_width or tallest.shape[1]
    height = max(1, round(tallest.shape[0] * width / tallest.shape[1]))
    canvas = Image.new("RGB", (_GAP + len(row.panels) * (width + _GAP), 2 * _LINE + height + _GAP), color=_BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT_SIZE)
    draw.text((_GAP, 3), row.title, fill=_TEXT, font=font)
    if row.warning:
        draw.text((_GAP + 16 + draw.textlength(row.title, font=font), 3), row.warning, fill=_WARNING, font=font)
    for number, (label, picture) in enumerate(row.panels.items()):
        left = _GAP + number * (width + _GAP)
        draw.text((left, _LINE + 2), _shortened(label, width, draw, font), fill=_TEXT, font=font)
        canvas.paste(Image.fromarray(_scaled(picture, height, width)), (left, 2 * _LINE))
    return np.array(canvas)


def _shortened(
    label: str, width: int, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    while label and draw.textlength(label, font=font) > width:
        label = label[:-1]
    return label


def _scaled(picture: Drawing, height: int, width: int) -> Drawing:
    if picture.shape[:2] == (height, width):
        return picture
    interpolation = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_NEAREST
    return cv2.resize(picture, (width, height), interpolation=interpolation)
