"""Figures of predicted probabilities are drawn from what a run kept."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.decision import curves
from medssl.evaluation.metrics import Scored
from medssl.recipe.settings import EvaluateSettings
from medssl.report.figures.clinical import clinical_figures
from medssl.report.sections import make_sections
from medssl.study.results.summary import summarise


def kept(classes):
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 80)
    weight = rng.random((80, classes)) + 0.5 * np.eye(classes)[y]
    target = Classes(tuple(f"class {k}" for k in range(classes)))
    scored = Scored(target, y, weight / weight.sum(axis=1, keepdims=True))
    return curves(scored, np.arange(80) // 2, EvaluateSettings(bootstrap=20), 0)


@pytest.mark.parametrize(("classes", "words"), [(2, "95 % interval"), (3, "")])
def test_three_figures_are_drawn(make_run, classes, words):
    [section] = make_sections(summarise([make_run()]))
    row = section.rows[0]
    for scores in row.runs[0].evaluations.values():
        scores["curves"] = kept(classes)
    drawings = list(clinical_figures(section, row))
    names = [drawing.name.removeprefix(f"{section.key}-") for drawing in drawings]
    assert names == ["decision", "smooth", "probabilities"]
    assert words in drawings[0].caption
    titles = ["knn", "linear"] if classes == 2 else [f"knn, class {k}" for k in range(3)]
    assert all(title in drawings[0].svg for title in titles)


def test_a_run_without_curves_has_no_figures(make_run):
    [section] = make_sections(summarise([make_run()]))
    assert list(clinical_figures(section, section.rows[0])) == []


def test_a_handful_of_images_has_figures(make_run):
    [section] = make_sections(summarise([make_run()]))
    row = section.rows[0]
    prediction = np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    few = curves(Scored(Classes(("a", "b")), np.array([1, 0, 1]), prediction), np.arange(3), EvaluateSettings(), 0)
    for scores in row.runs[0].evaluations.values():
        scores["curves"] = few
    assert len(list(clinical_figures(section, row))) == 3
