"""The arrays of a run are read when they are asked for, and a damaged file is named."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from medssl.errors import CheckpointError
from medssl.results.directory import RunDirectory, RunResult
from medssl.results.history import EpochRecord

IDS = ["a", "b", "c", "d"]
RECORD = EpochRecord(
    epoch=0,
    loss=1.5,
    learning_rate=0.1,
    images=8,
    seconds=2.0,
    images_per_second=4.0,
    feature_std=None,
    effective_rank=3.0,
    validation={"val_knn": 0.5},
)


@pytest.fixture
def result(values, tmp_path):
    directory = RunDirectory(tmp_path)
    proba = np.random.default_rng(0).dirichlet([1, 1], 4)
    np.savez(directory.predictions, id=np.array(IDS), y=np.array([0, 1, 0, 1]), knn=proba)
    part = {"x": np.ones((2, 3), np.float32), "y": np.array([0, 1]), "id": np.array(["e", "f"])}
    parts = ("train", "val", "test")
    np.savez(directory.features, **{f"{name}_{key}": value for name in parts for key, value in part.items()})
    split = {"parts": {"train": ["e"], "val": [], "test": IDS, "unused": []}, "groups": {"a": "p1"}, "seed": 7}
    directory.splits.write_text(json.dumps({**split, "protocol": "grouped", "fold": None, "folds": None}))
    directory.history.write_text(RECORD.to_json())
    return RunResult(tmp_path, values)


def test_predictions_have_ids_truth_groups_and_a_table_for_each_evaluator(result):
    found = result.predictions()
    assert found.ids == tuple(IDS)
    assert found.y.tolist() == [0, 1, 0, 1]
    assert found.groups == ("p1", None, None, None)
    assert list(found.by_evaluator) == ["knn"]
    np.testing.assert_allclose(found.by_evaluator["knn"].sum(1), 1)
    assert found.target == result.data.target


def test_predictions_of_the_validation_part_are_read_apart(result):
    directory = RunDirectory(result.path)
    tables = {"knn": np.full((4, 2), 0.5), "val_knn": np.eye(2)[[0, 1, 1, 0]]}  # as many rows as the test part
    truths = {
        "id": np.array(IDS),
        "y": np.zeros(4, int),
        "val_id": np.array(["e", "f", "g", "h"]),
        "val_y": np.ones(4, int),
    }
    np.savez(directory.predictions, **truths, **tables)
    test, val = result.predictions(), result.predictions("val")
    assert (test.ids, list(test.by_evaluator), test.y.tolist()) == (tuple(IDS), ["knn"], [0] * 4)
    assert (val.ids, list(val.by_evaluator), val.y.tolist()) == (("e", "f", "g", "h"), ["knn"], [1] * 4)
    np.testing.assert_array_equal(val.by_evaluator["knn"], tables["val_knn"])


def test_a_run_without_predictions_of_the_validation_part_says_so(result):
    with pytest.raises(CheckpointError, match=r"predictions\.npz cannot be read. It lacks 'val_id'"):
        result.predictions("val")


def test_arrays_of_runs_before_there_were_targets_are_read(result):
    directory = RunDirectory(result.path)
    np.savez(directory.predictions, id=np.array(IDS), label=np.array([1, 1, 0, 0]), knn=np.eye(2)[[1, 1, 0, 0]])
    assert result.predictions().y.tolist() == [1, 1, 0, 0]
    assert list(result.predictions().by_evaluator) == ["knn"]


def test_features_split_and_history(result):
    train = result.features()["train"]
    assert (train.x.shape, train.y.tolist(), train.ids) == ((2, 3), [0, 1], ("e", "f"))
    split = result.split()
    assert (split.train, split.test, split.protocol, split.seed) == (("e",), tuple(IDS), "grouped", 7)
    (record,) = result.history()
    assert asdict(record) == asdict(RECORD)


def test_a_run_that_trained_nothing_has_no_history(result, values):
    values["pretrain"]["epochs"] = 0
    (result.path / "history.jsonl").unlink()
    assert RunResult(result.path, values).history() == ()


@pytest.mark.parametrize(
    ("file", "ask"),
    [
        ("predictions.npz", RunResult.predictions),
        ("features.npz", RunResult.features),
        ("splits.json", RunResult.split),
        ("splits.json", RunResult.predictions),
        ("history.jsonl", RunResult.history),
    ],
)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"[]", b'{"parts": 1}', b'{"epoch": "x"}', None])
def test_a_damaged_or_missing_file_is_named(result, file, ask, content):
    if content is None:
        (result.path / file).unlink()
    else:
        (result.path / file).write_bytes(content or b"\xff")
    with pytest.raises(CheckpointError, match=rf"{file} cannot be read.*--force"):
        ask(result)


def test_an_array_that_is_missing_is_named(result):
    np.savez(result.path / "predictions.npz", id=np.array(IDS))
    with pytest.raises(CheckpointError, match="lacks 'label'"):
        result.predictions()
