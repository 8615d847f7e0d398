"""NIfTI volumes as slices, read with nibabel (``pip install "medssl[nifti]"``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medssl.contracts import Reader
from medssl.contracts.readers import frame_numbers
from medssl.errors import DataError
from medssl_readers._guard import check_pixels, damage_named, size_of
from medssl_readers._recent import Recent
from medssl_readers._windows import Window, optional, parse_window, show, to_levels

__all__ = ["Nifti"]

_WHAT = "a NIfTI file"
_MOST_OF_A_BYTE = 1032  # bytes that deflate can make of one (zlib's technical notes)
_AXES = {"sagittal": 0, "coronal": 1, "axial": 2}  # of RAS


class Nifti(Reader):
    """Slices of NIfTI-1 and NIfTI-2 files, compressed or not; the slices of one file are in one group.

    Volumes are turned to the nearest RAS orientation first, so slices of all files lie in the same way, as in
    radiology: the patient's right is on the left of axial and coronal slices, and up is anterior (axial) or superior;
    sagittal slices look from the left, anterior is on the left. Pixels that are not square stay so.

    What is done to the values: the file's scaling; then the window if one is chosen (8 bits). Without a window, whole
    numbers without scaling keep their value in 16 bits (unsigned bytes in 8), with 32768 added if their type is signed.
    Other numbers are mapped so that the smallest of the volume is 0 and the largest 65535. Values that are not finite
    count as the smallest.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            axis: Direction in which the slices follow each other.
            frames: Slices of each volume to use: ``all``, ``middle``, or a range such as ``::5`` or ``10:20``. Slices
                are counted from inferior, posterior or left.
            volumes: Volumes of a 4-D file to use, in the same form.
            window: Values that become black and white: centre and width, or the name of a window for CT in HU.
        """

        axis: Literal["axial", "coronal", "sagittal"] = "axial"  # the usual plane of CT and of most MR
        frames: str = "all"  # no slice is left out unless the user says so
        volumes: str = "all"  # likewise
        window: str | tuple[float, float] | None = None  # a file does not say whether its values are HU

        def __post_init__(self) -> None:
            parse_window(self.window, of_file=False)
            frame_numbers(self.frames, 1)
            frame_numbers(self.volumes, 1)

    suffixes = frozenset({".nii", ".nii.gz"})

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._window = parse_window(config.window, of_file=False)
        self._axis = _AXES[config.axis]
        self._volumes = Recent()

    def _counts(self, path: Path) -> tuple[int, int]:
        """Return the number of slices of a volume, and of volumes."""
        with damage_named(path, _WHAT):
            image = _open(path)
            shape = image.shape[:3] + (1,) * (3 - len(image.shape[:3]))
            axis = int(np.flatnonzero(_orientation(image, path)[:, 0] == self._axis)[0])
            return int(shape[axis]), int(np.prod(image.shape[3:], dtype=int))

    def frames(self, path: Path) -> int:
        """Return the number of slices of all volumes."""
        slices, volumes = self._counts(path)
        return slices * volumes

    def chosen(self, path: Path) -> Sequence[int]:
        """Return the slices that the options choose; slice k of volume t has the number ``t * slices + k``."""
        slices, volumes = self._counts(path)
        kept = frame_numbers(self.config.frames, slices)
        return [volume * slices + k for volume in frame_numbers(self.config.volumes, volumes) for k in kept]

    def read(self, path: Path, frame: int, short_side: int | None) -> np.ndarray:
        """Return one slice at full size; ``(H, W, 1)``, or ``(H, W, 3)`` for colour; uint8 or uint16."""
        del short_side
        slices, volumes = self._counts(path)
        if not 0 <= frame < slices * volumes:
            raise DataError(f"{path} has no slice {frame}; it has {slices * volumes}, counted from 0.")
        number = frame // slices
        with damage_named(path, _WHAT):
            volume = self._volumes.get((str(path), path.stat().st_mtime_ns, number), lambda: self._load(path, number))
            plane = volume.take(frame % slices, axis=self._axis)
            picture = plane[::-1, ::-1].swapaxes(0, 1)
            return np.ascontiguousarray(picture if picture.ndim == 3 else picture[:, :, None])

    def _load(self, path: Path, number: int) -> NDArray[Any]:
        """Return one volume in RAS orientation as grey levels, ``(X, Y, Z)`` or ``(X, Y, Z, 3)``."""
        nibabel = optional("nibabel", "nifti", "NIfTI files")
        image = _open(path)
        place = np.unravel_index(number, image.shape[3:]) if image.shape[3:] else ()
        try:
            values = np.asanyarray(image.dataobj[(..., *(int(i) for i in place))] if place else image.dataobj)
        except Exception as error:  # gzip, zlib, numpy and nibabel each have their own
            raise DataError(
                f"{path} cannot be read: its data is damaged or truncated ({type(error).__name__})."
            ) from error
        levels = _levels(values.reshape(values.shape + (1,) * (3 - values.ndim)), self._window)
        return np.asarray(nibabel.apply_orientation(levels, _orientation(image, path)))


def _open(path: Path) -> Any:
    """Read the header.

    Raises:
        DataError: The file is no NIfTI file, or its header claims more voxels than it can hold.
    """
    nibabel = optional("nibabel", "nifti", "NIfTI files")
    with damage_named(path, _WHAT):
        size_of(path)
        image = nibabel.load(path)
        size = check_pixels(path, image.shape[:3])
        held = size * (_MOST_OF_A_BYTE if path.name.lower().endswith(".gz") else 1)
        claimed = int(np.prod(image.shape, dtype=np.float64)) * image.get_data_dtype().itemsize
        if not 0 < claimed <= held or min(image.shape) <= 0:
            raise DataError(
                f"{path} claims {claimed:,} bytes of voxels, which do not fit into the file. It is damaged."
            )
        return image


def _orientation(image: Any, path: Path) -> Any:
    affine = image.affine
    orientation = (
        optional("nibabel", "nifti", "NIfTI files").io_orientation(affine) if np.isfinite(affine).all() else None
    )
    if orientation is None or not np.isfinite(orientation).all():
        raise DataError(f"{path} does not say how its volume lies: its affine matrix is singular. Correct its header.")
    return orientation


def _levels(values: NDArray[Any], window: Window | None) -> NDArray[Any]:
    if values.dtype.names:
        return np.stack([values[name] for name in values.dtype.names[:3]], axis=-1).astype(np.uint8)
    if window is not None:
        return show(np.nan_to_num(values, nan=-np.inf), window.centre, window.width)
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "u" and size == 1:
        return values
    if kind in "iu" and size <= 2:
        return to_levels(values, signed=kind == "i")
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    whole = np.where(np.isfinite(values), values, low)
    return to_levels((whole - low) * (65535 / ((high - low) or 1.0)), signed=False)
