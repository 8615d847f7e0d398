"""Scores of a row against scikit-learn and slow loops."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from medssl.catalog import load_catalog
from medssl.errors import CheckpointError
from medssl.study.results.estimates import estimate
from medssl.study.results.rows import group_rows


def row_of(*runs):
    (row,) = group_rows(runs, load_catalog())
    return row


def load(run):
    with np.load(run.path / "predictions.npz") as file:
        return dict(file)


def test_a_single_run_keeps_the_numbers_of_its_result(make_run):
    run = make_run()
    own = run.evaluations["knn"]
    for metric, got in estimate(row_of(run), 200).row.scores["knn"].items():
        assert (got.value, got.low, got.high) == (own[metric]["value"], own[metric]["low"], own[metric]["high"])
        assert (got.std, got.runs) == (None, 1)


def test_seeds_give_the_mean_of_their_results_and_their_spread(make_run):
    runs = [make_run(seed=seed) for seed in range(3)]
    got = estimate(row_of(*runs), 200).row.scores["knn"]["f1_macro"]
    own = [run.evaluations["knn"]["f1_macro"]["value"] for run in runs]
    assert got.value == pytest.approx(np.mean(own))
    assert got.std == pytest.approx(np.std(own, ddof=1))
    assert got.runs == 3


def test_the_interval_over_seeds_equals_a_loop_over_resampled_groups_and_seeds(make_run):
    runs = [make_run(seed=seed, bootstrap=40) for seed in range(2)]
    evidence = estimate(row_of(*runs), 40)
    saved = [load(run) for run in runs]
    label = saved[0]["y"]
    groups = np.unique([f"g{int(name[:3]) // 3}" for name in saved[0]["id"]], return_inverse=True)[1]
    drawn_units = np.random.default_rng(0).integers(0, 30, size=(40, 30))
    lowest_hash = min(run.values["recipe"]["hash"] for run in runs)
    drawn_seeds = np.random.default_rng(int(lowest_hash, 16)).integers(0, 2, size=(2, 40))
    wanted = []
    for b in range(40):
        index = np.concatenate([np.flatnonzero(groups == unit) for unit in drawn_units[b]])
        values = [
            balanced_accuracy_score(label[index], saved[s]["knn"].argmax(1)[index]) for s in drawn_seeds[:, b].tolist()
        ]
        wanted.append(np.mean(values))
    assert evidence.draws["knn"]["balanced_accuracy"] == pytest.approx(np.array(wanted))
    got = evidence.row.scores["knn"]["balanced_accuracy"]
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(wanted, (0.025, 0.975))))


def test_folds_are_pooled_before_they_are_scored(make_run):
    parts = [[f"{i:03}.png" for i in range(start, start + 30)] for start in (0, 30, 60)]
    runs = [make_run(ids=ids, draw=f, split__fold=f, split__protocol="loso") for f, ids in enumerate(parts)]
    got = estimate(row_of(*runs), 200).row.scores["knn"]["f1_weighted"]
    saved = [load(run) for run in runs]
    label = np.concatenate([part["y"] for part in saved])
    predicted = np.concatenate([part["knn"].argmax(1) for part in saved])
    assert got.value == pytest.approx(f1_score(label, predicted, average="weighted"))
    assert (got.runs, got.std) == (1, None)
    assert got.low < got.value < got.high


def test_a_seed_that_lacks_a_fold_waits_and_is_told(make_run):
    parts = [[f"{i:03}.png" for i in range(start, start + 30)] for start in (0, 30, 60)]
    runs = [make_run(ids=ids, split__fold=f, seed=s) for s in (0, 1) for f, ids in enumerate(parts)]
    row = estimate(row_of(*runs[:-1]), 200).row
    assert row.scores["knn"]["accuracy"].runs == 1
    assert any("seed 1 is left out: it was tested on other images (60, not 90)" in note for note in row.notes)


def test_folds_that_are_missing_everywhere_are_told(make_run):
    runs = [make_run(ids=[f"{i + 10 * f:03}.png" for i in range(10)], split__fold=f) for f in range(2)]
    assert "2 of 5 folds" in estimate(row_of(*runs), 200).row.notes


def test_an_image_without_a_group_is_a_unit_of_its_own(make_run):
    run = make_run(group_of=lambda i: "one" if i < 45 else None)
    (predictions,) = estimate(row_of(run), 200).predictions
    assert len(set(predictions.unit.tolist())) == 46


def test_seeds_without_predictions_have_a_mean_and_no_interval(make_run):
    runs = [make_run(seed=seed) for seed in range(2)]
    (runs[0].path / "predictions.npz").unlink()
    got = estimate(row_of(*runs), 200).row.scores["knn"]["accuracy"]
    assert got.value == pytest.approx(np.mean([run.scores["knn"]["accuracy"].value for run in runs]))
    assert (got.low, got.high) == (None, None)


def test_an_evaluator_that_one_seed_lacks_is_left_out(make_run):
    runs = [make_run(evaluators=("knn", "linear")), make_run(seed=1)]
    runs[1].values["recipe"]["evaluators"] = runs[0].values["recipe"]["evaluators"]
    assert list(estimate(row_of(*map(dataclasses.replace, runs)), 200).row.scores) == ["knn"]


def test_damaged_predictions_are_named(make_run):
    run = make_run()
    (run.path / "predictions.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(CheckpointError, match=r"predictions\.npz cannot be read"):
        estimate(row_of(run), 200)
    (run.path / "splits.json").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match=r"splits\.json cannot be read.*'parts'.*with --force"):
        estimate(row_of(run), 200)


def patients_of(saved):
    """One image after the other: the label and the mean prediction of each patient of three images."""
    found = {}
    for name, y, p in zip(saved["id"].tolist(), saved["y"].tolist(), saved["knn"], strict=True):
        found.setdefault(patient(int(name[:3])), []).append((y, p))
    names = sorted(found)
    label = np.array([found[name][0][0] for name in names])
    return label, np.array([np.mean([p for _, p in found[name]], axis=0).argmax() for name in names])


def patient(i):
    return f"p{i % 3}-{i // 9}"  # three images of one class


def test_seeds_and_intervals_of_patients_equal_a_loop_over_patients(make_run):
    runs = [make_run(seed=seed, bootstrap=40, group_of=patient, pooling="mean") for seed in range(2)]
    found = estimate(row_of(*runs), 40).row.beside["knn"]["accuracy"]
    tables = [patients_of(load(run)) for run in runs]
    own = [(label == guess).mean() for label, guess in tables]
    assert found.value == pytest.approx(np.mean(own))
    assert found.std == pytest.approx(np.std(own, ddof=1))
    drawn = np.random.default_rng(0).integers(0, 30, size=(40, 30))
    lowest_hash = min(run.values["recipe"]["hash"] for run in runs)
    seeds = np.random.default_rng(int(lowest_hash, 16)).integers(0, 2, size=(2, 40))
    wanted = [np.mean([(tables[s][0] == tables[s][1])[drawn[b]].mean() for s in seeds[:, b]]) for b in range(40)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(wanted, (0.025, 0.975))))


def test_a_single_run_keeps_its_numbers_of_patients(make_run):
    run = make_run(group_of=patient, pooling="max")
    own = run.evaluations["knn"]["per_group"]["auroc"]
    found = estimate(row_of(run), 200).row.beside["knn"]["auroc"]
    assert (found.value, found.low, found.high) == (own["value"], own["low"], own["high"])


def test_patients_of_folds_are_pooled(make_run):
    parts = [[f"{i:03}.png" for i in range(start, start + 27)] for start in (0, 27, 54)]
    folds = [
        make_run(ids=ids, draw=f, split__fold=f, split__protocol="loso", group_of=patient, pooling="mean")
        for f, ids in enumerate(parts)
    ]
    found = estimate(row_of(*folds), 50).row.beside["knn"]["accuracy"]
    right = np.concatenate([np.equal(*patients_of(load(run))) for run in folds])
    assert found.value == pytest.approx(right.mean())
    assert len(right) == 27


def test_a_row_by_patient_has_their_scores_first(make_run):
    runs = [make_run(seed=seed, bootstrap=40, group_of=patient, pooling="mean") for seed in range(2)]
    images, patients = (estimate(row_of(*runs), 40, unit) for unit in ("image", "group"))
    assert (images.row.unit, patients.row.unit) == ("image", "group")
    assert patients.row.scores == images.row.beside
    assert patients.row.beside == images.row.scores
    assert len(patients.ids) == 30
    assert len(images.ids) == 90


def test_without_patients_of_several_images_a_row_is_about_images(make_run):
    row = estimate(row_of(make_run(group_of=lambda i: None)), 40, "group").row
    assert (row.unit, row.beside) == ("image", {})
