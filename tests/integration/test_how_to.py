"""The commands of pages for users run, word for word, on small files that lie as the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: A small network and few resamples, so that a page takes seconds. The page's own words come first and stay.
FAST = [
    *("--backbone", "test_resnet", "--image-size", "16", "--epochs", "1", "--batch-size", "4", "--device", "cpu"),
    *("--set", "encoder.stem=standard", "--set", "evaluate.bootstrap=5"),
]


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words of each `medssl` line in the shell blocks of a page."""
    [file] = DOCS.glob(f"*/{page}.md")
    text = file.read_text(encoding="utf-8")
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.startswith("$ medssl "):
                yield shlex.split(line)[2:]


def named(word: str, root: Path) -> str:
    """Write the end of the name of a run's directory, which the page leaves open."""
    if not word.endswith("-HASH"):
        return word
    [found] = root.glob(f"{word.removesuffix('HASH')}*")
    return str(found.relative_to(root))


def draw(file: Path, seed: int, frames: int = 1) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images = [Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)) for _ in range(frames)]
    images[0].save(file, **({"save_all": True, "append_images": images[1:]} if frames > 1 else {}))


def table(file: Path, header: str, rows: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([header, *rows]), encoding="utf-8")


def write_findings(root: Path) -> None:
    for i in range(40):
        draw(root / "xrays" / f"{i:04}.png", i)
        draw(root / "reports" / f"{i:04}.png", 100 + i)
    cells = [f"{i // 2 % 2},{('0', '1', '-1', '')[i // 2 % 4]},{i // 4 % 2}" for i in range(40)]
    table(
        root / "xrays" / "t.csv",
        "image,patient,effusion,mass,edema",
        [f"{i:04}.png,{i // 2},{cells[i]}" for i in range(40)],
    )
    words = ("effusion|mass", "No Finding", "", "mass", "edema|effusion")
    table(
        root / "reports" / "t.csv",
        "image,patient,labels",
        [f"{i:04}.png,{i // 2},{words[i // 2 % 5]}" for i in range(40)],
    )


def write_grades(root: Path) -> None:
    for i in range(40):
        draw(root / "knees" / str(i // 2 % 2) / f"{9000 + i // 2}{'LR'[i % 2]}.png", i)
        draw(root / "eyes" / f"{i}.jpg", 100 + i)
        draw(root / "ages" / f"{i}.jpg", 200 + i)
    table(
        root / "eyes" / "t.csv",
        "image,retinopathy",
        [f"{i}.jpg,{('none', 'severe', 'mild')[i % 3]}" for i in range(40)],
    )
    table(root / "ages" / "t.csv", "image;age", [f"{i}.jpg;{20 + i},5" for i in range(40)])


def write_patients(root: Path) -> None:
    for i in range(40):
        draw(root / "knees" / str(i // 3 % 2) / f"{9000 + i // 2}{'LR'[i % 2]}.png", i)


def write_ultrasound(root: Path) -> None:
    for i in range(60):
        draw(root / "ultrasound" / ("benign", "malignant", "normal")[i // 2 % 3] / f"P{i // 2:03}_{i % 2:03}.png", i)


def write_hospitals(root: Path) -> None:
    for i in range(60):
        draw(root / "here" / f"{i}.png", i)
    for i in range(16):
        draw(root / "spain" / f"s{i}.png", 100 + i)
    rows = [f"{i}.png,{i // 2},{('covid', 'normal')[i // 2 % 2]}" for i in range(60)]
    table(root / "here" / "t.csv", "path,patient,label", rows)
    table(root / "table.csv", "path,patient,label", [f"here/{row}" for row in rows])
    cases = [f"s{i}.png,{i // 2},{('COVID-19', 'No finding')[i // 2 % 2]}" for i in range(16)]
    table(root / "spain" / "cases.csv", "imagename,patient,finding", cases)


def write_table(root: Path) -> None:
    parts = ["train"] * 28 + ["val"] * 6 + ["test"] * 6
    for i in range(40):
        draw(root / "xrays" / "ab"[i % 2] / f"{i:04}.png", i)
    rows = [f"{'ab'[i % 2]}/{i:04}.png,{('normal', 'pneumonia')[i // 2 % 2]},{i // 2},{parts[i]}" for i in range(40)]
    table(root / "xrays" / "metadata.csv", "filename,finding,patientid,part", rows)


def write_scans(root: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("tifffile")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)

    def dicom(file: Path, patient: int, frames: int = 1) -> None:
        found = pydicom.Dataset()
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        found.Modality, found.PatientID, found.StudyInstanceUID = "CT", f"P{patient}", f"1.2.{patient + 1}"
        found.Rows = found.Columns = 20
        found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
        found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
        found.RescaleSlope, found.RescaleIntercept = "1", "-1024"
        if frames > 1:
            found.NumberOfFrames = frames
        found.PixelData = rng.integers(0, 4096, (frames, 20, 20), dtype=np.uint16).tobytes()
        file.parent.mkdir(parents=True, exist_ok=True)
        found.save_as(file, enforce_file_format=True)

    for i in range(20):
        for kind in ("scans", "cines"):
            dicom(root / kind / "ab"[i % 2] / f"IM{i:03}", i, 20 if kind == "cines" else 1)
        volume = rng.integers(0, 256, (18, 20, 121), dtype=np.uint8)
        file = root / "volumes" / "ab"[i % 2] / f"{i}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), file)
        draw(root / "stains" / "ab"[i % 2] / f"{i}.tif", i, frames=5)


WORLDS: dict[str, Callable[[Path], None]] = {
    "findings": write_findings,
    "grades-and-numbers": write_grades,
    "patients-not-images": write_patients,
    "another-hospital": write_hospitals,
    "own-images": write_ultrasound,
    "use-a-manifest": write_table,
    "read-dicom": write_scans,
}


@pytest.mark.slow
@pytest.mark.parametrize("page", WORLDS)
def test_every_command_of_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    WORLDS[page](tmp_path)
    lines = list(commands(page))
    assert lines
    for line in lines:
        words = [named(word, tmp_path) for word in line]
        own = FAST if words[0] == "run" else []
        few = ["--evaluator", "knn"] if words[0] == "run" and "--evaluator" not in words else []
        done = CliRunner().invoke(main, [*words, *own, *few])
        assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"
