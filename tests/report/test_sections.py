"""Sections hold rows that may stand in one table, under names that say what differs."""

import dataclasses

import pytest

from medssl.report.sections import make_sections
from medssl.study.results.summary import PublishedCell, summarise


def sections_of(*runs):
    return make_sections(summarise(list(runs)))


def test_rows_on_other_splits_and_other_images_stand_apart(make_run):
    runs = [make_run(), make_run(protocol="random"), make_run(total=7)]
    found = sections_of(*runs)
    assert [section.key for section in found] == ["phantom-grouped", "phantom-random", "phantom-grouped-2"]
    assert all(len(section.rows) == 1 for section in found)
    assert [section.title for section in found] == [
        "phantom, grouped split",
        "phantom, random split",
        "phantom, grouped split (2)",
    ]


def test_two_label_columns_of_one_table_are_told_apart_by_their_titles(make_run):
    runs = [make_run(), make_run(seed=1)]
    for run, column in zip(runs, ("sex", "side"), strict=True):
        run.values["recipe"]["dataset"]["label_column"] = column
        run.values["data"]["samples_sha256"] = column  # other labels, another listing
    found = sections_of(*map(dataclasses.replace, runs))
    assert [section.title for section in found] == [
        "phantom, grouped split, label_column sex",
        "phantom, grouped split, label_column side",
    ]
    assert [row.label for section in found for row in section.rows] == ["mae", "mae"]


def test_one_listing_at_two_sizes_stays_in_one_table(make_run):
    runs = [make_run(total=1), make_run(total=2)]
    for run, size in zip(runs, (28, 64), strict=True):
        run.values["recipe"]["dataset"]["size"] = size
        run.values["data"]["samples_sha256"] = "same"
    [section] = sections_of(*map(dataclasses.replace, runs))
    assert [row.label for row in section.rows] == ["mae, size 28", "mae, size 64"]


def test_names_leave_out_what_title_and_main_table_say(make_run):
    runs = [make_run(), make_run(fraction=0.5), make_run(batch_size=2), make_run(protocol="random")]
    [section, _] = sections_of(*runs)
    assert [row.label for row in section.rows] == ["mae, batch 2", "mae, batch 4", "mae, batch 4, 50 % of labels"]
    assert [row.label for row in section.main_rows] == ["mae, batch 2", "mae, batch 4"]


def test_baselines_come_last_and_the_first_method_is_shown(make_run):
    runs = [make_run(method="random", epochs=0), make_run(accuracy=0.9)]
    [section] = sections_of(*runs)
    assert [row.method for row in section.rows] == ["mae", "random"]
    assert section.shown_first().method == "mae"


def test_a_comparison_is_found_from_either_side(make_run):
    [section] = sections_of(make_run(accuracy=0.9), make_run(method="random", epochs=0, accuracy=0.2))
    first, second = section.rows
    there, back = section.between(first, second, "knn"), section.between(second, first, "knn")
    assert there.difference > 0
    assert (back.difference, back.low, back.high) == (-there.difference, -there.high, -there.low)
    assert (back.first, back.second) == ("random", "mae")


def test_the_test_part_is_counted_in_patients(make_run):
    run = make_run(patients=6, images=4)
    [section] = sections_of(run)
    test = section.test
    assert (test.images, test.units) == (run.values["data"]["test"], run.values["data"]["groups"]["test"])
    assert (test.unit, test.grouped) == ("patient", True)


def test_published_numbers_of_one_method_share_a_row_unless_their_batch_size_tells_them_apart(make_run):
    [section] = sections_of(make_run(protocol="official"))

    def cell(method, batch, evaluator, metric="accuracy"):
        return PublishedCell(
            method=method,
            batch_size=batch,
            evaluator=evaluator,
            metric=metric,
            value=0.5,
            low=0.4,
            high=0.6,
            split="official",
            images=section.test.images,
        )

    cells = (
        cell("a", 64, "knn"),
        cell("a", 16, "linear"),
        cell("a", 16, "linear", "f1_weighted"),
        cell("b", 16, "knn"),
        cell("b", 64, "knn"),
        cell("c", None, "unknown"),
    )
    rows = dataclasses.replace(section, published=cells).published_rows()
    assert [(label, sorted(own)) for label, own in rows] == [
        ("a", ["knn", "linear"]),
        ("b, batch 16", ["knn"]),
        ("b, batch 64", ["knn"]),
    ]


def test_an_evaluator_that_predicts_what_another_did_is_no_judge_of_its_own(make_run):
    runs = [make_run(), make_run(seed=1)]
    for run in runs:
        run.values["recipe"]["evaluators"].append({"plugin": "calibration"})
        run.values["evaluations"]["calibration"] = {**run.evaluations["linear"], "ece": {"value": 0.0}}
    [section] = sections_of(*map(dataclasses.replace, runs))
    assert section.evaluators == ["knn", "linear", "calibration"]
    assert section.judges == ["knn", "linear"]


def test_an_evaluator_that_decides_alike_but_ranks_otherwise_is_judged(make_run):
    run = make_run()
    linear = run.values["evaluations"]["linear"]
    ranks = {**linear["auroc"], "value": linear["auroc"]["value"] - 0.1}
    run.values["evaluations"]["knn"] = {**linear, "auroc": ranks}
    [section] = sections_of(dataclasses.replace(run))
    assert section.judges == ["knn", "linear"]


@pytest.mark.parametrize(
    ("name", "chosen", "title"),
    [("pneumoniamnist", "", "phantom pneumoniamnist"), (None, "400X", "phantom 400X"), (None, "", "phantom")],
)
def test_the_title_names_the_set_that_an_option_chose(make_run, name, chosen, title):
    run = make_run()
    run.values["recipe"]["dataset"]["name"] = name
    run.values["data"]["chosen"] = chosen
    run = dataclasses.replace(run)
    assert sections_of(run)[0].title == f"{title}, grouped split"
    assert f" on {title}, " in run._repr_html_()


def test_a_set_that_is_a_folder_keeps_its_path_to_itself(make_run):
    run = make_run()
    run.values["recipe"]["dataset"]["name"] = "/home/doctor/images"
    [section] = sections_of(dataclasses.replace(run))
    assert "doctor" not in section.title
