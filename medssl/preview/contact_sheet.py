"""A contact sheet: rows of small pictures with headings, drawn with Pillow alone."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["SheetRow", "contact_sheet"]

_CELL = 128  # minimum size in pixels after enlarging by a whole factor
_MARGIN, _GAP, _BREAK = 24, 8, 20  # around everything, between pictures, after the first column
_LABEL = 170  # width of the column of labels
_TITLE, _TEXT, _SMALL = 22, 15, 13  # sizes of letters
_HARD_SPACE = "\u00a0"
_INK, _FAINT, _FRAME, _PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class SheetRow:
    """One sample.

    Attributes:
        label: What it is, for instance its class.
        name: Which one it is.
        pictures: One for each column, ``(S, S, 3)``; sizes may differ.
    """

    label: str
    name: str
    pictures: Sequence[Picture]


def contact_sheet(title: str, headings: Sequence[str], rows: Sequence[SheetRow], notes: Sequence[str]) -> Image.Image:
    """Draw rows of pictures, the first column set apart, with notes below.

    Args:
        title: Title at the top.
        headings: One for each column; may have two lines.
        rows: Samples.
        notes: Paragraphs; they are wrapped, but not at hard spaces.
    """
    sides = [max(row.pictures[i].shape[0] for row in rows) for i in range(len(headings))]
    zoom = max(1, round(_CELL / max(sides)))
    cell = max(sides) * zoom
    lefts = [_MARGIN + _LABEL]
    for side, heading in zip(sides, headings, strict=True):
        lefts.append(lefts[-1] + max(side * zoom, _width(heading)) + (_GAP if len(lefts) > 1 else _BREAK))
    width = lefts.pop() - _GAP + _MARGIN
    paragraphs = [line for note in notes for line in _wrapped(note, width - 2 * _MARGIN, _SMALL)]
    title_lines = _wrapped(title, width - 2 * _MARGIN, _TITLE)
    head = _MARGIN + _height(_TITLE) * len(title_lines) + _GAP
    top = head + _height(_TEXT) * max(heading.count("\n") + 1 for heading in headings) + _GAP
    end = top + len(rows) * (cell + _GAP)
    sheet = Image.new("RGB", (width, end + _GAP + _height(_SMALL) * len(paragraphs) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, _MARGIN, _MARGIN, title_lines, _TITLE, _INK)
    for left, heading in zip(lefts, headings, strict=True):
        _write(draw, left, head, heading.split("\n"), _TEXT, _INK)
    for number, row in enumerate(rows):
        y = top + number * (cell + _GAP)
        _describe(draw, row, y, cell)
        for left, picture in zip(lefts, row.pictures, strict=True):
            _paste(sheet, picture, zoom, left, y)
    _write(draw, _MARGIN, end + _GAP, paragraphs, _SMALL, _FAINT)
    return sheet


def _describe(draw: ImageDraw.ImageDraw, row: SheetRow, top: int, cell: int) -> None:
    """Write the label and the name next to a row, as far as there is space."""
    room = _LABEL - _BREAK
    label = _wrapped(row.label, room, _TEXT, "_-/")[: max(1, cell // 2 // _height(_TEXT))]
    _write(draw, _MARGIN, top, label, _TEXT, _INK)
    left_over = (cell - _height(_TEXT) * len(label)) // _height(_SMALL)
    name = _wrapped(row.name, room, _SMALL, "_-/")[-max(1, left_over) :]  # the end of a path says which file it is
    _write(draw, _MARGIN, top + _height(_TEXT) * len(label), name, _SMALL, _FAINT)


def _paste(sheet: Image.Image, picture: Picture, zoom: int, left: int, top: int) -> None:
    """Draw a picture, enlarged pixel by pixel, in a thin frame, because some pictures are white at the border."""
    side = picture.shape[0] * zoom
    sheet.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST), (left, top))
    ImageDraw.Draw(sheet).rectangle((left - 1, top - 1, left + side, top + side), outline=_FRAME)


def _width(heading: str) -> int:
    font = ImageFont.load_default(_TEXT)
    return math.ceil(max(font.getlength(line) for line in heading.split("\n")))


def _write(draw: ImageDraw.ImageDraw, left: int, top: int, lines: Sequence[str], size: int, colour: str) -> None:
    for number, line in enumerate(lines):
        draw.text((left, top + number * _height(size)), line, fill=colour, font=ImageFont.load_default(size))


def _height(size: int) -> int:
    return round(1.35 * size)


def _wrapped(text: str, room: int, size: int, after: str = "") -> list[str]:
    """Break a text into lines of at most ``room`` pixels.

    Args:
        text: Words with spaces between them; a non-breaking space keeps two words together.
        room: Width of a line in pixels.
        size: Of the letters.
        after: Characters after which a line may break without a space; a word that is too long breaks anywhere.
    """
    font = ImageFont.load_default(size)
    stops = re.escape(after)
    lines = [""]
    for piece in re.findall(rf"[ \n]*[^ \n{stops}]+[{stops}]*" if after else r"[ \n]*[^ \n]+", text):
        for part in _parts(piece, room, font):
            if font.getlength(lines[-1] + part) <= room:
                lines[-1] += part
            else:
                lines.append(part.lstrip(" \n"))
    return [line.replace(_HARD_SPACE, " ").strip() for line in lines if line]


def _parts(word: str, room: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Cut a word into parts that fit into a line."""
    parts = [""]
    for letter in word:
        if font.getlength(parts[-1] + letter) > room:
            parts.append("")
        parts[-1] += letter
    return parts
