"""The encoder before training is the untrained one, and what training adds is tested on the same images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medssl.results.directory import RunDirectory
from medssl.runs.stages.baseline import baseline_features, describe_baseline
from medssl.runs.stages.evaluation import evaluate
from medssl.runs.stages.pretraining import pretrain
from medssl_methods.random import Random


def with_baseline(scene, *, baseline=True, method=None):
    recipe = scene.with_method(method) if method else scene.recipe
    settings = replace(recipe.evaluate, baseline=baseline)
    return replace(recipe, evaluation=replace(recipe.evaluation, evaluate=settings))


def test_features_are_those_of_an_encoder_that_is_not_trained(scene, tmp_path):
    found = baseline_features(scene.context(tmp_path, recipe=with_baseline(scene)))
    untrained = pretrain(scene.context(tmp_path, recipe=with_baseline(scene, method=Random)))
    wanted = replace(scene, encoder=untrained.encoder).features(tmp_path)
    for name in ("train", "val", "test"):
        assert torch.equal(found[name][1], wanted[name][1])


def after_training(scene, context, before):
    """The findings on features that tell the classes better than those before."""
    after = {
        name: (part, x + torch.nn.functional.one_hot(part.y % 4, x.shape[1])) for name, (part, x) in before.items()
    }
    folder = context.directory.path / "after"
    folder.mkdir()
    return evaluate(replace(context, directory=RunDirectory(folder)), scene.encoder, after)


@pytest.mark.parametrize("options", [{"baseline": False}, {"method": Random}])
def test_nothing_is_measured_where_nothing_is_trained_or_none_is_wanted(scene, tmp_path, options):
    context = scene.context(tmp_path, recipe=with_baseline(scene, **options))
    assert baseline_features(context) is None
    assert describe_baseline(context, None, evaluate(context, scene.encoder, scene.features(tmp_path))) is None


def test_the_difference_is_that_of_the_two_evaluations(scene, tmp_path):
    context = scene.context(tmp_path, recipe=with_baseline(scene))
    before = scene.features(tmp_path)
    findings = after_training(scene, context, before)
    found = describe_baseline(context, before, findings)
    own = evaluate(context, scene.encoder, before)
    drawn = {"curves"}  # only for the trained encoder: the page draws them
    wanted = {n: {k: v for k, v in one.items() if k not in drawn} for n, one in own.evaluations.items()}
    assert found["evaluations"] == wanted
    gain = found["differences"]["knn"]["accuracy"]
    accuracies = [f.evaluations["knn"]["accuracy"]["value"] for f in (findings, own)]
    assert gain["value"] == pytest.approx(accuracies[0] - accuracies[1])
    assert gain["value"] > 0
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert 0 < gain["p"] <= gain["p_adjusted"] <= 1


def test_patients_are_compared_if_the_recipe_asks_for_them(scene, tmp_path):
    recipe = with_baseline(scene)
    settings = replace(recipe.evaluate, unit="group", pooling="mean")
    recipe = replace(recipe, evaluation=replace(recipe.evaluation, evaluate=settings))
    context = scene.context(tmp_path, recipe=recipe)
    before = scene.features(tmp_path)
    findings = after_training(scene, context, before)
    found = describe_baseline(context, before, findings)
    own = evaluate(context, scene.encoder, before)
    assert found["unit"] == "group"
    per_group = [f.evaluations["knn"]["per_group"] for f in (findings, own)]
    for metric in ("accuracy", "auroc"):
        gain = found["differences"]["knn"][metric]
        assert gain["value"] == pytest.approx(per_group[0][metric]["value"] - per_group[1][metric]["value"])
