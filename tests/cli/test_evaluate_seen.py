"""An encoder is not tested on what it was trained on: forgotten options, grown folders, copies under other names."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from medssl.cli import main
from medssl.io.files import read_header

PATIENTS = [f"P{number:02}" for number in range(1, 13)]
GROUPED = ("--set", r"dataset.group_pattern=(P\d+)_")
QUICK = ("--evaluator", "knn", "--set", "evaluate.bootstrap=0")
NETWORK = ("--image-size", "32", "--backbone", "resnet10t", "--set", "encoder.stem=standard", "--batch-size", "8")


def picture(name: str) -> Image.Image:
    """Draw blobs with some noise: another picture for each name, the same one each time."""
    generator = np.random.default_rng(list(name.encode()))
    coarse = Image.fromarray(generator.integers(0, 200, (10, 10), dtype=np.uint8)).resize((64, 64), Image.BICUBIC)
    return Image.fromarray((np.asarray(coarse) + generator.integers(0, 6, (64, 64))).astype(np.uint8))


def draw(folder: Path, patients: list[str]) -> None:
    for patient in patients:
        for label in ("a", "b"):
            (folder / label).mkdir(parents=True, exist_ok=True)
            for number in range(3):
                picture(f"{label}{patient}{number}").save(folder / label / f"{patient}_{number}.png")


def call(*words: str | Path, code: int = 0) -> str:
    outcome = CliRunner().invoke(main, [str(word) for word in words])
    assert outcome.exit_code == code, outcome.output
    return outcome.output


def only(folder: Path) -> dict:
    (path,) = folder.glob("*/result.json")
    return json.loads(path.read_text())


def parts(folder: Path) -> dict[str, set[str]]:
    (path,) = folder.glob("*/splits.json")
    return {part: set(names) for part, names in json.loads(path.read_text())["parts"].items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of 12 patients, and a run that was trained on it, split by patient."""
    patch = pytest.MonkeyPatch()
    base = tmp_path_factory.mktemp("seen")
    patch.setenv("MEDSSL_CACHE", str(base / "cache"))
    patch.delenv("MEDSSL_DATA", raising=False)
    draw(base / "images", PATIENTS)
    call("run", "--method", "dcl", "--epochs", "1", "--dataset", "folder", "--data-dir", base / "images", *NETWORK,
         *GROUPED, *QUICK, "--output", base / "runs")  # fmt: skip
    yield base
    patch.undo()


@pytest.fixture
def run(trained):
    (directory,) = (trained / "runs").iterdir()
    return directory


def evaluate(run: Path, folder: Path, output: Path, *words: str | Path, code: int = 0) -> str:
    return call(
        "evaluate", run, "--dataset", "folder", "--data-dir", folder, *QUICK, "--output", output, *words, code=code
    )


def test_the_runs_split_is_taken_again_with_its_dataset_options(trained, run, tmp_path):
    evaluate(run, trained / "images", tmp_path)
    assert parts(tmp_path) == parts(trained / "runs")
    found = only(tmp_path)
    assert found["recipe"]["dataset"]["group_pattern"] == r"(P\d+)_"
    assert found["data"]["encoder_seen"]["known"]
    assert found["data"]["encoder_seen"]["test"] == {
        "images": 12, "equal": 0, "near": 0, "group": 0, "either": 0, "by_split": 0,
    }  # fmt: skip


def test_images_keep_their_parts_when_the_folder_grows(trained, run, tmp_path):
    grown = trained / "images"
    draw(grown, ["P13", "P14", "P15", "P16", "P17", "P18"])
    picture("aP01new").save(grown / "a" / "P01_9.png")
    try:
        evaluate(run, grown, tmp_path)
    finally:
        for file in grown.rglob("*.png"):
            if file.name[:3] not in PATIENTS or file.name == "P01_9.png":
                file.unlink()
    before, after = parts(trained / "runs"), parts(tmp_path)
    assert all(before[part] <= after[part] for part in before)
    assert sum(map(len, after.values())) == 72 + 37
    (home,) = (part for part in before if "a/P01_0.png" in before[part])
    assert "a/P01_9.png" in after[home]
    assert not only(tmp_path)["data"]["encoder_seen"]["test"]["either"]


