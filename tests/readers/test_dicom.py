"""DICOM: pixels against pydicom's own transformations, on real files and on written ones; headers; bad files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.conformance.pytest import contract_tests
from medssl.contracts import Readers
from medssl.data.store.windows import own_window
from medssl.errors import DataError, OptionError, PluginError
from medssl.recipe import options
from medssl_readers._dicom_header import read_header
from medssl_readers._dicom_pixels import decode
from medssl_readers._windows import Table, every_value, parse_window
from medssl_readers.dicom import Dicom

pydicom = pytest.importorskip("pydicom")
from pydicom import pixels  # noqa: E402
from pydicom.dataset import FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid  # noqa: E402

test_contract = contract_tests("reader", Dicom)

DATA = os.environ.get("MEDSSL_DATA")
FOLDERS = ("dicom_samples", "dicom_extra", "ct_contrast_age")
REAL = [file for name in FOLDERS for file in sorted((Path(DATA) / name).rglob("*.dcm"))] if DATA else []
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
STORED = np.random.default_rng(0).integers(0, 4096, (6, 5), dtype=np.uint16)


def reader(**values: Any) -> Dicom:
    return Dicom(options.build(Dicom.Config, values, "reader"))


def write(file: Path, stored: np.ndarray = STORED, **elements: Any) -> Path:
    """Write a file: a CT image of 12 bits with the given elements instead of the usual ones."""
    syntax = elements.pop("syntax", ExplicitVRLittleEndian)
    found = pydicom.Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = elements.pop("SOPClassUID", CT)
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    found.Modality, found.PatientID, found.PatientName = "CT", "MRN-0815", "Doe^Jane"
    found.PatientBirthDate, found.PatientSex, found.StudyInstanceUID = "19570101", "F", "1.2.3.4"
    found.Rows, found.Columns = stored.shape[-2:] if stored.ndim == 2 else stored.shape[-3:-1]
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit = 8 * stored.dtype.itemsize, 12, 11
    found.PixelRepresentation = int(stored.dtype.kind == "i")
    data = stored.astype(stored.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
    found.PixelData = elements.pop("data", data)
    for name, value in elements.items():
        if value is None:
            delattr(found, name)
        else:
            setattr(found, name, value)
    found.save_as(file, enforce_file_format=True, little_endian=syntax != ExplicitVRBigEndian, implicit_vr=False)
    return file


# ------------------------------------------------------------------------------------------- values without a window


def modality(file: Path, frame: int = 0) -> tuple[Any, np.ndarray]:
    found = pydicom.dcmread(file)
    stored = pixels.pixel_array(found, index=frame)
    return found, pixels.apply_modality_lut(stored, found)


def test_ct_keeps_hounsfield_units_at_a_fixed_offset(tmp_path):
    for slope, intercept in ((1, -1024), (1.000244, -1024), (1, 0), (2, -2000)):
        file = write(tmp_path / "a.dcm", RescaleSlope=str(slope), RescaleIntercept=str(intercept))
        expected = np.rint(STORED.astype(float) * slope + intercept) + 32768
        np.testing.assert_array_equal(reader().read(file, 0, None)[:, :, 0], expected)


def test_signed_values_and_big_endian(tmp_path):
    signed = STORED.astype(np.int16) - 2000
    elements = {"BitsStored": 16, "HighBit": 15, "Modality": "MR", "SOPClassUID": MR}
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian):
        file = write(tmp_path / "a.dcm", signed, syntax=syntax, **elements)
        np.testing.assert_array_equal(reader().read(file, 0, None)[:, :, 0], signed.astype(int) + 32768)


def test_small_slopes_keep_the_stored_grey_levels(tmp_path):
    file = write(tmp_path / "a.dcm", Modality="PT", RescaleSlope="0.001", RescaleIntercept="0")
    np.testing.assert_array_equal(reader().read(file, 0, None)[:, :, 0], STORED)
    file = write(tmp_path / "b.dcm", Modality="PT", RescaleSlope="-0.001", RescaleIntercept="0")
    np.testing.assert_array_equal(reader().read(file, 0, None)[:, :, 0], 4095 - STORED)


def test_monochrome1_is_inverted(tmp_path):
    elements = {"Modality": "CR", "PhotometricInterpretation": "MONOCHROME1"}
    file = write(tmp_path / "a.dcm", **elements)
    np.testing.assert_array_equal(reader().read(file, 0, None)[:, :, 0], 4095 - STORED)
    dark = reader(window="2000,4000").read(file, 0, None)
    light = reader(window="2000,4000").read(write(tmp_path / "b.dcm", Modality="CR"), 0, None)
    np.testing.assert_array_equal(dark, 255 - light)


def test_8_bits_stay_8_bits(tmp_path):
    small = STORED.astype(np.uint8)
    file = write(tmp_path / "a.dcm", small, BitsStored=8, HighBit=7, Modality="US", data=small.tobytes())
    read = reader().read(file, 0, None)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read[:, :, 0], small)


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name[:40])
def test_real_files_have_the_values_of_pydicom(file):
    own = reader()
    last = own.frames(file) - 1
    found, values = modality(file, last)
    read = own.read(file, last, None)
    if found.PhotometricInterpretation == "PALETTE COLOR":
        expected = pixels.apply_color_lut(pixels.pixel_array(found, index=last), found)
        np.testing.assert_array_equal(read, expected >> 8 if expected.dtype == np.uint16 else expected)
        return
    if read.shape[2] == 3:
        np.testing.assert_array_equal(read, values)
        return
    shared = found.get("SharedFunctionalGroupsSequence") or found.get("PerFrameFunctionalGroupsSequence")
    if shared:  # pydicom applies the elements of the file only
        groups = (*found.get("PerFrameFunctionalGroupsSequence", [])[last : last + 1], *shared)
        items = [g.PixelValueTransformationSequence[0] for g in groups if "PixelValueTransformationSequence" in g]
        if items:
            values = values * float(items[0].RescaleSlope) + float(items[0].RescaleIntercept)
    if found.PhotometricInterpretation == "MONOCHROME1":
        values = 2.0**found.BitsStored - 1 - values
    signed = found.PixelRepresentation and "ModalityLUTSequence" not in found
    offset = 32768 if found.Modality == "CT" or signed else 0
    measured = pixels.pixel_array(found, index=last).astype(int) != padding_of(found)
    np.testing.assert_allclose((read[:, :, 0].astype(float) - offset)[measured], values[measured], atol=0.5)
    assert read[:, :, 0][~measured].max(initial=0) <= read[:, :, 0][measured].min()


def padding_of(found: Any) -> int | None:
    """Return the padding as a stored value; two of the real scanners write -2000 as 63536."""
    value = found.get("PixelPaddingValue")
    return value - 65536 if value is not None and found.PixelRepresentation and value > 32767 else value


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name[:40])
def test_uncompressed_pixels_are_those_that_pydicom_decodes(file):
    own = reader()
    for frame in {0, own.frames(file) - 1}:
        np.testing.assert_array_equal(own.read(file, frame, None), decode(file, frame, None))
        wide = parse_window("50,400", of_file=True)
        if own.read(file, frame, None).shape[2] == 1:
            np.testing.assert_array_equal(reader(window="50,400").read(file, frame, None), decode(file, frame, wide))


def test_only_files_that_are_simple_are_read_without_pydicom(tmp_path):
    def simple(file: Path) -> bool:
        return read_header(file, "patient", "refuse").uncompressed is not None

    assert simple(write(tmp_path / "a.dcm"))
    assert not simple(write(tmp_path / "b.dcm", syntax=ExplicitVRBigEndian))
    assert not simple(write(tmp_path / "c.dcm", data=STORED.tobytes()[:-2]))
    assert not simple(write(tmp_path / "d.dcm", NumberOfFrames=2))
    cut = tmp_path / "e.dcm"
    cut.write_bytes((tmp_path / "a.dcm").read_bytes()[:-6])
    with pytest.raises(DataError, match=r"e\.dcm cannot be read .* truncated"):
        reader().read(cut, 0, None)


# ------------------------------------------------------------------------------------------------------------ padding


@pytest.mark.parametrize(("kind", "padding"), [("<i2", -2000), ("<i2", 63536), ("<u2", 60000)])
def test_padding_gets_the_darkest_level_and_does_not_widen_the_range(tmp_path, kind, padding):
    stored = np.random.default_rng(1).integers(0, 2000, (64, 64)).astype(kind)
    corner = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) > 32
    stored[corner] = np.array(padding & 0xFFFF, "u2").view(kind)
    elements = {"BitsStored": 16, "HighBit": 15, "RescaleSlope": "1", "RescaleIntercept": "-1024"}
    file = write(tmp_path / "a.dcm", stored, **elements)
    found = pydicom.dcmread(file)
    found.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
    found.save_as(file)
    read = reader().read(file, 0, None)
    np.testing.assert_array_equal(read[~corner, 0].astype(int) - 32768, stored[~corner].astype(int) - 1024)
    assert (read[corner] == read[~corner].min()).all()
    low, high = own_window(read) or (0, 0)
    assert 32768 - 1024 <= low < high < 32768 + 976
    np.testing.assert_array_equal(decode(file, 0, None), read)  # decoded by pydicom


def test_padding_of_inverted_images_is_dark_too(tmp_path):
    stored = STORED.copy()
    stored[0], stored[1, 0] = 0, 1  # 0 is white in MONOCHROME1
    file = write(
        tmp_path / "a.dcm", stored, Modality="CR", PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0
    )
    read = reader().read(file, 0, None)[:, :, 0]
    np.testing.assert_array_equal(read[1:], 4095 - stored[1:])
    assert (read[0] == read[1:].min()).all()


def test_padding_may_be_a_range_or_everything(tmp_path):
    file = write(tmp_path / "a.dcm", PixelPaddingValue=0, PixelPaddingRangeLimit=1000, Modality="MR", SOPClassUID=MR)
    read = reader().read(file, 0, None)[:, :, 0]
    np.testing.assert_array_equal(read, np.where(STORED <= 1000, STORED[STORED > 1000].min(), STORED))
    file = write(tmp_path / "b.dcm", PixelPaddingValue=0, PixelPaddingRangeLimit=4095, Modality="MR", SOPClassUID=MR)
    np.testing.assert_array_equal(reader().read(file, 0, None)[:, :, 0], STORED)


# ----------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_of_the_file_are_those_of_pydicom(tmp_path, function):
    elements = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "VOILUTFunction": function}
    file = write(tmp_path / "a.dcm", WindowCenter=[40, 600], WindowWidth=[400, 2800], **elements)
    found, values = modality(file)
    for number in (0, 1):
        expected = pixels.apply_windowing(values, found, index=number)
        low, high = -1024.0, 4095 - 1024.0
        read = reader(window=f"file:{number + 1}").read(file, 0, None)
        np.testing.assert_allclose(read[:, :, 0], (expected - low) / (high - low) * 255, atol=0.51)


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name[:40])
def test_real_windows_are_those_of_pydicom(file):
    found, values = modality(file)
    ordinary = "PerFrameFunctionalGroupsSequence" not in found
    if not ordinary or found.SamplesPerPixel > 1 or not ({"WindowCenter", "VOILUTSequence"} & set(found.dir())):
        pytest.skip("no window of the file itself")
    expected = pixels.apply_voi_lut(values, found).astype(float)
    if "VOILUTSequence" in found:
        low, high = 0.0, 2.0 ** int(found.VOILUTSequence[0].LUTDescriptor[2]) - 1
    else:
        slope, intercept = float(found.get("RescaleSlope", 1)), float(found.get("RescaleIntercept", 0))
        half = 2 ** (found.BitsStored - 1)
        ends = (-half, half - 1) if found.PixelRepresentation else (0, 2 * half - 1)
        low, high = (end * slope + intercept for end in ends)
    shares = (expected - low) / (high - low) * 255
    shares = 255 - shares if found.PhotometricInterpretation == "MONOCHROME1" else shares
    np.testing.assert_allclose(reader(window="file").read(file, 0, None)[:, :, 0], shares, atol=0.51)


def test_a_named_window_is_a_window_in_hounsfield_units(tmp_path):
    file = write(tmp_path / "a.dcm", RescaleSlope="1", RescaleIntercept="-1024")
    by_name, by_numbers = reader(window="lung"), reader(window=[-600, 1500])
    np.testing.assert_array_equal(by_name.read(file, 0, None), by_numbers.read(file, 0, None))
    share = (STORED - 1024.0 - (-600 - 0.5)) / 1499 + 0.5
    np.testing.assert_allclose(by_name.read(file, 0, None)[:, :, 0], np.clip(share, 0, 1) * 255, atol=0.51)
    with pytest.raises(DataError, match="is not a CT image, but the window 'lung' is for CT"):
        by_name.read(write(tmp_path / "b.dcm", Modality="MR"), 0, None)


def test_a_window_that_the_file_lacks_is_an_error(tmp_path):
    file = write(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="has no window in its header, but window 1 was requested"):
        reader(window="file").read(file, 0, None)
    file = write(tmp_path / "b.dcm", WindowCenter="40", WindowWidth="400")
    with pytest.raises(DataError, match="has 1 windows, but window 2 was requested"):
        reader(window="file:2").read(file, 0, None)


@pytest.mark.parametrize("text", ["lungs", "file:0", "40", "40,0", "a,b", [40, -1]])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(OptionError, match=r"is not a window\. Write file, file:2"):
        reader(window=text)


# ------------------------------------------------------------------------------------------------------ which file


def test_files_are_recognised_by_their_preamble_and_the_index_of_a_medium_is_none(tmp_path):
    readers = Readers([reader()])
    for name, expected in (("IM0001", True), ("1.2.840.1", True), ("DICOMDIR", False)):
        assert readers.is_image(write(tmp_path / name)) == expected
    (tmp_path / "notes").write_text("text")
    assert not readers.is_image(tmp_path / "notes")


def test_frames_of_a_multi_frame_file(tmp_path):
    stack = np.stack([STORED, STORED + 1, STORED + 2])
    file = write(tmp_path / "a.dcm", STORED, NumberOfFrames="3", data=stack.tobytes(), Modality="MR")
    own = reader(frames="1:")
    assert (own.frames(file), list(own.chosen(file))) == (3, [1, 2])
    for frame in range(3):
        np.testing.assert_array_equal(own.read(file, frame, None)[:, :, 0], stack[frame])


# ---------------------------------------------------------------------------------------------------------- headers

SECRETS = ("MRN-0815", "Doe", "Jane", "19570101", "St Mary", "1.2.3.4")


def test_facts_hold_no_identifier_name_or_date(tmp_path):
    file = write(
        tmp_path / "a.dcm",
        InstitutionName="St Mary",
        Manufacturer="ACME",
        ManufacturerModelName="One",
        PatientAge="093Y",
        StudyDate="19570101",
        BurnedInAnnotation="YES",
    )
    facts = Readers([reader()]).facts(file)
    assert [secret for secret in SECRETS if secret in repr(facts)] == []
    assert dict(facts.values) == {"modality": "CT", "scanner": "ACME One", "sex": "F", "age": 90}
    assert (facts.group_kind, facts.site_kind) == ("patient", "hospital")
    assert "BurnedInAnnotation" in facts.remarks[0]


def test_the_group_is_the_patient_or_the_study_or_nothing(tmp_path):
    file = write(tmp_path / "a.dcm")
    groups = {choice: Readers([reader(group=choice)]).facts(file).group for choice in ("patient", "study", "none")}
    assert groups["none"] is None
    assert groups["patient"] != groups["study"]
    assert Readers([reader()]).facts(write(tmp_path / "b.dcm", PatientID="")).group == groups["study"]


def test_two_patients_under_one_id_and_mixed_studies_are_found_at_once(tmp_path):
    files = {
        "a": write(tmp_path / "a.dcm"),
        "b": write(tmp_path / "b.dcm", PatientBirthDate="19600202", PatientSex="M", PatientName="Roe^Jane"),
        "c": write(tmp_path / "c.dcm", PatientName="DOE^JANE^^^", PhotometricInterpretation="MONOCHROME1"),
    }
    _, problems, _ = Readers([reader()]).survey(files)
    assert [problem.partition(",")[0] for problem in problems] == [
        "files of one patient differ in the birth date",
        "files of one patient differ in the sex",
        "files of one patient differ in the name",
        "files of one study differ in the photometric interpretation",
    ]
    assert [secret for secret in (*SECRETS, "Roe", "1960") if secret in "".join(problems)] == []
    accepted = Readers([reader(group="none", mixed="accept")])
    assert accepted.survey(files)[1] == []


# --------------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"PixelData": None}, "it has no pixel data"),
        ({"data": STORED.tobytes()[:-8]}, "its pixel data is truncated or has another size than the header says"),
        ({"Rows": None}, "it contains no image, but is a CT Image Storage"),
    ],
)
def test_bad_files_say_what_is_wrong_without_a_value_of_the_header(tmp_path, elements, words):
    file = write(tmp_path / "bad.dcm", **elements)
    with pytest.raises(DataError, match=words) as caught:
        _listed_and_read(file)
    assert "bad.dcm" in str(caught.value)
    assert [secret for secret in SECRETS if secret in str(caught.value)] == []


def _listed_and_read(file):
    own = reader()
    own.frames(file)
    own.read(file, 0, None)


def test_a_private_transfer_syntax_is_named(tmp_path):
    file = write(tmp_path / "bad.dcm")
    found = pydicom.dcmread(file)
    found.file_meta.TransferSyntaxUID = "1.2.840.113619.5.2"
    found.save_as(file, enforce_file_format=True, little_endian=True, implicit_vr=False)
    with pytest.raises(DataError, match="a private transfer syntax, which only its manufacturer can read"):
        reader().read(file, 0, None)


def test_without_pydicom_the_message_names_the_extra(tmp_path, monkeypatch):
    file = write(tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(PluginError, match=r'reading DICOM files needs the package pydicom.*"medssl\[dicom\]"'):
        Readers([reader()]).ids("a.dcm", file)


@pytest.mark.parametrize("kind", ["<u2", "<i2"])
@pytest.mark.parametrize("shift", [0, 31744, 65530])
def test_a_table_that_is_a_shift_gives_the_same_levels(kind, shift):
    values = every_value(kind)
    levels = np.clip(values.astype(np.int64) + shift, 0, 65535).astype(np.uint16)
    table = Table.of(levels, np.dtype(kind))
    assert (table.low, table.high) == (
        max(-shift, -32768 if kind == "<i2" else 0),
        min(65535 - shift, int(values.max())),
    )
    for some in (values, values[(values >= table.low) & (values <= table.high)], values[:100]):
        expected = np.clip(some.astype(np.int64) + shift, 0, 65535)
        np.testing.assert_array_equal(table.look_up(some), expected)
