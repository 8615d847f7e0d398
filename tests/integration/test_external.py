"""A run that also tests on another hospital: the scores are those of its fitted heads, and nothing seen is allowed."""

from __future__ import annotations

import importlib.resources
import json

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn import metrics as sk

import medssl
from medssl.cli import main
from medssl.errors import DataError, OptionError
from medssl.evaluation.pooling import pool_groups
from medssl.runs.pipeline import Place

SETTINGS = {
    "views": {"image_size": 24},
    "encoder": {"backbone": "test_resnet", "stem": "standard"},
    "evaluate": {"bootstrap": 20},
    "evaluators": ["knn", "linear", {"plugin": "attention", "epochs": 2, "min_steps": 1}],
}
PHANTOM = {"plugin": "phantom", "images_per_patient": 2, "size": 24}


def run(tmp_path, **external):
    return medssl.run("random", PHANTOM, place=Place(output=tmp_path / "runs"), external=external, **SETTINGS)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_the_fitted_heads_are_scored_on_the_other_images(tmp_path) -> None:
    names = medssl.run("random", PHANTOM, place=Place(output=tmp_path / "first"), **SETTINGS).data.target.output_names
    labels = {names[0]: names[1], names[1]: names[0]}  # two names exchanged
    result = run(tmp_path, north={"path": str(tmp_path), "seed": 7, "labels": labels})
    section, found = result.values["external"]["north"], result.external["north"]
    arrays = np.load(result.path / "external.npz")
    y, knn, groups = (arrays[f"north/{key}"] for key in ("y", "knn", "group"))
    assert found.scores["knn"]["accuracy"].value == pytest.approx(sk.accuracy_score(y, knn.argmax(axis=1)))
    assert found.scores["knn"].n == found.images == len(y)
    per_group = found.scores["knn"].per_group
    assert per_group is not None
    assert per_group.pooling == result.scores["knn"].per_group.pooling  # chosen on the run's own validation part
    first = np.unique(groups, return_index=True)[1]
    pooled = pool_groups(result.data.target, knn, np.unique(groups, return_inverse=True)[1], per_group.pooling["name"])
    assert per_group["accuracy"].value == pytest.approx(sk.accuracy_score(y[first], pooled.argmax(axis=1)))
    learned = found.scores["attention"].per_group
    assert learned is not None
    assert learned.pooling == {
        "name": "learned",
        "chosen_by": "predictor",
        "val_groups": learned.pooling["val_groups"],
        "tried": {},
    }
    assert section["seen"] == 0
    schema = json.loads((importlib.resources.files("medssl.results") / "result.schema.json").read_text())
    jsonschema.validate(dict(result.values), schema)
    page = (result.path / "report.html").read_text()
    assert "External test set north" in page
    again = run(tmp_path, south={"path": str(tmp_path), "seed": 7, "labels": labels})
    assert again.training.reused is None  # `random` trains nothing
    assert again.values["evaluations"] == result.values["evaluations"]


@pytest.mark.parametrize("evaluator", ["linear", "attention"])
def test_decisions_about_patients_have_thresholds_of_their_own_and_predict_repeats_them(tmp_path, evaluator) -> None:
    """The threshold of the validation patients; the decisions of test patients; predictions of groups as in the run."""
    settings = {**SETTINGS, "evaluators": SETTINGS["evaluators"][1:], "evaluate": {"bootstrap": 0, "unit": "group"}}
    data = {**PHANTOM, "images_per_patient": 3}
    result = medssl.run("random", data, place=Place(output=tmp_path / "runs"), **settings)
    found = result.scores[evaluator].per_group
    assert found is not None
    assert found.operating_points is not None
    tested = result.predictions()
    groups = np.array(tested.groups)
    names, first = np.unique(groups, return_index=True)
    if evaluator == "attention":
        pooled = tested.of_groups[evaluator][first]
        assert all((tested.of_groups[evaluator][groups == name] == pooled[i]).all() for i, name in enumerate(names))
    else:
        units = np.unique(groups, return_inverse=True)[1]
        pooled = pool_groups(result.data.target, tested.by_evaluator[evaluator], units, found.pooling["name"])
    truth, compared = tested.y[first], 0
    for name, point in found.operating_points.points.items():
        place = result.data.target.output_names.index(name)
        if point.threshold is not None and found["sensitivity"].outputs:
            called = pooled[:, place] >= point.threshold
            expected = sk.recall_score(truth == place, called, zero_division=np.nan)
            assert found["sensitivity"].outputs[name].value == pytest.approx(expected)
            compared += 1
    assert compared
    model = medssl.load_model(result.path)
    new = model.predict(data, evaluator=evaluator)
    rows = {row[0]: row for row in new.group_rows()[1:]}
    for name, values in zip(names, pooled, strict=True):
        np.testing.assert_allclose([float(cell) for cell in rows[name][2 : 2 + len(values)]], values, atol=1e-5)
    assert new.group_decision.words == found.operating_points.decision


