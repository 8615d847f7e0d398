"""The page of one run: whole, self-contained, and true to its result."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import metric_facts
from medssl.report.page import curve_svg, render_page, template_environment
from medssl.report.tables.tables import result_rows
from medssl.results.directory import RunResult
from medssl.results.metrics_table import metric_text

METRIC = {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.fixture
def result():
    scores = dict.fromkeys(("accuracy", "f1_weighted", "f1_macro", "balanced_accuracy", "auroc", "mcc", "ece"), METRIC)
    evaluation = {**scores, "confusion_matrix": [[3, 1], [0, 4]], "selected": {"k": 5}, "notes": ["a <note>"]}
    plugin = {"name": "m", "distribution": "package", "version": "1.0"}
    return RunResult(
        Path("runs/x"),
        {
            "method": "m",
            "dataset": "d",
            "seed": 0,
            "recipe": {
                "encoder": {"backbone": "resnet18"},
                "views": {"image_size": 64},
                "train": {"batch_size": 8},
                "evaluate": {"confidence": 0.95},
                "hash": "0123456789",
            },
            "plugins": {"method": plugin, "dataset": plugin, "evaluators": [plugin]},
            "environment": {"torch": "2"},
            "data": {
                "train": 10,
                "val": 4,
                "test": 8,
                "classes": ["a", "b & c"],
                "groups": {"train": 5, "val": 2, "test": 4},
                "group_kind": "patient",
                "split": "grouped",
                "split_reason": "why",
                "split_sha256": "f" * 64,
                "warnings": ["something to know"],
            },
            "pretrain": {"epochs": 2},
            "metrics": metric_facts(Classes(("a", "b & c"))),
            "evaluations": {"knn": evaluation, "linear": evaluation},
        },
    )


def test_what_a_sentence_sets_between_backticks_is_code_and_nothing_else_is_markup():
    page = template_environment().from_string("{{ text | coded }}")
    assert page.render(text="`a --b` keeps <b> & `c`") == "<code>a --b</code> keeps &lt;b&gt; &amp; <code>c</code>"
    assert page.render(text="it's a lone ` one") == "it&#39;s a lone ` one"


HISTORY = [
    {"epoch": i, "loss": 2.0 - i, "validation": {"val": 0.1 * i}, "feature_std": 0.5, "effective_rank": 3.0 + i}
    for i in range(2)
]


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_well_formed_and_needs_no_network(result):
    page = render_page(result, HISTORY)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"(src|href)=|url\(|@import", page)


def test_page_shows_every_number_and_escapes_every_text(result):
    page = render_page(result, HISTORY)
    assert page.count("<td>.500 [.250, .750]</td>") == 14
    assert "b &amp; c" in page
    assert "a &lt;note&gt;" in page
    assert "something to know" in page
    assert "intervals over\npatients" in page
    assert page.count("<svg") == 4


def test_answer_names_every_evaluator_and_picks_none_by_its_test_result(result):
    page = render_page(result, HISTORY)
    assert "knn .500 [.250, .750], linear .500 [.250, .750]." in page


def test_page_without_training_has_no_curves(result):
    result.values["pretrain"]["epochs"] = 0
    assert "<svg" not in render_page(result, [])


def test_curve_goes_from_corner_to_corner():
    svg = curve_svg([(1, 0.0), (2, 10.0)])
    place = r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="curve"'
    x1, y1, x2, y2 = map(float, re.search(place, svg).groups())
    assert x1 < x2
    assert y1 > y2  # up is smaller in SVG


def test_a_flat_curve_is_drawn():
    assert 'class="curve"' in curve_svg([(1, 3.0), (2, 3.0)])


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (METRIC, ".500 [.250, .750]"),
        ({"value": 1.0, "low": 1.0, "high": 1.0}, "1.000 [1.000, 1.000]"),
        ({"value": -0.25, "low": -0.5, "high": 0.0}, "-.250 [-.500, .000]"),
        ({"value": None, "low": None, "high": None}, "-"),
        ({"value": 0.5, "low": None, "high": None}, ".500"),
    ],
)
def test_metrics_are_written_short(metric, text):
    assert metric_text(metric) == text


def test_rows_are_metrics_and_columns_are_evaluators(result):
    rows = result_rows(result)
    assert rows[0] == ["", "knn", "linear"]
    assert rows[1] == ["accuracy", ".500 [.250, .750]", ".500 [.250, .750]"]
    assert len(rows) == 8
