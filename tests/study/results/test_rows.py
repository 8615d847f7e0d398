"""Which runs stand in one row, and what the row is called."""

import dataclasses

import pytest

from medssl.catalog import load_catalog
from medssl.study.results.rows import _flat, group_rows, repeats


def rows_of(*runs):
    return group_rows(runs, load_catalog())


def test_seeds_folds_and_label_seeds_share_a_row(make_run):
    runs = [make_run(seed=s, split__label_seed=s, split__fold=f, n=9) for s in (1, 0) for f in (1, 0)]
    (row,) = rows_of(*runs)
    assert [(run.values["seed"], run.values["recipe"]["split"]["fold"]) for run in row.runs] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    assert [len(folds) for folds in repeats(row)] == [2, 2]


@pytest.mark.parametrize(
    ("setting", "value", "label"),
    [
        ("train__batch_size", 16, "dcl, batch 16"),
        ("split__label_fraction", 0.05, "dcl, 5 % of labels"),
        ("encoder__backbone", "resnet50", "dcl, resnet50"),
        ("encoder__weights", "/w/timm.safetensors", "dcl, from timm"),
        ("views__image_size", 64, "dcl, 64 px"),
        ("method__temperature", 0.5, "dcl, temperature 0.5"),
        ("split__protocol", "official", "dcl, official split"),
        ("split__seed", 1, "dcl, split seed 1"),
    ],
)
def test_rows_that_differ_in_a_setting_are_named_by_it(make_run, setting, value, label):
    rows = rows_of(make_run(n=9), make_run(n=9, **{setting: value}))
    assert [row.label for row in rows][1] == label
    assert rows[0].label != label


def test_an_encoder_that_is_known_by_its_file_is_named_once(make_run):
    given = {"encoder__weights": "file-31f8683450d9", "encoder__backbone": "file-31f8683450d9"}
    rows = rows_of(make_run(n=9), make_run(n=9, **given))
    assert [row.label for row in rows] == ["dcl, resnet18", "dcl, from file-31f8683450d9"]


def test_a_view_setting_that_one_row_alone_has_names_it(make_run):
    rows = rows_of(
        make_run(n=9),
        make_run(n=9, views__crop_scale=[0.08, 0.1]),
        make_run(n=9, train__momentum=0.0),
    )
    (first, second, third) = (row.label for row in rows)
    assert "crop_scale [0.08, 0.1]" in second
    assert "crop_scale" not in first
    assert "momentum 0.0" in third
    assert len({first, second, third}) == 3


def test_rows_of_one_curve_are_of_one_variant(make_run):
    rows = rows_of(
        make_run(n=9),
        make_run(n=9, train__batch_size=16),
        make_run(n=9, split__label_fraction=0.05),
        make_run(n=9, method__temperature=0.5),
        make_run(n=9, method__temperature=0.5, train__batch_size=16),
    )
    first, second = rows[0].variant, rows[3].variant
    assert [row.variant for row in rows] == [first, first, first, second, second]
    assert second == "dcl, temperature 0.5"
    assert "batch" not in first
    assert "labels" not in first


def test_a_row_alone_is_named_by_its_method(make_run):
    assert [row.label for row in rows_of(make_run(n=9), make_run(method="simclr", n=9))] == ["dcl", "simclr"]


def test_what_trains_nothing_is_not_named_by_a_batch_size(make_run):
    rows = rows_of(
        make_run(n=9),
        make_run(n=9, train__batch_size=16),
        make_run(method="random", epochs=0, n=9),
    )
    assert [row.label for row in rows] == ["dcl, batch 64", "dcl, batch 16", "random"]


def test_labels_are_unique_within_a_dataset(make_run):
    runs = [
        make_run(n=9, train__batch_size=b, method__temperature=t, dataset=d)
        for d in ("phantom", "breast")
        for b in (16, 64)
        for t in (0.1, 0.2)
    ]
    rows = rows_of(*runs)
    for dataset in ("phantom", "breast"):
        labels = [row.label for row in rows if row.dataset == dataset]
        assert len(set(labels)) == len(labels) == 4


def test_rows_with_other_evaluators_are_named_by_them(make_run):
    rows = rows_of(make_run(n=9, evaluators=("knn", "linear")), make_run(n=9, evaluators=("mlp",)))
    assert [row.label for row in rows] == ["dcl, by knn linear", "dcl, by mlp"]


def test_a_run_that_was_made_twice_counts_once(make_run):
    run = make_run(n=9)
    (row,) = rows_of(run, run)
    assert len(row.runs) == 1


def test_an_untrained_encoder_is_one_row_whatever_the_settings_for_training(make_run):
    """A study goes on with other batch sizes, or more epochs: nothing of its random encoder is another."""
    first = [make_run(method="random", n=9, seed=seed) for seed in (0, 1)]
    again = make_run(method="random", n=9, train__batch_size=16, train__learning_rate=0.1)
    trained = [make_run(n=9), make_run(n=9, train__batch_size=16)]
    for run in (*first, again):
        run.values["pretrain"]["epochs"] = 0
    rows = rows_of(*map(dataclasses.replace, (*first, again)), *trained)
    assert [(row.label, len(row.runs)) for row in rows] == [("random", 2), ("dcl, batch 64", 1), ("dcl, batch 16", 1)]


def test_baselines_are_those_of_the_catalogue_and_those_trained_with_labels(make_run):
    run = make_run(method="dcl", n=9)
    labelled = make_run(method="simclr", n=9)
    labelled.values["pretrain"]["uses_labels"] = True
    rows = rows_of(run, dataclasses.replace(labelled), make_run(method="random", n=9))
    assert [row.baseline for row in rows] == [False, True, True]


def test_a_list_with_one_mapping_is_a_value():
    """Found by a fuzz test."""
    assert dict(_flat({"a": [{"plugin": "x"}, 2.0], "b": [{"plugin": "y", "k": 1}]})) == {
        "a": '[{"plugin": "x"}, 2.0]',
        "b.y.plugin": "y",
        "b.y.k": "1",
    }
