"""A result has attributes; a damaged one is refused by the name of what is wrong."""

import copy
import json
from pathlib import Path

import pytest

from medssl.contracts.targets import Classes
from medssl.errors import CheckpointError
from medssl.results.directory import RunDirectory, RunResult


@pytest.fixture
def result(values):
    return RunResult(Path("runs/x"), values)


def test_scores_are_attributes(result):
    scores = result.scores["knn"]
    assert list(scores) == ["accuracy", "auroc"]
    accuracy = scores["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high, dict(accuracy.outputs)) == (0.5, 0.25, 0.75, {})
    assert scores["auroc"].outputs["ill"].value == 0.625
    assert (scores.n, scores.n_groups, scores.bootstrap.skipped) == (4, 2, {"auroc": 2})
    assert scores.confusion_matrix == ((1, 1), (0, 2))
    assert scores.reliability["accuracy"] == (None,)
    assert (scores.selected, scores.notes) == ({"k": 5}, ("a note",))
    with pytest.raises(KeyError):
        scores["acuracy"]


def test_every_other_section_has_attributes(result):
    assert (result.method, result.dataset, result.seed, result.seconds) == ("m", "d", 3, 2.5)
    data = result.data
    assert (data.train, data.val, data.test, data.split, data.directory) == (12, 4, 4, "grouped", Path("/images"))
    assert data.target == Classes(("ill", "well"))
    assert (data.groups["train"], data.fold.count, data.labels.fraction) == (6, 5, 1.0)
    assert (data.seen_before["test"].near, data.encoder_seen.test.near) == (1, None)
    assert result.warnings == data.warnings == ("first", "second")
    training = result.training
    assert (training.epochs, training.steps, training.final_loss, training.init.source) == (2, 6, 0.25, "timm")
    assert (result.environment.device, result.environment.precision) == ("cpu", "float32")
    assert result.recipe == {"train": {"epochs": 2}, "evaluators": [{"plugin": "knn"}]}
    assert result.diagnostics["features"]["effective_rank"] == 9.5


def test_a_value_cannot_be_changed(result):
    for value, name in ((result.data, "train"), (result.training, "epochs"), (result.scores["knn"]["accuracy"], "low")):
        with pytest.raises(AttributeError):
            setattr(value, name, 0)


def set_to(path, value):
    def damage(values):
        *sections, last = path
        for key in sections:
            values = values[key]
        values[last] = value

    return damage


def without(*path):
    def damage(values):
        *sections, last = path
        for key in sections:
            values = values[key]
        del values[last]

    return damage


DAMAGES = {
    "no data": (without("data"), "section 'data' is missing"),
    "no method": (without("method"), "section 'method' is missing"),
    "no metrics": (without("metrics"), "section 'metrics' is missing"),
    "no evaluations": (without("evaluations"), "section 'evaluations' is missing"),
    "data is a list": (set_to(["data"], []), "At 'data'"),
    "data is null": (set_to(["data"], None), "At 'data'"),
    "a count is a text": (set_to(["data", "train"], "12"), r"At 'data\.train': .*integer"),
    "a count is missing": (without("data", "test"), r"At 'data\.test': field required"),
    "an unknown target": (set_to(["data", "target"], {"kind": "colour"}), r"At 'data\.target': .*colour"),
    "a target without names": (set_to(["data", "target"], {"kind": "classes"}), r"At 'data\.target'"),
    "a target that is a text": (set_to(["data", "target"], "classes"), r"At 'data\.target'"),
    "a loss is a text": (set_to(["pretrain", "final_loss"], "low"), r"At 'pretrain\.final_loss'"),
    "no epochs": (without("pretrain", "epochs"), r"At 'pretrain\.epochs'"),
    "a metric without a value": (
        without("evaluations", "knn", "accuracy", "value"),
        r"'evaluations\.knn\.acc",
    ),
    "a metric that is a number": (set_to(["evaluations", "knn", "accuracy"], 0.5), r"'evaluations\.knn\.acc"),
    "an evaluation that is a list": (set_to(["evaluations", "knn"], [1]), r"At 'evaluations\.knn'"),
    "notes that are a number": (set_to(["evaluations", "knn", "notes"], 1), r"At 'evaluations\.knn\.notes'"),
    "a seed that is a text": (set_to(["seed"], "zero"), "At 'seed'"),
    "a recipe that is a text": (set_to(["recipe"], "medssl"), "At 'recipe'"),
    "schema 1 without anything": (lambda values: (values.clear(), values.update(schema=1)), "schema 1"),
    "schema 1, evaluations are a list": (
        lambda values: values.update(schema=1, evaluations=[1]),
        "schema 1",
    ),
    "a schema that is a list": (set_to(["schema"], [2]), "another schema"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_result_is_refused_by_the_name_of_the_entry(values, tmp_path, damage, words):
    damage(values)
    directory = RunDirectory(tmp_path)
    directory.result.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=words) as caught:
        directory.load()
    assert str(directory.result) in str(caught.value)
    assert "--force" in str(caught.value)


def test_a_file_that_is_cut_short_anywhere_is_refused(values, tmp_path):
    directory = RunDirectory(tmp_path)
    text = json.dumps(values)
    for end in range(0, len(text), len(text) // 20):
        directory.result.write_text(text[:end])
        with pytest.raises(CheckpointError):
            directory.load()


def test_no_section_may_be_of_another_type(values, tmp_path):
    """Every section in turn becomes a text, a number, a list, null: an error that names it, and never a traceback."""
    directory = RunDirectory(tmp_path)
    unread = ("schema", "plugins")
    for section in values.keys() - unread:
        for wrong in ("text" if section not in ("method", "dataset") else 1, True, [1], None):
            damaged = {**copy.deepcopy(values), section: wrong}
            directory.result.write_text(json.dumps(damaged))
            with pytest.raises(CheckpointError, match=f"At '{section}"):
                directory.load()
