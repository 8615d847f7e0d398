"""`medssl show data` and `--data`: what is understood, what is guessed, and that the shown command runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from medssl.cli import main
from medssl_datasets.tables.files import Finder

FAST = [
    *("--backbone", "resnet10t", "--image-size", "32", "--set", "encoder.stem=standard"),
    *("--evaluator", "knn", "--set", "evaluate.bootstrap=20", "--batch-size", "4", "--device", "cpu"),
]


def medssl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def card(path: Path, *words: str) -> dict[str, object]:
    result = medssl("show", "data", path, "--json", *words)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def draw(root: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 20), dtype=np.uint8)).save(file)
    return root


@pytest.fixture
def hospital(tmp_path):
    """36 radiographs of 12 patients, a table that names them without suffix, and another table without images."""
    draw(tmp_path, [f"images/x{i:03d}.png" for i in range(36)])
    rows = [f"x{i:03d};{i % 12};{'sick' if i % 12 < 6 else 'well'};{'MF'[i % 2]};{i}" for i in range(36)]
    (tmp_path / "meta.csv").write_text("\n".join(["Image;Patient ID;diagnosis;sex;note", *rows]))
    (tmp_path / "drugs.csv").write_text("name,dose\naspirin,1\n")
    return tmp_path


def test_a_table_is_understood(hospital):
    found = card(hospital)
    assert (found["dataset"], found["images"], found["files"]) == ("csv", 36, {".png": 36})
    assert found["options"] == {
        "file": "meta.csv",
        "path_column": "Image",
        "group_column": "Patient ID",
        "subgroup_columns": ["sex"],
        "label_column": "diagnosis",
    }
    assert found["counts"] == {"sick": 18, "well": 18}
    assert found["groups"] == {"kind": "patient", "count": 12, "largest": 3}
    assert found["looked_at"]["height"] == [24, 24]


def test_the_card_names_guesses_and_what_was_found_elsewhere(hospital):
    shown = medssl("show", "data", hospital).output
    assert "guesses (correct them with --set OPTION=VALUE):" in shown
    assert "the labels are in the column 'diagnosis' (dataset.label_column)" in shown
    assert "found by name, in another folder than the table says: 36 images" in shown
    assert "sizes    height 24, width 20 px; 8 bits, 1 channel" in shown


def test_the_card_foresees_what_a_split_refuses_and_names_the_option(hospital):
    table = (hospital / "meta.csv").read_text()
    rare = table.replace("well", "odd", 1)
    (hospital / "meta.csv").write_text(rare)
    found = card(hospital)
    assert found["too_few"].startswith("class 'odd' has 1 patient. The three parts of a split need one each")
    option = "--set 'dataset.leave_out=[\"odd\"]'"
    assert option in found["too_few"]
    refused = medssl("run", "--method", "random", "--data", hospital, "--evaluator", "knn")
    assert option in refused.output
    left = card(hospital, *shlex.split(option))
    assert left["too_few"] is None
    assert left["counts"] == {"sick": 18, "well": 17}


def test_a_guess_is_corrected(hospital):
    found = card(hospital, "--set", "dataset.label_column=note", "--set", "dataset.target=quantity")
    assert found["target"]["kind"] == "quantity"
    assert found["options"]["label_column"] == "note"


def test_the_table_itself_may_be_given(hospital):
    assert card(hospital / "meta.csv")["images"] == 36


def test_images_are_searched_by_name_only_where_the_table_does_not_say_where_they_are(hospital, monkeypatch):
    table = (hospital / "meta.csv").read_text().splitlines()
    rows = [f"images/{row.replace(';', '.png;', 1)}" for row in table[1:]]
    (hospital / "meta.csv").write_text("\n".join([table[0], *rows]))
    (hospital / "drugs.csv").unlink()
    monkeypatch.setattr(Finder, "_search", None)
    assert card(hospital)["options"]["path_column"] == "Image"


def test_the_shown_command_runs_and_equals_run_with_data(hospital, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    words = shlex.split(card(hospital)["command"])
    words[words.index("--method") + 1] = "random"
    shown = medssl(*words[1:], *FAST, "--output", tmp_path / "runs", "--json")
    assert shown.exit_code == 0, shown.output
    short = ["run", "--method", "random", "--data", hospital, *FAST, "--output", tmp_path / "other", "--json"]
    result = medssl(*short)
    assert result.exit_code == 0, result.output
    assert "is read by the dataset 'csv'" in result.stderr
    assert json.loads(result.stdout)["recipe"] == json.loads(shown.stdout)["recipe"]


def test_folders_are_understood(tmp_path):
    draw(tmp_path, [f"{part}/{grade}/{i}.png" for part in ("Train", "Test") for grade in range(3) for i in range(2)])
    found = card(tmp_path)
    assert (found["dataset"], found["options"], found["target"]["kind"]) == ("folder", {"target": "grades"}, "grades")
    assert found["parts"] == {"test": 6, "train": 6}


def test_images_alone_have_no_labels(tmp_path):
    draw(tmp_path, ["1.png", "2.png"])
    shown = medssl("show", "data", tmp_path).output
    assert "labels   none" in shown
    assert "scores nothing" in shown


@pytest.mark.parametrize(
    ("columns", "cells", "expected"),
    [
        ("file,mass,edema", ["1,0", "0,", "-1,1", "0,1"], ("findings", {"label_columns": ["mass", "edema"]})),
        ("file,finding", ["A|B", "B", "A", "C"], ("findings", {"label_column": "finding", "target": "findings"})),
        ("file,grade", ["0", "2", "1", "1"], ("grades", {"label_column": "grade", "target": "grades"})),
        ("file,target", ["0.5", "1.25", "2", "3"], ("quantity", {"label_column": "target", "target": "quantity"})),
        ("file,remark", ["ab", "cd", "ef", "gh"], ("none", {"label_column": "none"})),
    ],
)
def test_kinds_of_labels_are_guessed(tmp_path, columns, cells, expected):
    draw(tmp_path, [f"{i}.png" for i in range(4)])
    (tmp_path / "t.csv").write_text("\n".join([columns, *(f"{i}.png,{cell}" for i, cell in enumerate(cells))]))
    found = card(tmp_path)
    options = {key: value for key, value in found["options"].items() if key not in ("file", "path_column")}
    assert (found["target"]["kind"], options) == expected


def test_lists_of_parts_are_guessed(hospital):
    (hospital / "train_val_list.txt").write_text("\n".join(f"x{i:03d}.png" for i in range(24)))
    (hospital / "test_list.txt").write_text("\n".join(f"x{i:03d}.png" for i in range(24, 36)))
    assert card(hospital)["parts"] == {"train": 24, "test": 12}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "data", "gone"], "gone does not exist"),
        (["show", "data", "notes.txt"], "is not understood as a set of images"),
        (["run", "--method", "random", "--data", ".", "--data-dir", "."], "--data and --data-dir are both given"),
    ],
)
def test_what_is_not_understood_is_said(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("name,dose\naspirin,1\n")
    result = medssl(*words)
    assert result.exit_code == 1
    assert message in result.output


def test_rows_that_match_no_image_are_an_error_that_says_what_was_tried(tmp_path):
    draw(tmp_path / "d", [f"{i}.png" for i in range(8)])
    rows = [f"scan{i}.png,{'ab'[i % 2]}" for i in range(8)]
    (tmp_path / "d" / "t.csv").write_text("\n".join(["image,label", *rows]))
    words = ["run", "--method", "random", *FAST, "--output", tmp_path / "runs"]
    for place in (tmp_path / "d", tmp_path / "d" / "t.csv"):
        refused = medssl(*words, "--data", place)
        assert refused.exit_code == 1
        assert "8 rows of t.csv match no file: scan0.png, scan1.png" in refused.output
        assert "Tried: the path below" in refused.output
    assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.parametrize(
    ("header", "cell", "settings"),
    [
        ("image,label", "sick", []),
        ("image,grade", "2", ["--set", "dataset.target=grades"]),
        ("image,age", "50", ["--set", "dataset.target=quantity", "--set", "dataset.label_column=age"]),
        ("image,mass,edema", "0,0", ["--set", "dataset.label_columns=[mass,edema]"]),
    ],
)
def test_a_target_that_is_constant_is_refused(tmp_path, header, cell, settings):
    draw(tmp_path / "d", [f"{i}.png" for i in range(12)])
    (tmp_path / "d" / "t.csv").write_text("\n".join([header, *(f"{i}.png,{cell}" for i in range(12))]))
    words = ["run", "--method", "random", *FAST, "--output", tmp_path / "runs", "--data", tmp_path / "d"]
    refused = medssl(*words, *settings)
    assert refused.exit_code == 1
    assert "all 12 labelled images are " in refused.output
    assert not list((tmp_path / "runs").glob("*/*"))


def test_a_quantity_is_run_with_the_usual_evaluators(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    draw(tmp_path / "d", [f"{i}.png" for i in range(40)])
    (tmp_path / "d" / "t.csv").write_text("\n".join(["image,age", *(f"{i}.png,{20 + i}.5" for i in range(40))]))
    usual = [word for word in FAST if word not in ("--evaluator", "knn")]
    quantity = ["--set", "dataset.label_column=age", "--set", "dataset.target=quantity"]
    words = ["run", "--method", "supervised", "--epochs", "1", "--data", tmp_path / "d", *usual, *quantity]
    result = medssl(*words, "--output", tmp_path / "runs", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["evaluations"]
    assert {"knn", "linear", "mlp"} <= set(found)
    assert found["mlp"]["mean_absolute_error"]["value"] < 40
