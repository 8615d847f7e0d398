from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import medssl
from medssl.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Images of two classes, and a run that keeps a single head."""
    folder = tmp_path_factory.mktemp("predict")
    generator = np.random.default_rng(0)
    for name, level in (("bright", 150), ("dark", 90)):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(generator.normal(level, 40, (26, 26)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"P{i // 2}_{i}.png")
    result = medssl.run(
        "random",
        {"plugin": "folder", "group_pattern": r"([a-z]+/P\d)_"},
        place=medssl.Place(data_dir=folder / "images", output=folder),
        encoder={"backbone": "test_resnet", "stem": "standard"},
        views={"image_size": 24},
        split={"protocol": "random"},
        evaluate={"bootstrap": 0, "baseline": False},
        evaluators=["knn"],
    )
    result.path.rename(folder / "run")
    return folder


def called(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["predict", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_folders_files_and_tables_give_the_same_rows(place, tmp_path):
    out = called(place / "run", place / "images", "--output", tmp_path / "a.csv", "--group-pattern", r"(P\d)_")
    assert "24 images, predicted by knn" in out
    assert "unlike the training images" in out
    found = rows(tmp_path / "a.csv")
    assert len(found) == 24
    assert {row["group"] for row in rows(tmp_path / "a_groups.csv")} == {f"P{i}" for i in range(6)}
    table = place / "images" / "list.csv"
    lines = [f"{row['image']},{row['group']}" for row in found]
    table.write_text("\n".join(["path,who", *lines]), encoding="utf-8")
    called(place / "run", table, "--output", tmp_path / "b.csv", "--group-column", "who")
    assert rows(tmp_path / "b.csv") == found
    called(
        *(place / "run", "--dataset", "folder", "--data-dir", place / "images", "--output", tmp_path / "c.csv"),
        *("--set", r"dataset.group_pattern=(P\d)_"),
    )
    assert [row["decision"] for row in rows(tmp_path / "c.csv")] == [row["decision"] for row in found]
    assert (tmp_path / "c_groups.csv").read_bytes() == (tmp_path / "a_groups.csv").read_bytes()
    called(place / "run", "--data", table, "--output", tmp_path / "d.csv")
    assert [row["decision"] for row in rows(tmp_path / "d.csv")] == [row["decision"] for row in found]


@pytest.mark.parametrize("suffix", [".xlsx", ".parquet"])
def test_a_sheet_gives_the_rows_of_its_csv_file(place, tmp_path, suffix):
    openpyxl, pyarrow = pytest.importorskip("openpyxl"), pytest.importorskip("pyarrow")
    paths = sorted(map(str, (place / "images").rglob("*.png")))[:6]
    table = {"path": paths, "patient": [Path(path).name[:2] for path in paths]}
    if suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in (tuple(table), *zip(*table.values(), strict=True)):
            book.active.append(row)
        book.save(tmp_path / "new.xlsx")
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "new.parquet")
    (tmp_path / "new.csv").write_text(
        "\n".join(map(",".join, (tuple(table), *zip(*table.values(), strict=True)))), encoding="utf-8"
    )
    found = {}
    for kind in (suffix, ".csv"):
        called(place / "run", "--data", tmp_path / f"new{kind}", "--output", tmp_path / "found.csv")
        found[kind] = rows(tmp_path / "found.csv"), rows(tmp_path / "found_groups.csv")
    assert found[suffix] == found[".csv"]
    assert [len(part) for part in found[".csv"]] == [6, 3]
    assert [Path(row["image"]).name for row in found[".csv"][0]] == [Path(path).name for path in paths]


def test_dicom_files_with_the_same_pixels_get_the_same_predictions(place, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    (tmp_path / "dicom").mkdir()
    for path in sorted((place / "images" / "dark").glob("*.png")):
        pixels = np.asarray(Image.open(path))
        made = pydicom.Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.Modality, made.PatientID = "DX", path.name[:2]
        made.Rows, made.Columns = pixels.shape
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
        made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
        made.PixelData = pixels.tobytes()
        made.save_as(tmp_path / "dicom" / f"{path.stem}.dcm", enforce_file_format=True)
    called(place / "run", "--data", tmp_path / "dicom", "--output", tmp_path / "dicom.csv")
    called(place / "run", place / "images" / "dark", "--output", tmp_path / "png.csv", "--group-pattern", r"(P\d)_")
    same = ("probability_bright", "probability_dark", "decision", "distance", "nearest_1")
    found, wanted = rows(tmp_path / "dicom.csv"), rows(tmp_path / "png.csv")
    assert [[row[key] for key in same] for row in found] == [[row[key] for key in same] for row in wanted]
    assert len(rows(tmp_path / "dicom_groups.csv")) == 6  # one for each PatientID, under a private name
    assert not {row["group"] for row in found} & {row["group"] for row in wanted}


def test_each_slice_of_a_volume_is_a_row_and_has_another_depth(place, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).integers(-500, 500, (24, 26, 5), dtype=np.int16)
    (tmp_path / "volumes").mkdir()
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "volumes" / "brain.nii.gz")
    words = (place / "run", "--data", tmp_path / "volumes", "--output", tmp_path / "found.csv")
    out = " ".join(called(*words, code=1).split())
    assert "the images of the run have 8 bits per channel, and the new ones 16" in out
    called(*words, "--allow-other")
    assert [row["image"] for row in rows(tmp_path / "found.csv")] == [f"brain.nii.gz#{k}" for k in range(5)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "no image was given"),
        (["missing"], "missing does not exist"),
        (["images", "--output", "p.txt"], "unknown suffix"),
        (["images", "--dataset", "folder"], "both given"),
        (["images", "--group-pattern", "("], "not usable"),
        (["images", "--group-pattern", "P"], "exactly one group"),
        (["images", "--evaluator", "linear"], "no predictor 'linear'"),
        (["--dataset", "folder", "--set", "train.epochs=1"], "no effect on predictions"),
        (["empty.csv"], "no rows"),
        (["paths.csv", "--path-column", "pth"], "no column 'pth'.*path"),
        (["images", "--data", "images"], "IMAGES and --data were both given"),
        (["new.xlsx"], "a table or an archive. Give it with --data new.xlsx"),
        (["--data", "missing"], "missing does not exist"),
        (["paths.csv"], "1 of 1 images that do not exist"),
    ],
)
def test_wrong_words_get_a_sentence(place, tmp_path, monkeypatch, words, expected):
    import re

    (place / "new.xlsx").write_bytes(b"PK")
    (place / "empty.csv").write_text("path\n", encoding="utf-8")
    (place / "paths.csv").write_text("path\nnone.png\n", encoding="utf-8")
    monkeypatch.chdir(place)
    out = called("run", *words, code=1)
    assert re.search(expected, " ".join(out.split())), out
    assert "Traceback" not in out


def test_a_folder_without_a_run_is_refused(tmp_path):
    assert "no finished run" in called(tmp_path, tmp_path, code=1)
