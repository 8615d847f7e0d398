"""PNG, JPEG, TIFF and the other usual formats, read with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.contracts import Reader
from medssl.contracts.readers import frame_numbers
from medssl.tools import IMAGE_SUFFIXES, count_pages, read_image

__all__ = ["Pillow"]


class Pillow(Reader):
    """Grey, colour, palette, CMYK, 16-bit and EXIF-rotated files; see :func:`medssl.tools.read_image`.

    The pages of a TIFF file are its frames; reduced copies and masks among them are left out. The first frame of any
    other file is read.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            frames: Pages of a TIFF file to use: ``all``, ``middle``, or a range such as ``::5`` or ``10:20``.
        """

        frames: str = "all"  # no page is left out unless the user says so

        def __post_init__(self) -> None:
            frame_numbers(self.frames, 1)

    suffixes = IMAGE_SUFFIXES
    stacks = (".tif", ".tiff")

    def frames(self, path: Path) -> int:
        """Return the number of pages of a TIFF file, else 1."""
        return count_pages(path)

    def chosen(self, path: Path) -> Sequence[int]:
        """Return the pages that the option ``frames`` chooses."""
        return frame_numbers(self.config.frames, self.frames(path))

    def read(self, path: Path, frame: int, short_side: int | None) -> np.ndarray:
        """Decode one page; ``(H, W, 1)`` or ``(H, W, 3)``, uint8 or uint16."""
        return read_image(path, short_side, frame)
