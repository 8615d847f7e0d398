"""The tables at the end of a study, cell by cell."""

import json

from medssl.results.privacy import named_run
from medssl.study.results.summary import summarise
from medssl.study.results.table import (
    NOT_SHOWN,
    best_baseline,
    difference_rows,
    estimate_rows,
    score_rows,
    summary_values,
)


def test_scores_have_a_row_per_method_with_seeds_and_intervals(make_run):
    runs = [make_run(seed=s, evaluators=("knn", "linear")) for s in (0, 1)]
    summary = summarise([*runs, make_run(method="random", epochs=0)])
    table = score_rows(summary.rows, "accuracy")
    assert table[0] == ["", "seeds", "knn", "linear"]
    assert [row[:2] for row in table[1:]] == [["dcl", "2"], ["random", "1"]]
    estimate = summary.rows[0].scores["knn"]["accuracy"]
    wanted = f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] sd {estimate.std:.3f}".replace("0.", ".")
    assert table[1][2] == wanted
    assert table[2][3] == "-"


def test_differences_are_from_the_best_baseline_and_say_when_none_is_shown(make_run):
    runs = [
        make_run(method="random", accuracy=0.4),
        make_run(method="imagenet", accuracy=0.8),
        make_run(method="dcl", accuracy=0.8),
        make_run(method="simclr", accuracy=0.2),
    ]
    summary = summarise(runs)
    (_, dcl, simclr) = difference_rows(summary, "phantom", "accuracy")
    assert dcl == ["dcl", f"imagenet: {NOT_SHOWN}"]
    (comparison,) = [c for c in summary.comparisons if (c.first, c.second) == ("simclr", "imagenet")][:1]
    ends = f"[-{-comparison.low:.3f}, -{-comparison.high:.3f}]"
    assert simclr == ["simclr", f"imagenet: -{-comparison.difference:.3f} {ends}".replace("0.", ".")]


def test_no_baseline_leaves_no_table_of_differences(make_run):
    assert difference_rows(summarise([make_run()]), "phantom", "accuracy") == []


def test_the_best_baseline_has_the_same_share_of_labels(make_run):
    runs = [make_run(method="random", split__label_fraction=f, accuracy=a) for f, a in ((1.0, 0.9), (0.1, 0.3))]
    rows = summarise(runs).rows
    assert best_baseline(rows, "knn", "accuracy", 0.1) == rows[1]
    assert best_baseline(rows, "knn", "accuracy", 0.5) is None


def test_one_row_in_full_has_every_metric(make_run):
    (row,) = summarise([make_run()]).rows
    table = estimate_rows(row)
    assert table[0] == ["", "knn"]
    assert [line[0] for line in table[1:]] == list(row.scores["knn"])


def test_a_summary_becomes_json_that_names_its_runs(make_run):
    runs = [make_run(), make_run(method="random")]
    values = json.loads(json.dumps(summary_values(summarise(runs))))
    assert [row["runs"] for row in values["rows"]] == [[named_run(run.path)] for run in runs]
    assert values["rows"][0]["scores"]["knn"]["accuracy"]["value"] == runs[0].scores["knn"]["accuracy"].value
    assert values["comparisons"][0]["first"] == "dcl"
