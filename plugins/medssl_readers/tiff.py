"""TIFF files that Pillow cannot read fully: stacks with named axes, more than three channels, odd types of numbers.

``pip install "medssl[tiff]"`` installs tifffile and its decoders.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medssl.contracts import Reader
from medssl.contracts.readers import frame_numbers
from medssl.errors import DataError
from medssl_readers._guard import check_pixels, damage_named, size_of
from medssl_readers._recent import Recent
from medssl_readers._windows import optional, to_levels

__all__ = ["Tiff"]

_WHAT = "a TIFF file"
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DESCRIPTION, _SAMPLES, _PHOTOMETRIC, _EXTRA = 270, 277, 262, 338  # tags of TIFF 6.0
_SEPARATED = 5  # photometric interpretation of CMYK
_ALPHA = (1, 2)  # kinds of extra samples


class Tiff(Reader):
    """Microscopy files (OME-TIFF, ImageJ), files of more than three channels and others that Pillow cannot read.

    It takes a TIFF file if its description names axes (OME, ImageJ), if it has more channels than colour and
    transparency, or if Pillow cannot open it. With ``--reader tiff`` it takes all TIFF files.

    Channels (axis C, or samples of a pixel) become channels of the image, up to any number. Pages, slices and times
    are frames. Whole numbers keep their values in 8 or 16 bits, with 32768 added if their type is signed; other numbers
    are mapped so that the smallest of the file is 0 and the largest 65535. White is always the largest value.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            pages: Meaning of pages whose axis has no name: ``frames``, or ``channels`` of one image.
            frames: Frames to use: ``all``, ``middle``, or a range such as ``::5`` or ``10:20``.
        """

        pages: Literal["frames", "channels"] = "frames"  # a scanned stack; a channel has a name in most files
        frames: str = "all"  # no page is left out unless the user says so

        def __post_init__(self) -> None:
            frame_numbers(self.frames, 1)

    suffixes = frozenset({".tif", ".tiff"})

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._images = Recent()

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell whether Pillow would lose a part of this file. It does not need tifffile."""
        if head[:4] not in _MAGIC:
            return False
        try:
            with Image.open(path, formats=("TIFF",)) as image:
                tags: Any = image.tag_v2  # type: ignore[attr-defined]
                text = str(tags.get(_DESCRIPTION, ""))[:100_000]
                extra = tags.get(_EXTRA, ())
                samples = int(tags.get(_SAMPLES, 1)) - sum(kind in _ALPHA for kind in extra)
                colours = 4 if tags.get(_PHOTOMETRIC) == _SEPARATED else 3
        except Exception:  # a mode that Pillow does not know
            return True
        several = text.startswith("ImageJ=") and any(f"{axis}=" in text for axis in ("channels", "slices", "frames"))
        return several or "<OME" in text or samples > colours

    def frames(self, path: Path) -> int:
        """Return the number of pages, slices and times together."""
        with damage_named(path, _WHAT), _opened(path) as file:
            return self._layout(file)[0]

    def chosen(self, path: Path) -> Sequence[int]:
        """Return the frames that the option ``frames`` chooses."""
        return frame_numbers(self.config.frames, self.frames(path))

    def read(self, path: Path, frame: int, short_side: int | None) -> np.ndarray:
        """Decode one frame at full size: ``(H, W, C)`` uint8 or uint16."""
        del short_side
        with damage_named(path, _WHAT):
            images = self._images.get((str(path), path.stat().st_mtime_ns), lambda: self._load(path))
        if not 0 <= frame < len(images):
            raise DataError(f"{path} has no page {frame}; it has {len(images)}, counted from 0.")
        return np.ascontiguousarray(images[frame])

    def _load(self, path: Path) -> NDArray[Any]:
        """Return all frames ``(frames, H, W, C)`` as grey levels."""
        with _opened(path) as file:
            _, order, shape = self._layout(file)
            try:
                values: NDArray[Any] = file.series[0].asarray()
            except Exception as error:  # decoders raise anything
                raise DataError(f"{path} cannot be read: its data is damaged ({type(error).__name__}).") from error
            white_is_zero = file.pages[0].photometric == 0
            bits = int(file.pages[0].bitspersample)
        return _levels(values.transpose(order).reshape(shape), white_is_zero, bits)

    def _layout(self, file: Any) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """Return the number of frames, the order of the axes, and the shape ``(frames, H, W, C)``."""
        series = file.series[0]
        axes, shape = series.axes, series.shape
        unnamed = "QI" if self.config.pages == "channels" else ""
        channels = [i for i, axis in enumerate(axes) if axis in f"CS{unnamed}"]
        plane = [axes.rindex("Y"), axes.rindex("X")]
        frames = [i for i in range(len(axes)) if i not in channels and i not in plane]
        count, depth = (int(np.prod([shape[i] for i in some], dtype=int)) for some in (frames, channels))
        return count, (*frames, *plane, *channels), (count, shape[plane[0]], shape[plane[1]], depth)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file.

    Raises:
        DataError: It is no TIFF file, or its axes are not those of an image.
    """
    tifffile = optional("tifffile", "tiff", "this TIFF file")
    with damage_named(path, _WHAT):
        size_of(path)  # special files are not opened
    with damage_named(path, _WHAT), tifffile.TiffFile(path) as file:
        len(file.pages)  # lists them: pages that follow each other in a circle would never end otherwise
        axes = file.series[0].axes
        if not {"X", "Y"} <= set(axes):
            raise DataError(f"{path} has the axes {axes}, which are not those of an image.")
        check_pixels(path, file.series[0].shape)
        yield file


def _levels(values: NDArray[Any], white_is_zero: bool, bits: int) -> NDArray[Any]:
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        levels: NDArray[Any] = values.astype(np.uint8) * np.uint8(255)
        bits = 8
    elif kind in "iu" and size <= 2:
        levels = values if kind == "u" else to_levels(values, signed=True)
    else:
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        levels = to_levels(np.nan_to_num((values - low) * (65535 / ((high - low) or 1.0))), signed=False)
        bits = 16
    if not white_is_zero:
        return levels
    return np.asarray((1 << bits) - 1 - np.minimum(levels, (1 << bits) - 1), levels.dtype)