def test_other_dataset_options_are_no_reason_to_pin_parts(trained, run, tmp_path):
    """With other groups the parts of the run would tear them: the split is drawn, and what was seen is an error."""
    said = evaluate(run, trained / "images", tmp_path, "--set", r"dataset.group_pattern=_(\d)", code=1)
    assert "known to the encoder" in said


@pytest.mark.slow
def test_folds_are_taken_over(trained, run, tmp_path):
    words = ("--split", "grouped-kfold", "--set", "split.fold=1", "--set", "split.folds=3")
    call("run", "--method", "dcl", "--epochs", "1", "--dataset", "folder", "--data-dir", trained / "images", *NETWORK,
         *GROUPED, *QUICK, *words, "--output", tmp_path / "runs")  # fmt: skip
    (fold,) = (tmp_path / "runs").iterdir()
    evaluate(fold, trained / "images", tmp_path / "out")
    assert parts(tmp_path / "out") == parts(tmp_path / "runs")
    assert only(tmp_path / "out")["data"]["fold"] == {"index": 1, "count": 3, "left_out": None}


@pytest.fixture
def renamed(trained, tmp_path):
    """The same files, in another folder and under names that tell no patient."""
    for number, file in enumerate(sorted((trained / "images").rglob("*.png"))):
        target = tmp_path / "renamed" / file.parent.name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return tmp_path / "renamed"


def test_renamed_files_are_recognised_by_an_encoder_alone(run, renamed, tmp_path):
    alone = tmp_path / "encoder.safetensors"
    shutil.copy(run / "encoder.safetensors", alone)
    said = evaluate(alone, renamed, tmp_path / "out", code=1)
    assert "test images are known to the encoder from its training" in said
    assert "--split-of RUN" in said
    assert "--allow-seen" in said
    assert ".png" not in said  # names may be patients'


def test_the_split_of_the_run_keeps_renamed_training_images_out_of_the_test(trained, run, renamed, tmp_path):
    evaluate(run, renamed, tmp_path / "out", "--split-of", run, "--set", "dataset.group_pattern=null")
    assert only(tmp_path / "out")["data"]["encoder_seen"]["test"]["either"] == 0
    assert len(parts(tmp_path / "out")["train"]) >= len(parts(trained / "runs")["train"])


def test_a_split_is_drawn_or_taken_over(run, renamed, tmp_path):
    said = evaluate(run, renamed, tmp_path / "out", "--split-of", run, "--split", "random", code=1)
    assert "--split and --split-of were both given" in said


def test_what_was_seen_is_allowed_on_request_and_said_first(run, renamed, tmp_path):
    said = evaluate(run, renamed, tmp_path / "out", "--allow-seen")
    found = only(tmp_path / "out")
    assert found["data"]["warnings"][0].startswith("leak: ")
    assert next(line for line in said.splitlines() if "test images" in line).startswith("leak: ")
    seen = found["data"]["encoder_seen"]
    assert seen["allowed"]
    assert seen["test"]["equal"] > 0
    page = next((tmp_path / "out").glob("*/report.html")).read_text()
    assert "leak: " in page
    call("report", tmp_path / "out", "--output", tmp_path / "report")
    assert "is not a valid test: its encoder was trained on" in next((tmp_path / "report").glob("*.html")).read_text()


def test_reencoded_copies_are_recognised(trained, run, tmp_path):
    for file in sorted((trained / "images").rglob("*.png")):
        target = tmp_path / "jpeg" / file.parent.name / f"x{file.stem}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(target, quality=80)
    said = evaluate(run, tmp_path / "jpeg", tmp_path / "out", "--set", "split.seed=5", code=1)
    assert "nearly identical" in said


