"""The page of results on another scale, and on a narrow screen."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from medssl.catalog import load_catalog
from medssl.report.page import MATRIX_CLASSES, _worst, write_page
from medssl.report.sections import make_sections
from medssl.study.results.summary import summarise

VOID = {"meta", "img", "br"}


class Ancestors(HTMLParser):
    """Keeps the classes of the elements around each table."""

    def __init__(self, text):
        super().__init__()
        self.open, self.around = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.around.append({name for _, names in self.open for name in names})
        if tag not in VOID:
            self.open.append((tag, (dict(attrs).get("class") or "").split()))

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        self.open.pop()


def of_many_classes(run, count):
    """Give a run that many classes, and predictions of all of them."""
    names = [f"class {number:04d}" for number in range(count)]
    matrix = np.random.default_rng(0).poisson(0.01, (count, count)) + 5 * np.eye(count, dtype=int)
    run.values["data"]["target"] = {"kind": "classes", "names": names}
    for scores in run.values["evaluations"].values():
        scores["confusion_matrix"] = matrix.tolist()
        for found in scores.values():
            if isinstance(found, dict) and "outputs" in found:
                found["outputs"] = {name: dict(next(iter(found["outputs"].values()))) for name in names}
    with np.load(run.path / "predictions.npz") as kept:
        arrays = {name: kept[name] for name in kept.files}
    wide = np.random.default_rng(1).dirichlet(np.ones(count), len(arrays["y"]))
    arrays |= dict.fromkeys(("knn", "linear"), wide)
    np.savez(run.path / "predictions.npz", **{**arrays, "y": arrays["y"] % count})
    return dataclasses.replace(run), matrix


@pytest.mark.slow
def test_results_on_another_scale_make_a_page_that_can_be_read(make_run):
    run, _ = of_many_classes(make_run(), 1000)
    page = write_page(run, load_catalog()).read_text()
    assert len(page) < 4e6  # with whole matrices: 100 MB and more
    assert page.count(f"The {MATRIX_CLASSES} of 1000 classes with the most wrong predictions.") == 2  # knn and linear
    assert page.count("<th>other classes</th>") == 2


def test_a_matrix_of_many_classes_shows_the_most_errors_and_loses_no_image(make_run):
    run, matrix = of_many_classes(make_run(), 200)
    [section] = make_sections(summarise([run]))
    found = _worst(matrix.tolist(), section)
    rows = [int(name.split()[1]) for name in found["names"]]
    errors = matrix.sum(axis=1) - np.diag(matrix)
    assert rows == sorted(rows)
    assert len(rows) == MATRIX_CLASSES
    assert errors[rows].min() >= np.delete(errors, rows).max()
    assert [sum(line) for line in found["counts"]] == matrix[rows].sum(axis=1).tolist()
    assert [line[place] for place, line in enumerate(found["counts"])] == np.diag(matrix)[rows].tolist()
    assert found["columns"] == [*found["names"], "other classes"]


@pytest.mark.parametrize("count", [2, MATRIX_CLASSES])
def test_a_matrix_of_few_classes_is_shown_whole(make_run, count):
    run, matrix = of_many_classes(make_run(), count)
    [section] = make_sections(summarise([run]))
    found = _worst(matrix.tolist(), section)
    assert found["counts"] == matrix.tolist()
    assert found["of"] == 0
    assert len(found["columns"]) == count


def test_wide_tables_on_phones_scroll_and_a_shade_shows_it(make_run):
    run, _ = of_many_classes(make_run(), 12)
    page = write_page(run, load_catalog()).read_text()
    around = Ancestors(page).around
    assert len(around) >= 4
    assert all("wide" in names for names in around)
    style = page.partition("<style>")[2].partition("</style>")[0]
    [rule] = re.findall(r"\n\.wide, \.strip \{(.*?)\}", style, re.DOTALL)
    assert "overflow-x: auto" in rule
    assert rule.count("no-repeat scroll") == 2  # a shade at either edge, which stays
    assert rule.count("no-repeat local") == 2  # and what covers it where there is nothing more to see
    assert not re.search(r"(?<!max-)\bwidth: *\d{3,}px", style.replace("min-width", "width"))
