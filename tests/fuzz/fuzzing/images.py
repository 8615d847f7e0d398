"""Images: whole files of each format, then damaged, or with a header that lies; and paths that are no files."""

from __future__ import annotations

import functools
import gzip
import io
import os
import random
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fuzzing.mutating import NUMBERS, damage
from fuzzing.watching import watched

USES = (
    "medssl.tools.reading",
    "medssl.tools.images",
    "medssl_readers.dicom",
    "pydicom.pixels",
    "pydicom.encaps",
    "nibabel",
    "tifffile",
    "imagecodecs",
)
"""Modules that the cases use."""

_SHORT_SIDES = (None, 16, 224)


def check(rng: random.Random, folder: Path) -> None:
    """Write one image and read it as a run does.

    Raises:
        MedsslError: medssl refuses it.
    """
    from medssl.contracts import Readers

    path = _written(rng, folder)
    readers: Readers = rng.choice(_readers())
    with watched():
        read_all(rng, readers, path)


def read_all(rng: random.Random, readers: Any, path: Path) -> None:
    """Read a file in each of the ways in which a run does, and check what comes back.

    Raises:
        MedsslError: medssl refuses it.
    """
    from medssl.errors import MedsslError

    refusal: MedsslError | None = None
    names = readers.ids(path.name, path)
    assert names, "a file has at least one id"
    readers.survey({path.name: path})
    try:
        readers.facts(path)
    except MedsslError as error:
        refusal = error
    for name in {names[0], names[len(names) // 2], names[-1]}:
        place, frame = readers.locate(path.parent, name)
        try:
            pixels = readers.read(place, frame, rng.choice(_SHORT_SIDES))
        except MedsslError as error:
            refusal = error
        else:
            shape, kind = getattr(pixels, "shape", ()), getattr(pixels, "dtype", None)
            assert len([side for side in shape if side > 0]) == 3, f"a reader returned the shape {shape}"
            assert kind in (np.uint8, np.uint16), f"a reader returned {kind}"
    if refusal is not None:
        raise refusal


@functools.cache
def _readers() -> tuple[Any, ...]:
    from medssl.recipe import options
    from medssl.tools.reading import installed_readers, readers_with
    from medssl_readers.dicom import Dicom
    from medssl_readers.nifti import Nifti
    from medssl_readers.tiff import Tiff

    def named(name: str, kind: Any, **values: Any) -> Any:
        return readers_with([(f"medssl:{name}", kind(options.build(kind.Config, values, "reader")))])

    return (
        installed_readers(),
        installed_readers(),
        named("tiff", Tiff),
        named("tiff", Tiff, pages="channels"),
        named("dicom", Dicom, window="file"),
        named("dicom", Dicom, window="lung", frames="middle"),
        named("nifti", Nifti, window="lung", axis="sagittal"),
    )


# ------------------------------------------------------------------------------------------------------------- writing


def _written(rng: random.Random, folder: Path) -> Path:
    whole = whole_files()
    name = rng.choice(sorted(whole))
    way = rng.random()
    if way < 0.02:
        return _no_file(rng, folder)
    content = whole[name]
    if way < 0.07:
        pass
    elif way < 0.4 and name.rpartition(".")[2] in _LIES:
        content = _LIES[name.rpartition(".")[2]](rng, content)
        content = damage(rng, content) if rng.random() < 0.1 else content
    elif name.endswith(".gz") and way < 0.8:
        content = gzip.compress(damage(rng, gzip.decompress(content)), 1)
    else:
        content = damage(rng, content)
    shown = (
        name
        if rng.random() < 0.85
        else rng.choice(("a", "a.png", "a.dcm", "a.tif", "a.nii", "a.nii.gz", "a.webp", "a.jpg"))
    )
    path = folder / shown
    path.write_bytes(content)
    return path


def _no_file(rng: random.Random, folder: Path) -> Path:
    path = folder / rng.choice(("a.png", "a.tif", "a.dcm", "a.nii.gz", "a"))
    way = rng.randrange(6)
    if way == 0:
        os.mkfifo(path)
    elif way == 1:
        path.symlink_to("/dev/zero")
    elif way == 2:
        path.symlink_to(path.name)
    elif way == 3:
        path.mkdir()
    elif way == 4:
        held = socket.socket(socket.AF_UNIX)
        here = os.open(folder, os.O_RDONLY)
        held.bind(f"/proc/self/fd/{here}/{path.name}")
        held.close()
        os.close(here)
    else:
        with path.open("wb") as file:
            file.truncate(rng.choice((0, 2**33)))
    return path


@functools.cache
def whole_files() -> dict[str, bytes]:
    """Return small files of all formats by name."""
    pixels = np.random.default_rng(0).integers(0, 256, (23, 19, 4), np.uint8)
    grey, colour = Image.fromarray(pixels[..., 0]), Image.fromarray(pixels[..., :3])
    deep = Image.fromarray(pixels[..., :2].copy().view(np.uint16)[..., 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "grey.png": _saved(grey, "PNG"),
        "colour.png": _saved(colour, "PNG"),
        "alpha.png": _saved(Image.fromarray(pixels), "PNG"),
        "palette.png": _saved(colour.quantize(16), "PNG", transparency=3),
        "bits.png": _saved(grey.convert("1"), "PNG"),
        "deep.png": _saved(deep, "PNG"),
        "grey.jpg": _saved(grey, "JPEG"),
        "turned.jpg": _saved(colour, "JPEG", exif=exif),
        "progressive.jpg": _saved(colour.resize((90, 70)), "JPEG", progressive=True),
        "cmyk.jpg": _saved(colour.convert("CMYK"), "JPEG"),
        "grey.tif": _saved(grey, "TIFF"),
        "deep.tif": _saved(deep, "TIFF", compression="tiff_deflate"),
        "lzw.tif": _saved(colour, "TIFF", compression="tiff_lzw"),
        "float.tif": _saved(grey.convert("F"), "TIFF"),
        "pages.tif": _saved(grey, "TIFF", save_all=True, append_images=[grey, grey]),
        "jpeg.tif": _saved(colour, "TIFF", compression="jpeg"),
        "fax.tif": _saved(grey.convert("1"), "TIFF", compression="group4"),
        "colour.webp": _saved(colour, "WEBP"),
        "lossless.webp": _saved(colour, "WEBP", lossless=True),
        "moving.webp": _saved(colour, "WEBP", save_all=True, append_images=[grey.convert("RGB")]),
        "palette.gif": _saved(colour.quantize(16), "GIF"),
        "moving.gif": _saved(grey, "GIF", save_all=True, append_images=[grey.rotate(90)]),
        "colour.bmp": _saved(colour, "BMP"),
        "colour.ppm": _saved(colour, "PPM"),
        "grey.pgm": _saved(grey, "PPM"),
        "colour.jp2": _saved(colour, "JPEG2000"),
        "empty.png": b"",
        "zeros.dcm": bytes(600),
    }
    for add in (_tifffile_files, _nifti_files, _dicom_files):
        try:
            found |= add(pixels)
        except ImportError:  # an extra
            continue
    return found


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _tifffile_files(pixels: np.ndarray) -> dict[str, bytes]:
    import tifffile

    def written(values: np.ndarray, **options: Any) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, **options)
        return buffer.getvalue()

    stack = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return {
        "imagej.tif": written(stack.astype(np.uint16), imagej=True, metadata={"axes": "CYX"}),
        "ome.tif": written(stack, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack"),
        "wide.tif": written(np.concatenate([pixels, pixels], 2), photometric="minisblack", planarconfig="contig"),
        "big.tif": written(stack.astype(np.float32), bigtiff=True, photometric="minisblack"),
        "signed.tif": written(stack.astype(np.int16), photometric="miniswhite"),
    }


def _nifti_files(pixels: np.ndarray) -> dict[str, bytes]:
    import nibabel

    values = pixels.reshape(23, 19, 2, 2)
    colour = np.zeros((5, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    scaled = nibabel.Nifti1Image(values.astype(np.int16), np.diag([1, -1, 2, 1]))
    scaled.header.set_slope_inter(2, -1000)
    images = {
        "grey.nii": nibabel.Nifti1Image(values[..., 0].copy(), np.eye(4)),
        "times.nii": nibabel.Nifti1Image(values.astype(np.float32), np.diag([-1, 1, 1, 1])),
        "scaled.nii": scaled,
        "colour.nii": nibabel.Nifti1Image(colour, np.eye(4)),
        "second.nii": nibabel.Nifti2Image(values[..., 0].astype(np.uint16), np.eye(4)),
    }
    found = {name: image.to_bytes() for name, image in images.items()}
    return found | {f"{name}.gz": gzip.compress(content, 1) for name, content in found.items()}


def _dicom_files(pixels: np.ndarray) -> dict[str, bytes]:
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

    deep = pixels[..., :2].copy().view(np.uint16)[..., 0] & 4095
    jpeg = _saved(Image.fromarray(pixels[..., 0]), "JPEG")
    j2k = _saved(Image.fromarray(pixels[..., :3]), "JPEG2000", no_jp2=True)
    rle = dicom_file(deep)
    rle.compress(RLELossless)
    table = b"".join(struct.pack("<H", i * 257) for i in range(256))
    palette = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")}
    palette |= {f"{c}PaletteColorLookupTableData": table for c in ("Red", "Green", "Blue")}
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [16, 0, 16], bytes(range(32))
    frames = np.stack([deep, deep])
    made = {
        "ct.dcm": dicom_file(
            deep, Modality="CT", RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="40", WindowWidth="400"
        ),
        "implicit.dcm": dicom_file(deep, syntax=ImplicitVRLittleEndian, PixelPaddingValue=0),
        "swapped.dcm": dicom_file(deep, syntax=ExplicitVRBigEndian),
        "inverse.dcm": dicom_file(pixels[..., 0].copy(), PhotometricInterpretation="MONOCHROME1"),
        "frames.dcm": dicom_file(frames, NumberOfFrames=2),
        "rle.dcm": rle,
        "colour.dcm": dicom_file(
            pixels[..., :3].copy(), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
        ),
        "palette.dcm": dicom_file(pixels[..., 0].copy(), PhotometricInterpretation="PALETTE COLOR", **palette),
        "voi.dcm": dicom_file(deep, VOILUTSequence=[item]),
        "modality.dcm": dicom_file(deep & 15, ModalityLUTSequence=[item]),
        "jpeg.dcm": dicom_file(pixels[..., 0].copy(), syntax=JPEGBaseline8Bit, data=pydicom.encaps.encapsulate([jpeg])),
        "j2k.dcm": dicom_file(
            pixels[..., :3].copy(),
            syntax=JPEG2000Lossless,
            data=pydicom.encaps.encapsulate([j2k]),
            SamplesPerPixel=3,
            PhotometricInterpretation="YBR_RCT",
            PlanarConfiguration=0,
        ),
    }
    return {name: dicom_bytes(found) for name, found in made.items()}


def dicom_file(stored: np.ndarray, **elements: Any) -> Any:
    """Return a DICOM image as a dataset of pydicom."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    found = pydicom.Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    found.Modality, found.PatientID, found.PatientName, found.StudyInstanceUID = "MR", "P1", "Doe^Jane", "1.2.3"
    several = stored.ndim == 3 and "NumberOfFrames" in elements
    found.Rows, found.Columns = stored.shape[1:] if several else stored.shape[:2]
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated = 8 * stored.dtype.itemsize
    found.BitsStored = 8 if found.BitsAllocated == 8 else 12
    found.HighBit = found.BitsStored - 1
    data = elements.pop("data", None)
    kind = stored.dtype.newbyteorder(">" if found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2" else "<")
    content = stored.astype(kind).tobytes() if data is None else data
    found.PixelData = content + b"\0" * (len(content) % 2)
    if data is not None:
        found["PixelData"].VR, found["PixelData"].is_undefined_length = "OB", True
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def dicom_bytes(found: Any) -> bytes:
    """Return the file of a dataset."""
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


# ----------------------------------------------------------------------------------------------------- lies in headers


def _png(rng: random.Random, content: bytes) -> bytes:
    """Change a chunk, and correct its checksum."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    if not chunks:
        return content
    at = rng.randrange(len(chunks)) if rng.random() < 0.5 else 0
    name, data = chunks[at]
    if name == b"IHDR" and rng.random() < 0.7:
        width, height, *rest = struct.unpack(">IIBBBBB", data)
        sizes = (*NUMBERS[:18], 8192, 32768, 100_000)
        way = rng.randrange(3)
        width = rng.choice(sizes) if way != 1 else width
        height = rng.choice(sizes) if way != 0 else height
        if way == 2:
            rest[rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunks[at] = (name, struct.pack(">IIBBBBB", width % 2**32, height % 2**32, *rest))
    elif name == b"IDAT" and rng.random() < 0.5:
        chunks[at] = (name, zlib.compress(rng.choice((b"", b"\0" * 10_000_000, rng.randbytes(500)))))
    elif rng.random() < 0.5:
        text = zlib.compress(b"x" * rng.choice((10, 10_000_000)))
        extra = rng.choice(
            (
                (b"iCCP", b"p\0\0" + text),
                (b"zTXt", b"t\0\0" + text),
                (b"eXIf", rng.randbytes(80)),
                (b"tRNS", rng.randbytes(7)),
                (b"PLTE", rng.randbytes(9)),
                (b"acTL", rng.randbytes(8)),
            )
        )
        chunks.insert(1, extra)
    else:
        chunks[at] = (name, damage(rng, data) if data else b"\0")
    sealed = (len(d).to_bytes(4) + n + d + zlib.crc32(n + d).to_bytes(4) for n, d in chunks)
    return content[:8] + b"".join(sealed)


def _tif(rng: random.Random, content: bytes) -> bytes:
    """Change a field of an entry of the first directory."""
    data, order = bytearray(content), "<" if content[:2] == b"II" else ">"
    if len(data) < 16 or content[2:4] not in (b"*\0", b"\0*"):
        return damage(rng, content)
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    for _ in range(rng.choice((1, 1, 2))):
        entry = start + 2 + 12 * rng.randrange(count)
        tag, kind, number, value = struct.unpack_from(order + "HHII", data, entry)
        way = rng.randrange(6)
        tag = (
            rng.choice((254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 320, 322, 324, 338, 339, 700, 34675))
            if way == 0
            else tag
        )
        kind = rng.choice((0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 99)) if way == 1 else kind
        number = rng.choice(NUMBERS) % 2**32 if way == 2 else number
        value = rng.choice((*NUMBERS, 5, 6, 7, 32773, 34712)) % 2**32 if way >= 3 else value
        struct.pack_into(order + "HHII", data, entry, tag, kind, number, value)
    return bytes(data)


def _jpg(rng: random.Random, content: bytes) -> bytes:
    """Change the size or the components of the frame."""
    data = bytearray(content)
    place = next((at for marker in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(marker)) > 0), 0)
    if not place:
        return damage(rng, content)
    struct.pack_into(">H", data, place + rng.choice((5, 7)), rng.choice((0, 1, 8, 65535, 8192, 30_000)))
    if rng.random() < 0.3:
        data[place + 9] = rng.choice((0, 1, 2, 3, 4, 5, 255))
    return bytes(data)


_NIFTI = {
    40: "h",
    42: "h",
    44: "h",
    46: "h",
    48: "h",
    54: "h",
    70: "h",
    72: "h",
    76: "f",
    80: "f",
    84: "f",
    108: "f",
    112: "f",
    116: "f",
    252: "h",
    254: "h",
    256: "f",
    280: "f",
    284: "f",
    288: "f",
    300: "f",
    304: "f",
    320: "f",
    344: "i",
}


def _nii(rng: random.Random, content: bytes) -> bytes:
    """Change fields of the header."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.choice(list(_NIFTI))
        kind = _NIFTI[place]
        whole = (
            0,
            1,
            -1,
            2,
            3,
            4,
            5,
            7,
            8,
            16,
            32,
            64,
            128,
            256,
            512,
            768,
            1024,
            1536,
            1792,
            2048,
            2304,
            8192,
            32767,
            -32768,
        )
        value = (
            rng.choice(whole)
            if kind in "hi"
            else rng.choice((0.0, 1.0, -1.0, 352.0, 1e9, 1e30, float("inf"), float("nan")))
        )
        struct.pack_into("<" + kind, data, place, value)
    return bytes(data)


def _gz(rng: random.Random, content: bytes) -> bytes:
    return gzip.compress(_nii(rng, gzip.decompress(content)), 1)


_ELEMENTS: dict[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 65535, 24),
    "Columns": (0, 1, 65535, 20),
    "BitsAllocated": (0, 1, 8, 12, 16, 32, 64, 65535),
    "BitsStored": (0, 1, 8, 16, 17, 64, 65535),
    "HighBit": (0, 7, 15, 65535),
    "PixelRepresentation": (0, 1, 2, 65535),
    "SamplesPerPixel": (0, 1, 2, 3, 4, 65535),
    "PlanarConfiguration": (0, 1, 2),
    "NumberOfFrames": ("0", "-1", "2", "100000", "2147483647", "x", ""),
    "PhotometricInterpretation": (
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "YBR_RCT",
        "PALETTE COLOR",
        "MONOCHROME1",
        "HSV",
        "",
        "x" * 40,
    ),
    "RescaleSlope": ("0", "-1", "1e400", "nan", "0.5", "x", "", "1\\2", "1e-300"),
    "RescaleIntercept": ("1e400", "nan", "-1024", "x", "", "1\\2", "1e300"),
    "WindowCenter": ("nan", "", "x", "1\\2\\3", "1e400"),
    "WindowWidth": ("0", "-5", "nan", "", "x", "1e400", "1"),
    "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "x"),
    "PixelPaddingValue": (0, 65535, 4095),
    "PixelPaddingRangeLimit": (0, 65535),
    "Modality": ("CT", "", "x" * 40),
    "PatientAge": ("999Y", "x", ""),
    "PatientID": ("", "x" * 500, "\x1b[2J", "\u202e"),
    "RedPaletteColorLookupTableDescriptor": ([0, 0, 16], [256, 65535, 8], [1, 0, 99]),
    "RedPaletteColorLookupTableData": (b"", b"\0", bytes(5000)),
    "SpecificCharacterSet": ("ISO_IR 999", "x", "ISO 2022 IR 87"),
    "ExtendedOffsetTable": (b"\0" * 8, b"\xff" * 8),
}


def _dcm(rng: random.Random, content: bytes) -> bytes:
    """Change elements of the dataset, without pydicom's checks."""
    try:
        import pydicom
    except ImportError:
        return damage(rng, content)
    try:
        found = pydicom.dcmread(io.BytesIO(content), force=True)
        for _ in range(rng.choice((1, 1, 2, 3))):
            way = rng.random()
            if way < 0.1:
                found.file_meta.TransferSyntaxUID = rng.choice(
                    (
                        "1.2.840.10008.1.2",
                        "1.2.840.10008.1.2.1",
                        "1.2.840.10008.1.2.1.99",
                        "1.2.840.10008.1.2.4.50",
                        "1.2.840.10008.1.2.4.70",
                        "1.2.840.10008.1.2.4.80",
                        "1.2.840.10008.1.2.4.90",
                        "1.2.840.10008.1.2.5",
                        "1.2.3",
                        "",
                    )
                )
            elif way < 0.2:
                found.PixelData = rng.choice((b"", b"\0\0", found.PixelData[: rng.randrange(200) * 2]))
            elif way < 0.3:
                item = pydicom.Dataset()
                item.LUTDescriptor = rng.choice(([0, 0, 16], [16, 65535, 8], [1, 0, 0], [4, 0, 99]))
                item.LUTData = rng.choice((b"", b"\0", bytes(range(32))))
                name = rng.choice(
                    (
                        "VOILUTSequence",
                        "ModalityLUTSequence",
                        "SharedFunctionalGroupsSequence",
                        "PerFrameFunctionalGroupsSequence",
                    )
                )
                setattr(found, name, rng.choice(([], [item], [item, item], [pydicom.Dataset()])))
            elif way < 0.4:
                del found[rng.choice([element.tag for element in found])]
            else:
                name = rng.choice(sorted(_ELEMENTS))
                setattr(found, name, rng.choice(_ELEMENTS[name]))
        buffer = io.BytesIO()
        found.save_as(buffer, enforce_file_format=False)
        return buffer.getvalue()
    except Exception:  # pydicom refuses to write it
        return damage(rng, content)


_LIES = {"png": _png, "tif": _tif, "jpg": _jpg, "nii": _nii, "gz": _gz, "dcm": _dcm}
