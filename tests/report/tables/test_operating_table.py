"""The table of decisions repeats the result: thresholds of validation, values with intervals, reasons."""

from dataclasses import replace

from medssl.contracts.targets import Classes, Findings
from medssl.evaluation.metrics import metric_facts
from medssl.report.sections import make_sections
from medssl.report.study import write_report
from medssl.report.tables.operating_table import further_metrics, operating_table
from medssl.results.directory import RunDirectory
from medssl.results.metrics_table import metric_text
from medssl.study.results.summary import summarise

POINT = {"threshold": 0.4, "sensitivity": 0.9, "specificity": 0.8, "positives": 9, "negatives": 9}
POINT |= {"net_benefit_at": 0.5, "reason": None}
VALUES = {"value": 0.8, "low": 0.7, "high": 0.9}


def judged(run, target, points, scores):
    RunDirectory(run.path).predictions.unlink()  # they are of another target
    found = {"operating_points": {"rule": "youden", "points": points, "decision": "", "priors": None}, **scores}
    return replace(
        run,
        values={
            **run.values,
            "metrics": metric_facts(target),
            "data": {**run.values["data"], "target": target.to_dict()},
            "evaluations": {"knn": {"n": 4, "n_groups": None, "notes": [], "selected": {}, **found}},
            "recipe": {**run.values["recipe"], "evaluators": [{"plugin": "knn"}]},
        },
    )


def section_of(run):
    [section] = make_sections(summarise([run]))
    return section


def test_two_classes_have_a_row_for_each_evaluator(make_run):
    run = judged(make_run(), Classes(("no", "yes")), {"yes": POINT}, {"sensitivity": VALUES, "brier": VALUES})
    table = operating_table(section_of(run))
    assert table.header[:4] == ["", "evaluator", "threshold", "sensitivity"]
    assert [row[:4] for row in table.rows] == [["mae", "knn", ".400", metric_text(VALUES)]]
    assert "rule `youden`" in table.about
    assert "Positive class: yes." in table.about


def test_findings_have_a_row_each_and_say_why_one_has_no_threshold(make_run):
    none = {**POINT, "threshold": None, "reason": "the validation part has no positive image"}
    scores = {"sensitivity": {**VALUES, "outputs": {"x": VALUES}}}
    table = operating_table(section_of(judged(make_run(), Findings(("x", "y_z")), {"x": POINT, "y_z": none}, scores)))
    assert [row[:3] for row in table.rows] == [["x", ".400", metric_text(VALUES)], ["y z", "-", "-"]]
    assert table.reasons == ["mae, knn, y z: no threshold, the validation part has no positive image"]


def test_rows_that_are_compared_by_patients_have_the_thresholds_of_patients(make_run, tmp_path):
    run = make_run(patients=8, images=3, unit="group")
    names = run.data.target.output_names
    rule = {"rule": "youden", "decision": "", "priors": None}
    evaluations = run.values["evaluations"]
    for found in evaluations.values():
        found["operating_points"] = {**rule, "points": {name: {**POINT, "threshold": 0.9} for name in names}}
        found["per_group"]["operating_points"] = {**rule, "points": dict.fromkeys(names, POINT)}
        found["per_group"]["sensitivity"] = {**VALUES, "outputs": dict.fromkeys(names, VALUES)}
    run = replace(run, values={**run.values, "evaluations": evaluations})
    table = operating_table(section_of(run))
    assert {row[1] for row in table.rows} == {".400"}
    assert {row[2] for row in table.rows} == {metric_text(VALUES)}
    assert "Each patient whose probability reaches the threshold is called positive." in table.about
    assert "<h3>Decisions at the operating point per patient</h3>" in write_report([run], tmp_path)[0].read_text()


def test_a_run_without_operating_points_has_no_table(make_run):
    assert operating_table(section_of(make_run())) is None


def test_further_metrics_are_those_that_stand_nowhere_else(make_run):
    run = judged(make_run(), Classes(("no", "yes")), {"yes": POINT}, {"sensitivity": VALUES, "log_loss": VALUES})
    header, *rows = further_metrics(section_of(run))
    assert header == ["", "knn"]
    assert rows == [["log loss (nats)", metric_text(VALUES)]]