def test_another_plugin_over_the_same_files_is_recognised(trained, run, tmp_path):
    files = sorted((trained / "images").rglob("*.png"))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        rows.writerows([path, path.parent.name] for path in files)
    words = ["evaluate", run, "--dataset", "csv", "--data-dir", tmp_path, *QUICK, "--output", tmp_path / "out"]
    assert "known to the encoder" in call(*words, code=1)
    call(*words, "--allow-seen")


def test_a_group_that_was_seen_is_recognised_by_its_new_images(trained, run, tmp_path):
    """A table of new images alone, but for one: the names of the patients tell the rest."""
    train = parts(trained / "runs")["train"]
    patients = sorted({name[2:5] for name in train})
    rows = [("old.png", "a", patients[0], "train"), ("zz.png", "b", "new", "train")]
    shutil.copy(trained / "images" / f"a/{patients[0]}_0.png", tmp_path / "old.png")
    picture("zz").save(tmp_path / "zz.png")
    for part, whose in (("train", ["n1", "n2", "n3"]), ("val", ["n4"]), ("test", [patients[1], "n5"])):
        for patient in whose:
            for label in ("a", "b"):
                picture(f"new{patient}{label}").save(tmp_path / f"{patient}{label}.png")
                rows.append((f"{patient}{label}.png", label, patient, part))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group", "part"), *rows])
    words = ["evaluate", run, "--dataset", "csv", "--data-dir", tmp_path, "--split", "official", *QUICK]
    said = call(*words, "--output", tmp_path / "out", code=1)
    assert "2 of 4 test images are known to the encoder from its training: 2 of the same group as such an image" in said
    (tmp_path / "table.csv").write_text((tmp_path / "table.csv").read_text().replace("old.png,", "zz2.png,"))
    picture("zz2").save(tmp_path / "zz2.png")
    call(*words, "--output", tmp_path / "other")  # no image in common: the names may be other patients'
    assert any("but no image is shared" in text for text in only(tmp_path / "other")["data"]["warnings"])


def test_an_encoder_inherits_what_its_weights_have_seen(trained, run, tmp_path):
    draw(tmp_path / "others", [f"Q{number:02}" for number in range(12)])
    base = run / "encoder.safetensors"
    call("run", "--method", "dcl", "--epochs", "1", "--init", base, "--dataset", "folder", "--data-dir",
         tmp_path / "others", *NETWORK, *QUICK, "--output", tmp_path / "runs")  # fmt: skip
    (second,) = (tmp_path / "runs").iterdir()
    said = evaluate(second / "encoder.safetensors", trained / "images", tmp_path / "out", "--set", "split.seed=7",
                    "--split", "random", code=1)  # fmt: skip
    assert "known to the encoder" in said


def test_weights_without_a_record_are_called_unknown(trained, run, tmp_path):
    network = timm.create_model("resnet10t", num_classes=0)
    network.load_state_dict(load_file(run / "encoder.safetensors"))  # timm reads the file in spite of the keys
    from safetensors.torch import save_file

    save_file(network.state_dict(), tmp_path / "plain.safetensors")
    words = ("--backbone", "resnet10t", "--image-size", "32", "--set", "encoder.stem=standard")
    evaluate(tmp_path / "plain.safetensors", trained / "images", tmp_path / "out", *words)
    found = only(tmp_path / "out")["data"]
    assert not found["encoder_seen"]["known"]
    assert "is not known" in found["warnings"][0]


def test_the_file_names_nobody(run):
    header = read_header(run / "encoder.safetensors")["seen"]
    assert not any(word in header for word in ("P01", "P12", ".png"))


def test_embed_says_how_many_images_were_trained_on(trained, run, tmp_path, caplog):
    call("embed", run, trained / "images", "--output", tmp_path / "x.npz")
    train = len(parts(trained / "runs")["train"])
    assert f"the encoder was trained on {train} of these 72 images, or on near-duplicates of them" in caplog.text
