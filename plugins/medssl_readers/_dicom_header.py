"""What a DICOM file says about itself, without its pixels and without a word that leaves this module in clear."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssl.contracts import FileFacts
from medssl.contracts.readers import Agreement
from medssl.errors import DataError
from medssl_readers._guard import HeaderFile, check_pixels
from medssl_readers._windows import optional

__all__ = ["DESCRIBING", "Header", "Uncompressed", "pydicom", "read_header", "unreadable"]

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_OLDEST = 90  # years; a higher age identifies a person (HIPAA, 45 CFR 164.514(b)(2))
_TAGS = [
    *("SOPClassUID", "Modality", "Manufacturer", "ManufacturerModelName", "InstitutionName", "BurnedInAnnotation"),
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID"),
    *("BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality"),
    *("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation"),
]
_SEQUENCES = [
    *("ModalityLUTSequence", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
#: What determines the grey levels, besides the elements that pydicom itself reads to decode pixels.
DESCRIBING = [
    *("Modality", "RescaleSlope", "RescaleIntercept", "VOILUTFunction", "WindowCenter", "WindowWidth", *_SEQUENCES),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
]
_FORM = ["SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"]
_PIXEL_DATA = b"\xe0\x7f\x10\x00"  # the tag (7FE0,0010), little endian
_PATIENT_REMEDY = (
    "Two patients seem to have one id. Correct the ids; or group by study with --set readers.dicom.group=study; or use "
    "groups of your own with --set readers.dicom.group=none."
)
_STUDY_REMEDY = (
    "Such images do not compare: screenshots and reports are often among them. Leave some of them out, for instance "
    "with dataset.exclude; or accept them with --set readers.dicom.mixed=accept."
)


def pydicom() -> Any:
    """Import pydicom; it reads files that break the standard in details, and logs nothing from their headers.

    Raises:
        PluginError: It is not installed.
    """
    package = optional("pydicom", "dicom", "DICOM files")
    settings = package.config.settings
    if settings.reading_validation_mode != package.config.IGNORE:
        settings.reading_validation_mode = package.config.IGNORE  # its warnings quote the values of headers
        logging.getLogger("pydicom").addHandler(logging.NullHandler())
        logging.getLogger("pydicom").propagate = False
    return package


def unreadable(path: Path, why: str) -> DataError:
    """Return the error for a file."""
    return DataError(f"{path} cannot be read as a DICOM image: {why}.")


@dataclass(frozen=True)
class Described:
    """The elements of a header that determine the grey levels; files of one series share one object.

    Attributes:
        texts: Names and values.
        elements: As a pydicom dataset.
    """

    texts: tuple[tuple[str, str], ...]
    elements: Any = field(compare=False, repr=False)


_described: dict[tuple[tuple[str, str], ...], Described] = {}


@dataclass(frozen=True)
class Uncompressed:
    """Grey pixels that can be read without pydicom, because they lie uncompressed at a known place.

    Attributes:
        start: Position of the first frame in the file, in bytes.
        shape: Frames, rows, columns.
        dtype: Of the pixels, little endian.
        described: What determines the grey levels.
    """

    start: int
    shape: tuple[int, int, int]
    dtype: str
    described: Described

    def read(self, path: Path, frame: int) -> NDArray[Any] | None:
        """Return one frame, ``(H, W)``; ``None`` if the file does not have it in full."""
        frames, rows, columns = self.shape
        if not 0 <= frame < frames:
            return None
        pixels = np.empty((rows, columns), self.dtype)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a third of the time of Path.open)
            file.seek(self.start + frame * pixels.nbytes)
            whole = file.readinto(pixels.data.cast("B")) == pixels.nbytes
        return pixels if whole else None


@dataclass(frozen=True)
class Header:
    """What is needed to list a file.

    Attributes:
        frames: Number of frames.
        facts: With identifiers as in the file; :class:`medssl.contracts.Readers` hashes them.
        uncompressed: Where the pixels are; ``None``: pydicom must decode them.
    """

    frames: int
    facts: FileFacts
    uncompressed: Uncompressed | None = None


def read_header(path: Path, group: str, mixed: str) -> Header:
    """Read a header.

    Args:
        path: The file.
        group: ``patient``, ``study`` or ``none``.
        mixed: ``refuse`` or ``accept`` images of several kinds in one study.

    Raises:
        DataError: The file is no DICOM file, or has no image.
    """
    package = pydicom()
    try:
        with HeaderFile(path) as file:
            if not any(file.read(132)):  # else each pair of zeros would be read as an element
                raise unreadable(path, "it is no DICOM file")
            file.seek(0)
            found = package.dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=[*_TAGS, *_FORM, *DESCRIBING]
            )
            start = file.tell()
            next_element = file.read(12)
        frames = int(found.get("NumberOfFrames") or 1)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged header causes; the error's own text may quote it
        raise unreadable(path, f"its header is damaged ({type(error).__name__})") from None
    if not len(found):
        raise unreadable(path, "it is no DICOM file")
    if not found.get("Rows") or not found.get("Columns"):
        raise unreadable(path, f"it contains no image{_class_of(found)}")
    frames = max(1, frames)
    size = check_pixels(path, (int(found.Rows), int(found.Columns)))
    if frames > size:
        raise unreadable(path, f"its header claims {frames:,} frames, which do not fit into the file")
    return Header(frames, _facts(found, group, mixed), _uncompressed(found, frames, start, next_element))


def _uncompressed(found: Any, frames: int, start: int, head: bytes) -> Uncompressed | None:
    """Find the pixels of a file; ``head`` is the beginning of the element at ``start``."""
    syntax = getattr(found, "file_meta", {}).get("TransferSyntaxUID")
    uid = pydicom().uid
    if syntax not in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian) or head[:4] != _PIXEL_DATA:
        return None
    if found.get("SamplesPerPixel") != 1 or any(name in found for name in _SEQUENCES):
        return None
    kind = str(found.get("PhotometricInterpretation"))
    bits, sign = found.get("BitsAllocated"), found.get("PixelRepresentation")
    if kind not in ("MONOCHROME1", "MONOCHROME2") or bits not in (8, 16) or sign not in (0, 1):
        return None
    long_form = syntax == uid.ExplicitVRLittleEndian  # two bytes of type, two of zeros, four of length
    length = int.from_bytes(head[8:12] if long_form else head[4:8], "little")
    shape = (frames, int(found.Rows), int(found.Columns))
    size = int(np.prod(shape)) * bits // 8
    if length not in (size, size + size % 2) or not 1 <= (found.get("BitsStored") or 0) <= bits:
        return None
    names = [*DESCRIBING, "PhotometricInterpretation", "BitsStored", "PixelRepresentation"]
    described = _describe({name: found[name] for name in names if name in found})
    return Uncompressed(start + (12 if long_form else 8), shape, f"<{'ui'[sign]}{bits // 8}", described)


def _describe(elements: dict[str, Any]) -> Described:
    texts = tuple((name, str(element.value)) for name, element in elements.items())
    if texts not in _described:
        alone = pydicom().Dataset()
        for element in elements.values():
            alone[element.tag] = element
        _described[texts] = Described(texts, alone)
    return _described[texts]


def _class_of(found: Any) -> str:
    name = getattr(found.get("SOPClassUID"), "name", "")
    return f", but is a {name}" if re.fullmatch(r"[A-Z][\w ,()-]+ (Storage|IOD)", str(name)) else ""


def _facts(found: Any, group: str, mixed: str) -> FileFacts:
    def text(name: str) -> str:
        value = found.get(name)
        return "" if value is None else re.sub(r"\s+", " ", str(value)).strip()

    patient, study, site = text("PatientID"), text("StudyInstanceUID"), text("InstitutionName")
    by_patient = group == "patient" and bool(patient)
    agree = list(_same_person(text, patient) if by_patient else ())
    if study and mixed == "refuse":
        kind = text("PhotometricInterpretation").upper()
        kind = kind if kind.startswith("MONOCHROME") else "colour"
        agree.append(_agreement("photometric interpretation", "study", study, kind, _STUDY_REMEDY))
    return FileFacts(
        group=None if group == "none" else patient if by_patient else study or None,
        group_kind="patient" if by_patient else "study",
        site=site or None,
        site_kind="hospital" if site else "",
        values=_values(text),
        agree=tuple(agree),
        remarks=tuple(_remarks(text)),
    )


def _same_person(text: Any, patient: str) -> list[Agreement]:
    name = re.sub(r"[\^=\s]+", " ", text("PatientName")).strip().casefold()
    values = {"birth date": text("PatientBirthDate"), "sex": text("PatientSex").upper(), "name": name}
    return [_agreement(what, "patient", patient, value, _PATIENT_REMEDY) for what, value in values.items() if value]


def _agreement(what: str, within: str, of: str, value: str, remedy: str) -> Agreement:
    return Agreement(what=what, within=within, of=of, value=value, remedy=remedy)


def _values(text: Any) -> dict[str, Any]:
    """Return the facts that identify no one."""
    found: dict[str, Any] = {
        "modality": text("Modality"),
        "scanner": " ".join(filter(None, (text("Manufacturer"), text("ManufacturerModelName")))),
        "sex": text("PatientSex") if text("PatientSex") in ("F", "M", "O") else "",
        "body_part": text("BodyPartExamined").lower(),
        "view": text("ViewPosition"),
        "laterality": text("ImageLaterality") or text("Laterality"),
    }
    if age := re.fullmatch(r"(\d{3})Y", text("PatientAge")):
        found["age"] = min(int(age[1]), _OLDEST)
    return {name: value for name, value in found.items() if value != ""}


def _remarks(text: Any) -> list[str]:
    found = []
    if text("BurnedInAnnotation").upper() == "YES":
        found.append(
            "the pixels may show the patient's name (BurnedInAnnotation). Check them before you show them to others"
        )
    if text("SOPClassUID").startswith(_SECONDARY_CAPTURE):
        found.append(
            "secondary captures, for instance screenshots. They may show names, and their grey levels are not those of "
            "the scanner"
        )
    return found
