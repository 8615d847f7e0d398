"""The positive one of two classes: every metric about it equals that of scikit-learn with this positive label."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import numpy as np
import pytest
from sklearn import metrics as sk

import medssl
from medssl.contracts.targets import Classes, Findings, Grades, target_from_dict
from medssl.errors import OptionError
from medssl.evaluation.decision import THRESHOLDS, curves
from medssl.evaluation.metrics import Scored, prediction_metrics
from medssl.evaluation.operating import choose_operating_points
from medssl.export.decisions import Decision
from medssl.recipe.settings import EvaluateSettings
from medssl.runs.pipeline import Place

NAMES = ("malignant", "benign")
SETTINGS = {
    "views": {"image_size": 24},
    "encoder": {"backbone": "test_resnet", "stem": "standard"},
    "evaluate": {"bootstrap": 20},
    "evaluators": ["linear"],
}


def made(seed=0, n=200):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.7).astype(np.int64)  # class 0 is rare
    second = np.clip(0.3 * y + 0.7 * rng.random(n), 0, 1)
    return y, np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("rule", ["youden", "sensitivity>=0.9", "cost=5:1"])
def test_metrics_equal_those_of_scikit_learn_with_this_label(place, rule):
    target = Classes(NAMES, positive=NAMES[place])
    (y, prediction), (test_y, test_p) = made(1), made(2)
    points = choose_operating_points(target, y, prediction, rule, y)
    (point,) = points.points.values()
    assert list(points.points) == [NAMES[place]]
    called = points.decide(target, test_p)
    assert (called == place).tolist() == (test_p[:, place] >= point.threshold).tolist()
    assert Decision(target=target, words="", thresholds={NAMES[place]: point.threshold}, divisors={}).decide(
        test_p
    ) == [NAMES[k] for k in called]
    scored = Scored(target, test_y, test_p, points.decided(target, test_p))
    found = {metric.name: metric.values(scored.as_is())[0] for metric in prediction_metrics(target)}
    hit, alarm = ((called == place) & (test_y == place)).mean(), ((called == place) & (test_y != place)).mean()
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(test_y == place, test_p[:, place]))
    assert found["sensitivity"] == pytest.approx(sk.recall_score(test_y, called, pos_label=place))
    assert found["specificity"] == pytest.approx(sk.recall_score(test_y, called, pos_label=1 - place))
    assert found["ppv"] == pytest.approx(sk.precision_score(test_y, called, pos_label=place))
    assert found["f1"] == pytest.approx(sk.f1_score(test_y, called, pos_label=place))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(test_y, test_p[:, 1]))  # the same for both
    assert found["accuracy"] == pytest.approx((test_p.argmax(axis=1) == test_y).mean())
    curve = curves(scored, np.arange(len(test_y)), EvaluateSettings(bootstrap=0), 0)
    assert list(curve) == [NAMES[place]]
    treated = test_p[:, place] >= THRESHOLDS[29]
    hit, alarm = (treated & (test_y == place)).mean(), (treated & (test_y != place)).mean()
    at = THRESHOLDS[29]
    assert curve[NAMES[place]]["net_benefit"]["model"][29] == pytest.approx(hit - alarm * at / (1 - at))


def test_a_target_keeps_its_positive_class_and_refuses_a_wrong_one():
    chosen = Classes(NAMES, positive="malignant")
    assert target_from_dict(chosen.to_dict()) == chosen
    assert Classes(NAMES).to_dict() == {"kind": "classes", "names": list(NAMES)}  # as before there was a choice
    for wrong in (
        lambda: Classes(NAMES, "normal"),
        lambda: Classes(("a", "b", "c"), "a"),
        lambda: Grades(("low", "high"), "low"),
    ):
        with pytest.raises(ValueError, match="positive class"):
            wrong()
    with pytest.raises(TypeError):
        Findings(NAMES, "malignant")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name, count in (("benign", 40), ("malignant", 20)):
        for i in range(count):
            (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 200, (24, 24, 3), dtype=np.uint8) + (name == "benign") * 40
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def test_a_run_is_about_the_named_class_and_says_so(folder, tmp_path):
    place = Place(output=tmp_path / "runs", data_dir=folder)
    second = medssl.run("random", "folder", place=place, **SETTINGS)
    settings = {**SETTINGS, "evaluate": {"bootstrap": 20, "positive": "benign"}}
    first = medssl.run("random", "folder", place=place, **settings)
    assert "positive" not in second.recipe["evaluate"]
    assert second.values["data"]["target"] == {"kind": "classes", "names": ["benign", "malignant"]}
    assert (second.data.positive, first.data.positive) == ("malignant", "benign")
    schema = json.loads((resources.files("medssl.results") / "result.schema.json").read_text())
    jsonschema.validate(dict(first.values), schema)
    assert list(first.values["evaluations"]["linear"]["operating_points"]["points"]) == ["benign"]
    assert "Positive class: benign" in (first.path / "report.html").read_text()
    assert "positive class: benign" in first._repr_html_()
    scores = [run.values["evaluations"]["linear"] for run in (first, second)]
    assert scores[0]["auroc"]["value"] == pytest.approx(scores[1]["auroc"]["value"])
    assert scores[0]["average_precision"]["chance"] == pytest.approx(1 - scores[1]["average_precision"]["chance"])


def test_a_name_that_is_no_class_is_named_with_those_there_are(folder, tmp_path):
    place = Place(output=tmp_path / "runs", data_dir=folder)
    settings = {**SETTINGS, "evaluate": {"positive": "malign"}}
    with pytest.raises(OptionError, match=r"'malign', which is no class .* are 'benign' and 'malignant'"):
        medssl.run("random", "folder", place=place, **settings)
    with pytest.raises(OptionError, match=r"has 4 classes\. Only a target of two"):
        medssl.run("random", {"plugin": "phantom", "size": 24}, place=Place(output=tmp_path / "runs"), **settings)
    assert not list((tmp_path / "runs").rglob("result.json"))