def test_images_of_the_training_part_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="external test set 'same' were used for training or validation"):
        run(tmp_path, same={"path": str(tmp_path)})
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.name == "result.json"]


def test_wrong_settings_are_named(tmp_path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        run(tmp_path, gone={"path": str(tmp_path / "nowhere")})
    with pytest.raises(OptionError, match="x has no path"):
        run(tmp_path, x={"labels": {}})
    with pytest.raises(OptionError, match="cannot be called 'a/b'"):
        run(tmp_path, **{"a/b": {"path": str(tmp_path)}})
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("recipe.yaml"))


def test_a_column_that_the_dataset_does_not_know_is_named(tmp_path) -> None:
    settings = {**SETTINGS, "evaluate": {"subgroups": ["sex"]}}
    with pytest.raises(OptionError, match="subgroups names 'sex'"):
        medssl.run("random", PHANTOM, place=Place(output=tmp_path / "runs"), **settings)


WORDS = [
    *("run", "--method", "random", "--evaluator", "knn", "--image-size", "16", "--backbone", "test_resnet", "--json"),
    *("--set", "encoder.stem=standard", "--set", "evaluate.bootstrap=20", "--device", "cpu"),
]


def draw(file, seed) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)).save(file)


@pytest.fixture
def two_hospitals(tmp_path):
    """One in class folders, the other in a table with other spellings."""
    for i in range(30):
        draw(tmp_path / "here" / ("COVID-19", "normal")[i % 2] / f"{i}.png", i)
    for i in range(12):
        draw(tmp_path / "there" / "scans" / f"s{i}.png", 100 + i)
    rows = [f"s{i};{i // 2};{('covid 19', 'Normal')[i % 2]}" for i in range(12)]
    (tmp_path / "there" / "list.csv").write_text("\n".join(["image;patient;diagnosis", *rows]))
    return tmp_path


def cli(tmp_path, *words):
    return CliRunner().invoke(main, [*WORDS, "--output", str(tmp_path / "runs"), *map(str, words)])


def test_another_folder_is_understood_as_the_own_and_a_change_is_noticed(two_hospitals) -> None:
    words = ("--data", two_hospitals / "here", "--external", f"there={two_hospitals / 'there'}")
    first = cli(two_hospitals, *words)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)["external"]["there"]
    assert (found["dataset"], found["images"], found["groups"]) == ("csv", 12, 6)
    assert found["labels"] == {"COVID-19": 6, "normal": 6}
    assert "'covid 19' is taken for 'COVID-19' of the run" in found["warnings"][-1]
    assert "external test set there: " in first.stderr
    assert "(external.there.label_column)" in first.stderr
    assert cli(two_hospitals, *words).exit_code == 0
    draw(two_hospitals / "there" / "scans" / "s3.png", 999)
    again = cli(two_hospitals, *words)
    assert again.exit_code == 1
    assert "another external test set 'there'. Since then, files were changed" in again.output
    table = two_hospitals / "there" / "list.csv"
    table.write_text(table.read_text().replace("s0;0;covid 19", "s0;0;Normal"))
    assert "their labels or groups were changed" in cli(two_hospitals, *words).output


def test_a_table_beside_a_named_dataset_and_all_wrong_labels_at_once(two_hospitals) -> None:
    table = two_hospitals / "there" / "list.csv"
    own = ("--dataset", "folder", "--data-dir", two_hospitals / "here")
    done = cli(two_hospitals, *own, "--external", f"there={table}")
    assert done.exit_code == 0, done.output
    table.write_text(table.read_text().replace("covid 19", "ARDS"))
    other = two_hospitals / "there" / "other.csv"
    other.write_text(table.read_text().replace("Normal", "healthy"))
    wrong = cli(two_hospitals, *own, "--external", f"a={table}", "--external", f"b={other}")
    assert wrong.exit_code == 1
    assert "'a' has labels that the run does not know: 'ARDS'" in wrong.output
    assert "'b' has labels that the run does not know: 'ARDS', 'healthy'" in wrong.output


def test_a_folder_beside_a_named_dataset_is_understood_if_asked(two_hospitals) -> None:
    own = (
        "--dataset",
        "folder",
        "--data-dir",
        two_hospitals / "here",
        "--external",
        f"there={two_hospitals / 'there'}",
    )
    done = cli(two_hospitals, *own, "--set", "external.there.plugin=auto")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["external"]["there"]
    assert (found["dataset"], found["images"]) == ("csv", 12)
