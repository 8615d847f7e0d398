"""DICOM images of all kinds, read with pydicom.

``pip install "medssl[dicom]"`` installs pydicom and decoders for JPEG, JPEG-LS, JPEG 2000 and RLE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medssl.contracts import FileFacts, Reader
from medssl.contracts.readers import frame_numbers
from medssl.errors import DataError
from medssl_readers._dicom_header import Header, read_header
from medssl_readers._dicom_pixels import decode
from medssl_readers._guard import damage_named
from medssl_readers._processes import Decoders
from medssl_readers._windows import parse_window

__all__ = ["Dicom"]

_WHAT = "a DICOM image"
_PREAMBLE = 128  # bytes, then "DICM"
_decoders = Decoders()


class Dicom(Reader):
    """Single files and multi-frame files, grey and colour, with the values that the header defines.

    Files without a suffix are recognised by their preamble. The patient becomes the group, the institution the site;
    scanner, modality, sex, age and body part become facts. Identifiers leave the reader only as keyed hashes.

    What is done to the pixels: the modality LUT or the rescaling, then the window if one is chosen. ``MONOCHROME1`` is
    inverted. Without a window, CT keeps HU + 32768 in 16 bits, and other images their values in 16 bits (8 bits if the
    file has no more); each image is then shown in the range of its own grey levels, or in the recipe's ``views.window``
    for all. Padding (``PixelPaddingValue``, for instance -2000 around a CT image) gets the darkest level of the rest of
    the frame, so it does not widen this range. Overlays are ignored.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            window: Grey levels that become black and white, for all files. ``file`` is the window (or VOI LUT) in the
                header, ``file:2`` the second one; a name (``lung``, ``bone``, ``brain``, ``soft`` and others) is a
                window for CT; two numbers are centre and width in the units of the file (HU for CT). The images then
                have 8 bits. ``null``: no window.
            frames: Frames of a multi-frame file to use: ``all``, ``middle``, or a range such as ``::5`` or ``10:20``.
            group: What the group is: the patient, the study, or nothing.
            mixed: Whether one study may have images of several photometric interpretations.
        """

        window: str | tuple[float, float] | None = None  # the pixels as they were measured; a window loses some
        frames: str = "all"  # no frame is left out unless the user says so
        group: Literal["patient", "study", "none"] = "patient"  # results must hold for new patients
        mixed: Literal["refuse", "accept"] = "refuse"  # screenshots among images are easily overlooked

        def __post_init__(self) -> None:
            parse_window(self.window, of_file=True)
            frame_numbers(self.frames, 1)

    suffixes = frozenset({".dcm", ".dicom", ".dic", ".ima"})

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._window = parse_window(config.window, of_file=True)
        self._headers: dict[tuple[str, int, int], Header] = {}

    def recognises(self, path: Path, head: bytes) -> bool:
        """Look for the preamble; the index of a medium (DICOMDIR) has one too, but no image."""
        return head[_PREAMBLE : _PREAMBLE + 4] == b"DICM" and path.name.upper() != "DICOMDIR"

    def _header(self, path: Path) -> Header:
        with damage_named(path, _WHAT):
            state = path.stat()
            key = (str(path), state.st_size, state.st_mtime_ns)
            if key not in self._headers:
                self._headers[key] = read_header(path, self.config.group, self.config.mixed)
            return self._headers[key]

    def frames(self, path: Path) -> int:
        """Return the number of frames."""
        return self._header(path).frames

    def chosen(self, path: Path) -> Sequence[int]:
        """Return the frames that the option ``frames`` chooses."""
        return frame_numbers(self.config.frames, self.frames(path))

    def facts(self, path: Path) -> FileFacts:
        """Return patient or study, hospital, scanner and acquisition."""
        return self._header(path).facts

    def read(self, path: Path, frame: int, short_side: int | None) -> np.ndarray:
        """Decode one frame at full size; ``(H, W, 1)`` or ``(H, W, 3)``, uint8 or uint16."""
        del short_side
        try:
            uncompressed = self._header(path).uncompressed
        except DataError:  # decoding says more precisely why
            uncompressed = None
        if uncompressed is None:
            return _decoders.decode(path, frame, self._window)
        with damage_named(path, _WHAT):
            return decode(path, frame, self._window, uncompressed)
