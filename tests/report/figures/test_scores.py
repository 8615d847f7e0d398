"""A figure is drawn where there is something to see, and names everything it shows."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from medssl.report.figures.palette import styles
from medssl.report.figures.scores import batch_figures, label_figures, score_figures
from medssl.report.figures.training import reliability_figure, training_figures
from medssl.report.sections import make_sections
from medssl.results.scores import Baseline
from medssl.study.results.summary import PublishedCell, Summary, summarise


@pytest.fixture
def study(make_run):
    def make(*options, published=()):
        summary = summarise([make_run(**one) for one in options])
        summary = Summary(**{**vars(summary), "published": {"phantom": published}})
        [section] = make_sections(summary)
        return section, styles((row.variant, row.baseline) for row in section.rows)

    return make


RANDOM = {"method": "random", "epochs": 0}


def texts(drawing):
    """Every text of a figure."""
    ET.fromstring(drawing.svg)
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)


def test_scores_name_every_row_and_every_published_number(study):
    cell = PublishedCell(
        method="dcl", batch_size=64, evaluator="knn", metric="accuracy", value=0.5, low=0.4, high=0.6, source="a paper"
    )
    section, looks = study(*({**one, "protocol": "official"} for one in ({}, RANDOM)), published=(cell,))
    section = replace(section, published=(replace(cell, split="official", images=section.test.images),))
    knn, linear = score_figures(section, looks)
    assert {"mae", "random", "dcl, published"} <= set(texts(knn))
    assert "Hollow: published" in knn.caption
    assert "dcl, published" not in texts(linear)


def test_a_single_run_is_drawn_by_evaluator(study):
    section, looks = study({})
    [drawing] = score_figures(section, looks)
    assert {"knn", "linear"} <= set(texts(drawing))
    assert "before training" not in drawing.caption


def test_a_single_run_is_drawn_with_the_encoder_before_training(study, monkeypatch):
    section, looks = study({"seed": 7})
    scores = section.single.scores
    monkeypatch.setitem(vars(section.single), "baseline", Baseline(scores=scores, unit="image", differences={}))
    [drawing] = score_figures(section, looks)
    assert "Hollow: the encoder before training." in drawing.caption


def test_several_seeds_of_one_row_need_no_figure_of_scores(study):
    section, looks = study({}, {"seed": 1})
    assert list(score_figures(section, looks)) == []


def test_baselines_are_lines_too(study):
    section, looks = study({}, RANDOM)
    assert all("Vertical lines: baselines." in drawing.caption for drawing in score_figures(section, looks))


def test_batch_sizes_are_drawn_where_there_are_several(study):
    section, looks = study({"batch_size": 2}, {"batch_size": 4}, RANDOM)
    drawings = list(batch_figures(section, looks))
    assert [drawing.name for drawing in drawings] == ["phantom-grouped-batch-knn", "phantom-grouped-batch-linear"]
    assert {"2", "4", "mae", "random"} <= set(texts(drawings[0]))
    section, looks = study({"batch_size": 8, "seed": 5}, RANDOM)
    assert list(batch_figures(section, looks)) == []


def test_shares_of_labels_are_drawn_where_there_are_several(study):
    section, looks = study({}, {"fraction": 0.1}, {"fraction": 0.5}, {**RANDOM, "fraction": 0.1}, RANDOM)
    drawing = next(iter(label_figures(section, looks)))
    assert {"10", "50", "100", "mae", "random"} <= set(texts(drawing))
    assert "Broken lines: baselines" in drawing.caption
    section, looks = study({"seed": 5}, RANDOM)
    assert list(label_figures(section, looks)) == []


def test_training_is_drawn_for_what_was_trained(study):
    section, looks = study({}, {"seed": 1}, RANDOM)
    drawings = list(training_figures(section, looks))
    assert [drawing.name.rpartition("-")[2] for drawing in drawings] == ["loss", "validation", "rank"]
    assert all("random" not in texts(drawing) for drawing in drawings)
    section, looks = study(RANDOM, {**RANDOM, "seed": 3})
    assert list(training_figures(section, looks)) == []


def test_variants_of_a_method_are_told_apart(study):
    section, looks = study({"epochs": 4}, {"epochs": 6})
    names = [row.variant for row in section.rows]
    assert len({looks[name].colour for name in names}) == 2
    loss, *_ = training_figures(section, looks)
    assert set(names) <= set(texts(loss))


def test_a_measure_that_no_epoch_has_is_left_out(study):
    section, looks = study({"epochs": 3})  # one validation: no curve
    assert [drawing.name.rpartition("-")[2] for drawing in training_figures(section, looks)] == ["loss", "rank"]


def test_reliability_is_drawn_with_its_error(study):
    section, _ = study({})
    drawing = reliability_figure(section, section.rows[0])
    ece = section.rows[0].runs[0].evaluations["knn"]["ece"]["value"]
    assert f"knn, ECE {ece:.3f}".replace("0.", ".") in texts(drawing)
    for run in section.rows[0].runs:
        for scores in run.evaluations.values():
            del scores["reliability"]
    assert reliability_figure(section, section.rows[0]) is None
