"""DICOM files from the folder to the report: patients stay together, and no identifier leaves the files."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from medssl.cli import main

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

DATA = os.environ.get("MEDSSL_DATA")
SECRET = (
    *("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstitutionName", "AccessionNumber"),
    *("ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName", "InstanceCreationDate", "OtherPatientIDs"),
)
QUICK = [
    *("--method", "random", "--dataset", "folder", "--image-size", "32", "--backbone", "resnet10t", "--device", "cpu"),
    *("--set", "encoder.stem=standard", "--evaluator", "knn", "--set", "evaluate.bootstrap=20"),
    *("--set", "readers.dicom.window=soft"),
]


def write(file: Path, patient: int, **elements: object) -> None:
    """Write a CT image of 40 x 40 px with many identifiers."""
    rng = np.random.default_rng(abs(hash(file.name)) % 2**32)
    found = pydicom.Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    found.Modality, found.PatientID, found.PatientName = "CT", f"MRN-0815-{patient}", f"Mueller-{patient}^Erika"
    found.PatientBirthDate, found.StudyDate = f"19{40 + patient}0131", "20190228"
    found.StudyInstanceUID, found.InstitutionName = f"1.2.826.{patient}.77", "Klinikum Musterstadt"
    found.ReferringPhysicianName, found.AccessionNumber = "Hippocrates^Ion", f"ACC{patient:05}"
    found.Rows = found.Columns = 40
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    found.RescaleSlope, found.RescaleIntercept = "1", "-1024"
    found.PixelData = rng.integers(900, 1300, (40, 40), dtype=np.uint16).tobytes()
    for name, value in elements.items():
        setattr(found, name, value)
    file.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(file, enforce_file_format=True)


def cohort(folder: Path) -> Path:
    """Write 40 files of 20 patients in two classes; half of the names have no suffix."""
    for patient in range(20):
        for number in range(2):
            write(folder / f"class{patient % 2}" / f"IM{patient:03}{number}{'.dcm' if number else ''}", patient)
    return folder


def secrets_of(folder: Path) -> set[str]:
    found = set()
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix in ("", ".dcm"):
            header = pydicom.dcmread(file, stop_before_pixels=True)
            values = [header.get(name) for name in SECRET]
            texts = {str(value).strip() for value in values if value}
            texts |= {part for value in values if value for part in str(value).split("^")}
            found |= {text for text in texts if len(text) > 3}
    return found


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file of a folder, and the members of archives."""
    for file in folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            yield str(file), data
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    yield from ((f"{file}: {name}", archive.read(name)) for name in archive.namelist())


def leaks(secrets: set[str], output: str, *folders: Path) -> list[str]:
    """Find secrets in texts of one, two or four bytes per character."""
    found = [f"stdout: {secret}" for secret in secrets if secret in output]
    for folder in folders:
        for name, data in contents(folder):
            for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
                found += [f"{name}: {secret}" for secret in secrets if secret.encode(encoding) in data]
    return found


def run(*words: str, expected: int = 0) -> str:
    result = CliRunner().invoke(main, [*words])
    assert result.exit_code == expected, result.output
    return result.output


@pytest.mark.slow
def test_a_run_on_dicom_files_keeps_patients_together_and_their_identifiers_to_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    folder = cohort(tmp_path / "d")
    output = run("run", *QUICK, "--data-dir", str(folder), "--output", str(tmp_path / "runs"))
    assert "grouped split" in output
    output += run("audit", "--dataset", "folder", "--data-dir", str(folder))
    (directory,) = (tmp_path / "runs").iterdir()
    output += run("embed", str(directory), str(folder), "--output", str(tmp_path / "embedded" / "x.csv"))
    assert output.count("patient") > 1
    secrets = secrets_of(folder)
    assert len(secrets) > 100
    assert leaks(secrets, output, tmp_path / "runs", tmp_path / "cache", tmp_path / "embedded") == []


@pytest.mark.skipif(not DATA, reason="MEDSSL_DATA is not set: no real DICOM files")
def test_no_identifier_of_real_files_appears_anywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    source = Path(DATA or "") / "ct_contrast_age" / "dicom_dir"
    for file in source.glob("*.dcm"):
        link = tmp_path / "d" / ("with" if "CONTRAST_1" in file.name else "without") / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    output = run("run", *QUICK, "--data-dir", str(tmp_path / "d"), "--output", str(tmp_path / "runs"))
    secrets = secrets_of(source)
    assert len(secrets) > 100
    assert leaks(secrets, output, tmp_path / "runs", tmp_path / "cache") == []


def test_all_bad_files_are_named_at_once_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    folder = cohort(tmp_path / "d")
    write(folder / "class0" / "short.dcm", 0, PixelData=b"\0" * 100)
    write(folder / "class0" / "empty.dcm", 0)
    data = pydicom.dcmread(folder / "class0" / "empty.dcm")
    del data.PixelData
    data.save_as(folder / "class0" / "empty.dcm")
    words = ("run", *QUICK, "--data-dir", str(folder), "--output", str(tmp_path / "runs"))
    said = run(*words, expected=1)
    assert "2 of 42 images cannot be read" in said
    assert "short.dcm cannot be read as a DICOM image: its pixel data is truncated" in said
    assert "empty.dcm cannot be read as a DICOM image: it has no pixel data" in said
    assert not list((tmp_path / "runs").glob("*/*"))
    assert "left out because it cannot be read" in run(*words, "--on-bad-image", "skip")


def test_contradictions_between_files_are_named_at_once_and_nothing_is_written(tmp_path):
    folder = cohort(tmp_path / "d")
    write(folder / "class0" / "other.dcm", 0, PatientBirthDate="20000101")
    write(folder / "class1" / "inverse.dcm", 1, PhotometricInterpretation="MONOCHROME1")
    said = run("run", *QUICK, "--data-dir", str(folder), "--output", str(tmp_path / "runs"), expected=1)
    assert "files of one patient differ in the birth date, 1 patient: class0/IM0000 and class0/other.dcm" in said
    assert "files of one study differ in the photometric interpretation, 1 study" in said
    assert not list((tmp_path / "runs").glob("*/*"))
    assert leaks(secrets_of(folder), said) == []
