"""Findings are shown one by one, with the images that have them."""

from medssl.report.sections import make_sections
from medssl.report.tables.output_table import output_table
from medssl.study.results.summary import summarise


def test_a_metric_without_values_per_output_has_no_table(make_run):
    [section] = make_sections(summarise([make_run()]))
    assert output_table(section)[1] == []


def test_each_finding_has_its_images_and_its_value_by_evaluator(make_run):
    run = make_run()
    for scores in run.evaluations.values():
        scores["outcomes"] = {"mass": {"present": 3, "absent": 9}, "pleural_effusion": {"present": 0, "absent": 12}}
    run.evaluations["knn"]["accuracy"]["outputs"] = {
        "mass": {"value": 0.75, "low": 0.5, "high": 0.9},
        "pleural_effusion": {"value": None, "low": None, "high": None},
    }
    [section] = make_sections(summarise([run]))
    header, rows = output_table(section)
    assert header == ["", "present", "absent", "accuracy, knn"]
    assert rows == [["mass", "3", "9", ".750 [.500, .900]"], ["pleural effusion", "0", "12", "-"]]


def test_of_many_classes_those_with_the_lowest_values_are_shown_in_their_order(make_run):
    run = make_run()
    values = {f"class {i}": {"value": i % 500, "low": None, "high": None} for i in range(1000)}
    run.evaluations["knn"]["accuracy"]["outputs"] = values
    [section] = make_sections(summarise([run]))
    header, rows = output_table(section)
    assert header[0] == "lowest 100 of 1,000"
    assert [row[0] for row in rows] == [f"class {i}" for i in (*range(50), *range(500, 550))]
