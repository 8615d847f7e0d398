"""From the stored pixels of a DICOM frame to the pixels that medssl keeps.

The steps are those of DICOM PS3.4, N.2: modality transformation, window (VOI), white at the top.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssl.errors import DataError
from medssl_readers._dicom_header import DESCRIBING, Uncompressed, pydicom, unreadable
from medssl_readers._guard import HeaderFile
from medssl_readers._windows import OFFSET, Table, Window, every_value, show, to_levels

__all__ = ["decode"]

_PALETTE = [
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
]


def decode(path: Path, frame: int, window: Window | None, uncompressed: Uncompressed | None = None) -> NDArray[Any]:
    """Decode one frame.

    - Grey with a window: uint8, black 0 and white 255.
    - Grey without a window, at most 8 bits unsigned and no rescaling: the stored values, uint8.
    - Other grey without a window: uint16. CT has HU + 32768. Others have the values of the modality transformation,
      with 32768 added if they may be negative; if rounding them would merge grey levels (slope below 1), or if they do
      not fit 16 bits, the stored values.
    - ``MONOCHROME1``: inverted, so that white has the largest value.
    - Padding (``PixelPaddingValue`` up to ``PixelPaddingRangeLimit``): the darkest level of the rest of the frame.
    - Colour, also YBR: RGB, uint8 or uint16. A palette of 16 bits is read with its upper 8 bits.

    Args:
        path: The file.
        frame: From 0.
        window: ``None``: no window.
        uncompressed: Where the pixels are in the file, if known; then pydicom is not needed to decode them.

    Returns:
        ``(H, W, 1)`` or ``(H, W, 3)``.

    Raises:
        DataError: The frame cannot be read, or has no such window.
    """
    if uncompressed is not None and (pixels := uncompressed.read(path, frame)) is not None:
        described = uncompressed.described
        return _grey(_Transforms(path, described.elements, frame), pixels, window, described.texts)[:, :, None]
    found, stored = _stored(path, frame)
    kind = str(found.get("PhotometricInterpretation", "")).upper()
    if kind == "PALETTE COLOR":
        return _from_palette(found, stored)
    if stored.ndim == 3:
        return np.ascontiguousarray(stored.astype(np.uint8 if stored.dtype.itemsize == 1 else np.uint16))
    transforms = _Transforms(path, found, frame)
    return _grey(transforms, stored, window)[:, :, None]


def _grey(
    transforms: _Transforms, stored: NDArray[Any], window: Window | None, described: Hashable = None
) -> NDArray[Any]:
    """Transform grey pixels; those of at most 16 bits by a table, because files of one series share it.

    ``described`` names what determines the table besides the window, if that is known already.
    """
    stored = transforms.without_padding(np.ascontiguousarray(stored, stored.dtype.newbyteorder("=")))
    recipe = transforms.recipe(stored.dtype, window) if described is None else (stored.dtype.str, window, described)
    if recipe is None:
        return np.ascontiguousarray(transforms.grey(stored, window))
    table = _tables.get(recipe)
    if table is None:
        while len(_tables) >= _TABLES:
            _tables.pop(next(iter(_tables), None), None)
        table = _tables[recipe] = Table.of(transforms.grey(every_value(stored.dtype.str), window), stored.dtype)
    return table.look_up(stored)


def _stored(path: Path, frame: int) -> tuple[Any, NDArray[Any]]:
    """Return the elements that describe the pixels, and the stored pixels; YBR is already RGB."""
    package = pydicom()
    pixels: Any = package.pixels
    found = package.Dataset()
    tags = [package.datadict.tag_for_keyword(name) for name in (*DESCRIBING, *_PALETTE)]
    try:
        with HeaderFile(path) as file:
            return found, pixels.pixel_array(file, ds_out=found, index=frame, specific_tags=tags)
    except Exception as error:  # decoders raise anything, and the text may quote the header
        raise unreadable(path, _cause(path, error)) from None


def _cause(path: Path, error: Exception) -> str:
    """Find out why a frame cannot be decoded."""
    package = pydicom()
    try:
        with HeaderFile(path) as file:
            found = package.dcmread(file, stop_before_pixels=True, force=True)
        with HeaderFile(path) as file:
            whole = package.dcmread(file, force=True)
    except Exception:
        return "its header is damaged"
    syntax = getattr(found, "file_meta", {}).get("TransferSyntaxUID")
    if not found.get("Rows"):
        return "it contains no image" if len(found) else "it is no DICOM file"
    if not {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(whole.dir()):
        return "it has no pixel data"
    if syntax is not None and syntax.is_private:
        return "its pixels are stored in a private transfer syntax, which only its manufacturer can read"
    if syntax is not None and syntax.is_compressed and "decompress" in str(error):
        return (
            f"no decoder for its transfer syntax ({syntax.name}) is installed, or its pixels are damaged. Run: "
            'pip install "medssl[dicom]"'
        )
    if isinstance(error, ValueError | EOFError | IndexError) and syntax is not None and not syntax.is_compressed:
        return "its pixel data is truncated or has another size than the header says"
    return f"its pixels are damaged ({type(error).__name__})"


def _from_palette(found: Any, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours of stored values; the last palette is kept, because expanding it takes most of the time."""
    values = (found.get(name) for name in _PALETTE)
    key = stored.dtype.str, *(value if isinstance(value, bytes) else str(value) for value in values)
    if (palette := _palettes.get(key)) is None:
        colours: NDArray[Any] = pydicom().pixels.apply_color_lut(every_value(stored.dtype.str), found)[..., :3]
        palette = np.asarray(colours >> 8 if colours.dtype.itemsize == 2 else colours, np.uint8)
        _palettes.clear()
        _palettes[key] = palette
    return palette.take(stored.view(f"u{stored.dtype.itemsize}"), axis=0)


