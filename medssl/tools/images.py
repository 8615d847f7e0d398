"""Reads an image file of any mode into an array; turns and mirrors arrays.

Pillow does the decoding. This module handles all modes that occur in medical folders: grey, colour, palette,
transparency, 16 bits, CMYK, rotated photographs and truncated files.
"""

from __future__ import annotations

import contextlib
import io
import threading
from math import ceil, prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from medssl.errors import DataError
from medssl.io.limits import IMAGE_BYTES, IMAGE_FREE, IMAGE_PIXELS, PIXELS_PER_BYTE
from medssl.io.reading import open_regular, read_content

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor  # used in a type variable's text

__all__ = ["IMAGE_SUFFIXES", "SYMMETRIES", "count_pages", "read_image", "read_opened", "require_pixels", "turn"]

ArrayT = TypeVar("ArrayT", np.ndarray, "Tensor")

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Suffixes, in lower case, of the files that :func:`read_image` is made for."""

SYMMETRIES = tuple((bool(way & 1), bool(way & 2), bool(way & 4)) for way in range(8))
"""The eight symmetries of a square as arguments of :func:`turn`: mirror, upend, transpose. The first is none."""

#: Pillow's names of the formats above; none of them starts another program, as EPS does.
_FORMATS = ("BMP", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

#: Minimum ratio of decoded to requested pixels along a side, as in Pillow's ``thumbnail``.
_GAP = 2

_TIFF_SUFFIXES = (".tif", ".tiff")
_SUBFILE, _BITS, _PHOTOMETRIC = 254, 258, 262  # tags of TIFF 6.0
_NO_PAGE = 0b101  # bits of the tag 254: a reduced copy of another page, or a mask

_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_GREY_MODES = ("1", "L", "LA", "La")

_pillow_limit = threading.Lock()


def read_image(path: str | Path, short_side: int | None = None, frame: int = 0) -> np.ndarray:
    """Decode one image file, or one page of a TIFF file.

    An EXIF orientation is applied. The number of channels and the depth follow from the file's
    mode, never from its pixels, so that equal kinds of files give equal kinds of arrays:

    - 1-bit, grey, and grey with transparency: one channel, uint8; the two values of 1-bit files are 0 and 255.
    - RGB, palette, CMYK, YCbCr, with or without transparency: three channels, uint8. Equal channels are not reduced to
      one.
    - 16-bit grey, and 32-bit integer or floating point grey that holds whole numbers from 0 to 65535: one channel,
      uint16. White is always the largest value, also where the file says that white is zero.

    Transparency is dropped, not composed onto a colour: the alpha channel of scans is opaque or has no meaning.
    Pillow has no colour mode of 16 bits; such files are read with their upper 8 bits.

    Args:
        path: File of one of the formats behind :data:`IMAGE_SUFFIXES`; the suffix itself does not matter.
        short_side: What the image will be reduced to, in pixels. A JPEG file is then decoded at a half, a quarter or an
            eighth of its size by its own transform, as long as the short side keeps twice as many pixels, because the
            last step needs a filter. ``None``: full size.
        frame: Page of a TIFF file, from 0, as :func:`count_pages` counts them.

    Returns:
        ``(H, W, C)``, C 1 or 3, uint8 or uint16, writable, owned by the caller.

    Raises:
        DataError: The file is missing, empty, truncated, not an image, too large, or has values that do not fit. The
            message names the file and the cause.
    """
    path = Path(path)
    try:
        if frame:  # a stack may be large, and each of its pages is read alone
            with open_regular(path) as file:
                return _pixels(_load(file, short_side, frame))
        return _decode(read_content(path, IMAGE_BYTES), short_side)
    except DataError as error:
        raise DataError(f"{path} cannot be used as an image: {error}") from error
    # Pillow's readers raise nearly any exception for a broken file (SyntaxError, struct.error, IndexError, ...)
    except Exception as error:
        raise DataError(f"{path} cannot be read as an image: {_cause(error)}.") from error


def count_pages(path: str | Path) -> int:
    """Return the number of pages of a TIFF file, without reduced copies and masks; 1 for every other file.

    Raises:
        DataError: The file is not a TIFF file, or is damaged.
    """
    if not str(path).lower().endswith(_TIFF_SUFFIXES):
        return 1
    try:
        with open_regular(path) as file, Image.open(file, formats=_FORMATS) as image:
            return sum(1 for _ in _pages(image))
    except Exception as error:  # as in read_image
        raise DataError(f"{path} cannot be read as an image: {_cause(error)}.") from error


def _pages(image: Image.Image) -> Iterator[int]:
    """Seek to each page in turn, and yield its position in the file; the first page always counts."""
    for place in range(getattr(image, "n_frames", 1)):
        image.seek(place)
        if place == 0 or not int(_tag(image, _SUBFILE, 0)) & _NO_PAGE:
            yield place


def _tag(image: Image.Image, number: int, otherwise: int) -> Any:
    """Return a tag of the current page of a TIFF file."""
    found = getattr(image, "tag_v2", {}).get(number, otherwise)
    return found[0] if isinstance(found, tuple) else found


def read_opened(image: Image.Image, short_side: int | None = None) -> np.ndarray:
    """Turn an opened Pillow image into the array that :func:`read_image` returns for its file.

    If its pixels are already loaded, two cases differ: a large JPEG file, which :func:`read_image` decodes at a
    fraction of its size, and a 16-bit TIFF file with an EXIF orientation, which Pillow does not turn.

    Args:
        image: Image of any mode; an EXIF orientation is applied. Its current frame is read.
        short_side: See :func:`read_image`.

    Returns:
        ``(H, W, C)``, see :func:`read_image`.

    Raises:
        DataError: The file behind the image is closed or damaged, or its values do not fit.
    """
    try:
        if data := _unread(image):
            return _decode(data, short_side)
        image.load()
        return _pixels(image)
    except DataError as error:
        raise DataError(f"the Pillow image cannot be used: {error}") from error
    except Exception as error:  # as in read_image
        raise DataError(
            f"the Pillow image cannot be read: {_cause(error)}. Keep its file open, or call its load()."
        ) from error


def _unread(image: Image.Image) -> bytes:
    """Return the content of an image's file if its first frame is not loaded yet, else nothing.

    Pillow itself does not turn a 16-bit TIFF file upright if it maps the file into memory.
    """
    file = getattr(image, "fp", None)
    if file is None or not getattr(image, "tile", None) or image.tell() or image.format not in _FORMATS:
        return b""
    place = file.tell()
    file.seek(0)
    data: bytes = file.read()
    file.seek(place)
    return data


def _decode(data: bytes, short_side: int | None) -> np.ndarray:
    if not data:
        raise DataError("the file is empty")
    return _pixels(_load(io.BytesIO(data), short_side))


def _pixels(image: Image.Image) -> np.ndarray:
    deep = image.mode in _DEEP_MODES
    pixels = _white_last(_to_uint16(np.asarray(image)), image) if deep else np.array(_convert(image, image.mode))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return _upright(pixels, _orientation(image))


@contextlib.contextmanager
def _without_pillow_limit() -> Iterator[int]:
    """Remove Pillow's global limit of pixels, which would reject a large scan; yield the limit.

    The lock keeps two threads from restoring it in the wrong order.
    """
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield limit or IMAGE_PIXELS
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _size(source: IO[bytes]) -> int:
    place = source.tell()
    size = source.seek(0, io.SEEK_END)
    source.seek(place)
    return size


def _load(source: IO[bytes], short_side: int | None, frame: int = 0) -> Image.Image:
    with _without_pillow_limit() as limit:  # only the header, mostly from memory, so other threads hardly wait
        image = Image.open(source, formats=_FORMATS)
        _seek(image, frame)
    pixels = require_pixels(image.size, _size(source))
    if short_side is not None:
        kept = min(1.0, _GAP * short_side / min(image.size))
        image.draft(None, (ceil(image.width * kept), ceil(image.height * kept)))  # only JPEG uses this
    with _without_pillow_limit() if pixels > limit else contextlib.nullcontext():
        image.load()
    return image


def require_pixels(shape: Sequence[int], size: int) -> int:
    """Check the size of an image or a volume before it is decoded.

    Args:
        shape: Its pixels in each direction, as its header says.
        size: Bytes of its file.

    Returns:
        The number of its pixels.

    Raises:
        DataError: It has no pixels, more than ``IMAGE_PIXELS``, or far more than such a file can hold, see
            :doc:`/reference/limits`. The message does not name the file.
    """
    pixels, words = prod(shape), " x ".join(map(str, shape))
    if not shape or min(shape) <= 0:
        raise DataError(f"it has {words} pixels")
    if pixels > IMAGE_PIXELS:
        raise DataError(f"{words} pixels are more than {IMAGE_PIXELS:,}. Cut it into tiles first.")
    if pixels > IMAGE_FREE and pixels > PIXELS_PER_BYTE * size:
        raise DataError(
            f"{words} pixels in {size:,} bytes are an empty image, or one that is made to fill the memory. Cut it into "
            "tiles first."
        )
    return pixels


def _seek(image: Image.Image, frame: int) -> None:
    if frame and all(number < frame for number, _ in enumerate(_pages(image))):
        raise DataError(f"it has no page {frame}; pages are counted from 0")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """Convert any 8-bit mode to ``L`` or ``RGB``."""
    if mode in ("L", "RGB"):
        return image
    if mode in _GREY_MODES:
        return image.convert("L")
    if mode in ("P", "PA"):
        return image.convert("RGBA").convert("RGB")  # through RGBA, because a palette may have its own transparency
    return image.convert("RGB")


def _to_uint16(values: np.ndarray) -> np.ndarray:
    """Cast whole numbers from 0 to 65535; other values give an error, because the cast would change them."""
    if values.dtype.itemsize == 2:
        return values.astype(np.uint16)
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind == "i" or bool((values == np.floor(values)).all())
    if not (whole and low >= 0 and high <= 65535):  # a NaN fails all of these checks
        raise DataError(
            f"its values run from {low:g} to {high:g}, and only whole numbers from 0 to 65535 fit. "
            "Convert it to 8 or 16 bits first."
        )
    return values.astype(np.uint16)


def _white_last(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """Invert a TIFF page that says that white is zero; Pillow itself does this up to 8 bits."""
    if image.format != "TIFF" or _tag(image, _PHOTOMETRIC, 1) != 0:
        return values
    white = 2 ** min(16, _tag(image, _BITS, 16)) - 1
    return np.asarray(white - np.minimum(values, white), np.uint16)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or the EXIF block is damaged."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged metadata must not reject good pixels
        return 1


#: EXIF 2.32, table 6 (tag 0x0112): the operations that turn the image upright (mirror, upend, transpose).
_UPRIGHT = {
    2: (True, False, False),
    3: (True, True, False),
    4: (False, True, False),
    5: (False, False, True),
    6: (False, True, True),
    7: (True, True, True),
    8: (True, False, True),
}


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    symmetry = _UPRIGHT.get(orientation)
    return pixels if symmetry is None else np.ascontiguousarray(turn(pixels, *symmetry, axes=(0, 1)))


def turn(x: ArrayT, mirror: bool, upend: bool, transpose: bool, *, axes: tuple[int, int] = (-2, -1)) -> ArrayT:
    """Turn or mirror pictures: reverse the columns, reverse the rows, then swap rows and columns.

    Each of the eight symmetries of a square is one combination of the three; a counterclockwise quarter turn is
    ``mirror`` and ``transpose``.

    Args:
        x: A numpy array or a torch tensor.
        mirror: Reverse the columns.
        upend: Reverse the rows.
        transpose: Swap rows and columns, after the reversals.
        axes: The axis of the rows and that of the columns.

    Returns:
        A view of the same numbers if numpy or torch can return one, else a copy.
    """
    rows, columns = axes
    if mirror or upend:
        reversed_axes = (columns, rows) if mirror and upend else (columns,) if mirror else (rows,)
        x = np.flip(x, reversed_axes) if isinstance(x, np.ndarray) else x.flip(reversed_axes)
    return x.swapaxes(rows, columns) if transpose else x


def _cause(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "medssl cannot read its image format"
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
