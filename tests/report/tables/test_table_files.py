"""Every number of the files stands in a result.json."""

import csv
import io
from dataclasses import replace

import pytest

from medssl.report.sections import make_sections
from medssl.report.tables.table_files import comparisons_csv, latex, path_from, rows_csv, runs_csv
from medssl.study.results.summary import PublishedCell, Summary, summarise


@pytest.fixture
def study(make_run):
    options = {"protocol": "official"}  # published numbers of these parts stand in the table
    runs = [make_run(seed=0, **options), make_run(seed=1, **options), make_run(method="random", epochs=0, **options)]
    summary = summarise(runs)
    cell = PublishedCell(
        method="a_b", batch_size=None, evaluator="knn", metric="accuracy", value=0.5, low=0.4, high=0.6, source="paper"
    )
    cell = replace(cell, split="official", images=runs[0].data.test)
    return runs, make_sections(Summary(**{**vars(summary), "published": {"phantom": [cell]}}))


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_runs_csv_repeats_result_json(study, tmp_path):
    _, sections = study
    lines = read(runs_csv(sections, tmp_path / "report"))
    assert lines
    runs = [run for section in sections for run in section.runs]
    values_of = {path_from(tmp_path / "report", run): run.values for run in runs}
    assert len(values_of) == len(runs)
    for line in lines:
        values = values_of[line["result"]]
        found = values[line["part"]][line["evaluator"]][line["metric"]]
        expected = (found["value"], found["low"], found["high"]) if isinstance(found, dict) else (found, None, None)
        written = tuple(float(line[key]) if line[key] else None for key in ("value", "low", "high"))
        assert written == expected
    assert {int(line["seed"]) for line in lines} == {0, 1}


def test_rows_csv_is_the_mean_over_runs(study):
    runs, sections = study
    lines = read(rows_csv(sections))
    for method in ("mae", "random"):
        own = [run for run in runs if run.values["method"] == method]
        for evaluator in ("knn", "linear"):
            [line] = [
                x
                for x in lines
                if (x["method"], x["evaluator"], x["metric"]) == (method, evaluator, "balanced_accuracy")
            ]
            values = [run.evaluations[evaluator]["balanced_accuracy"]["value"] for run in own]
            assert float(line["value"]) == pytest.approx(sum(values) / len(values))
            assert int(line["seeds"]) == len(own)
    assert [line["source"] for line in lines if line["method"] == "a_b"] == ["paper"]


def test_comparisons_csv_has_every_comparison(study):
    _, sections = study
    lines = read(comparisons_csv(sections))
    assert len(lines) == len(sections[0].comparisons)
    assert {(line["first"], line["second"]) for line in lines} == {("mae", "random")}


def test_latex_is_a_table_of_the_main_rows_with_special_letters_escaped(study):
    _, [section] = study
    text = latex(section)
    lines = text.splitlines()
    assert lines[1] == r"\begin{tabular}{lll}"
    assert all(line.count("&") - line.count(r"\&") == 2 for line in lines if line.endswith(r"\\"))
    estimate = section.rows[0].scores["knn"]["accuracy"]
    assert f"{estimate.value:.3f}".lstrip("0") in next(line for line in lines if line.startswith("mae & "))
    assert r"a\_b, published & .500 [.400, .600] & -- \\" in lines
    assert "95 %" in lines[0]
    assert lines[0].startswith("%")