_TABLES = 32  # of at most 128 kB
_tables: dict[Hashable, Table] = {}
_palettes: dict[Hashable, NDArray[np.uint8]] = {}


class _Transforms:
    """The transformations of one frame: its own, else those of all frames, else those of the file."""

    def __init__(self, path: Path, found: Any, frame: int) -> None:
        self._path = path
        shared = (found.get("SharedFunctionalGroupsSequence") or [None])[0]
        own = (found.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]
        self._places = [place for place in (*own, shared) if place is not None]
        self._file = found

    def _item(self, sequence: str) -> Any:
        """Return the functional group that holds some elements; the file itself for an ordinary image."""
        for place in self._places:
            if items := place.get(sequence):
                return items[0]
        return self._file

    @property
    def is_ct(self) -> bool:
        return str(self._file.get("Modality", "")) == "CT"

    @property
    def _inverted(self) -> bool:
        return str(self._file.get("PhotometricInterpretation", "")).upper() == "MONOCHROME1"

    def recipe(self, kind: np.dtype[Any], window: Window | None) -> Any:
        """Return everything that determines the grey level of a stored value; ``None`` if that is a long table."""
        place = self._item("FrameVOILUTSequence")
        if kind.kind not in "iu" or kind.itemsize > 2 or self._file.get("ModalityLUTSequence"):
            return None
        if window is not None and window.number and place.get("VOILUTSequence"):
            return None
        described = ("PixelRepresentation", "BitsStored", "PhotometricInterpretation", "Modality")
        own = [str(place.get(name)) for name in ("WindowCenter", "WindowWidth", "VOILUTFunction")]
        return kind.str, window, self._rescaling, *own, *(str(self._file.get(name)) for name in described)

    def without_padding(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Replace padding by the darkest of the other stored values (DICOM PS3.3, C.7.5.1.1.2)."""
        first = _whole(self._file.get("PixelPaddingValue"))
        if first is None or stored.dtype.kind not in "iu":
            return stored
        last = _whole(self._file.get("PixelPaddingRangeLimit"))
        low, high = sorted(_as_stored(value, stored.dtype) for value in (first, first if last is None else last))
        padding = (stored >= low) & (stored <= high)
        if not padding.any() or padding.all():
            return stored
        rest = stored[~padding]
        return np.where(padding, rest.max() if self._inverted != (self._rescaling[0] < 0) else rest.min(), stored)

    def grey(self, stored: NDArray[Any], window: Window | None) -> NDArray[Any]:
        """Return grey levels, see :func:`decode`."""
        if window is None:
            return self.plain(stored)
        return 255 - self.windowed(stored, window) if self._inverted else self.windowed(stored, window)

    @cached_property
    def _rescaling(self) -> tuple[float, float]:
        item = self._item("PixelValueTransformationSequence")
        try:
            slope, intercept = float(item.get("RescaleSlope", 1)), float(item.get("RescaleIntercept", 0))
        except (TypeError, ValueError):  # empty
            return 1.0, 0.0
        return (slope, intercept) if np.isfinite([slope, intercept]).all() and slope else (1.0, 0.0)

    def _values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Apply the modality LUT or the rescaling."""
        if self._file.get("ModalityLUTSequence"):
            values: NDArray[Any] = pydicom().pixels.apply_modality_lut(stored, self._file)
            return values
        slope, intercept = self._rescaling
        return stored if (slope, intercept) == (1, 0) else stored * slope + intercept

    def plain(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return grey levels without a window, see :func:`decode`."""
        bits, signed = int(self._file.get("BitsStored") or 16), bool(self._file.get("PixelRepresentation"))
        if stored.dtype.kind == "f":
            raise unreadable(self._path, "its values are no whole numbers. Choose a window for it")
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        if self._file.get("ModalityLUTSequence"):
            values = self._values(stored)
            top = (1 << int(self._file.ModalityLUTSequence[0].LUTDescriptor[2])) - 1
            return to_levels(top - values.astype(np.int64) if self._inverted else values, signed=False)
        slope, intercept = self._rescaling
        turned = np.int64(low + high) - stored if self._inverted else stored
        if bits <= 8 and not signed and (slope, intercept) == (1, 0):
            return turned.astype(np.uint8)
        least, most = sorted((low * slope + intercept, high * slope + intercept))
        fits = most <= (OFFSET - 1 if least < 0 else 2 * OFFSET - 1) and least >= -OFFSET
        if self.is_ct or (abs(slope) >= 1 and fits):
            values = self._values(stored)
            return to_levels(least + most - values if self._inverted else values, signed=self.is_ct or least < 0)
        return to_levels(turned if slope > 0 else np.int64(low + high) - turned, signed=signed)

    def windowed(self, stored: NDArray[Any], window: Window) -> NDArray[np.uint8]:
        """Return grey levels in a window."""
        if window.name and not self.is_ct:
            raise DataError(
                f"{self._path} is not a CT image, but the window '{window.name}' is for CT. Choose another window for "
                "it, or leave such files out."
            )
        values = self._values(stored)
        if not window.number:
            return show(values, window.centre, window.width)
        place = self._item("FrameVOILUTSequence")
        if luts := place.get("VOILUTSequence"):
            return self._through_lut(values, luts, window.number)
        centres, widths = (_listed(place.get(name)) for name in ("WindowCenter", "WindowWidth"))
        if len(centres) < window.number or len(widths) < window.number:
            raise self._lacks(window.number, min(len(centres), len(widths)))
        number = window.number - 1
        return show(values, centres[number], widths[number], str(place.get("VOILUTFunction") or "LINEAR"))

    def _through_lut(self, values: NDArray[Any], luts: Any, number: int) -> NDArray[np.uint8]:
        if len(luts) < number:
            raise self._lacks(number, len(luts))
        whole = np.rint(values).astype(np.int64)
        holder = pydicom().Dataset()
        holder.VOILUTSequence = luts
        holder.PixelRepresentation = self._file.get("PixelRepresentation", 0)
        seen: NDArray[Any] = pydicom().pixels.apply_voi(whole, holder, index=number - 1)
        bits = int(luts[number - 1].LUTDescriptor[2])
        return np.asarray(np.rint(seen / ((1 << bits) - 1) * 255), np.uint8)

    def _lacks(self, number: int, count: int) -> DataError:
        has = f"has {count} windows" if count else "has no window in its header"
        return DataError(
            f"{self._path} {has}, but window {number} was requested. Choose another window, for instance by a name or "
            "by centre and width."
        )


def _whole(value: Any) -> int | None:
    """Return an element with one whole number; ``None`` if it has none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _as_stored(value: int, kind: np.dtype[Any]) -> int:
    """Read a number as pixels of this type are read: some files write -2000 as 63536."""
    return int(np.array(value & ((1 << 8 * kind.itemsize) - 1), f"u{kind.itemsize}").view(kind))


def _listed(value: Any) -> list[float]:
    """Return an element with one or several numbers as a list."""
    if value is None or value == "":
        return []
    return [float(each) for each in value] if hasattr(value, "__iter__") else [float(value)]
