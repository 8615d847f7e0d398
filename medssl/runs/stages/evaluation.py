"""Runs evaluators on a frozen encoder; only this module compares predictions with test labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.contracts import Classes, Features, Images, Observer, Outcome, Predictor, Ranker, Unlabelled
from medssl.errors import PluginError
from medssl.evaluation.decision import curves
from medssl.evaluation.metrics.metric import Array, Scored
from medssl.evaluation.ranking import score_ranking
from medssl.evaluation.scoring import majority
from medssl.io.files import write_atomic_with
from medssl.recipe import Choice
from medssl.results.arrays import OF_GROUPS, VAL
from medssl.runs.context import RunContext
from medssl.runs.crossing import Called
from medssl.runs.stages.collapse import measure_features
from medssl.runs.stages.features import EncodedParts
from medssl.runs.stages.judging import Rules, choose_rules, judge_part, predict_groups
from medssl.train.encoder.building import Encoder

__all__ = ["Evaluated", "evaluate", "evaluate_predictors"]

_BATCH = 256  # test images per call of an evaluator of images
_DIGITS = 4  # of the curves for the page; a figure of 500 pixels shows three


@dataclass
class Evaluated:
    """Scores and diagnostics by evaluator.

    Attributes:
        evaluations: Scores of predictions by evaluator, for the result.
        diagnostics: Scores of rankings and measurements of observers by evaluator, for the result. ``features`` has
            measures of the features, and ``majority`` has the accuracy of predicting the most frequent class.
        predictions: Predictions ``(n, O)`` of the test part by evaluator.
        of_groups: Predictions ``(n, O)`` of each test image's group, by evaluator that predicts groups itself.
        val_predictions: Predictions ``(N, O)`` of the N labelled images of the validation part by evaluator.
        arrays: Arrays of the observers, n rows each, by ``<evaluator>_<name>``.
        fitted: The fitted predictors by evaluator, with the evaluator.
        rules: Pooling and operating points by evaluator.
    """

    evaluations: dict[str, Any] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, Any] = field(default_factory=dict)
    of_groups: dict[str, Any] = field(default_factory=dict)
    val_predictions: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)
    fitted: dict[str, tuple[Called, Predictor]] = field(default_factory=dict)
    rules: dict[str, Rules] = field(default_factory=dict)


def evaluate(context: RunContext, encoder: Encoder, features: EncodedParts) -> Evaluated:
    """Measure the features, fit every evaluator on training and validation part, and score it on the test part.

    Writes ``predictions.npz`` with the predictions of the test and the validation part, and ``diagnostics.npz`` if
    observers returned arrays.

    Raises:
        MedsslError: An evaluator cannot use these images, or breaks its contract.
    """
    work = _Work(context, encoder, features)
    recipe, directory = context.recipe, context.directory
    found = Evaluated()
    found.diagnostics["features"] = measure_features(context, encoder, features["train"])
    if work.majority is not None:
        found.diagnostics["majority"] = work.majority
    unlabelled = isinstance(context.data.target, Unlabelled)
    for choice in recipe.evaluators:
        if unlabelled and not choice.plugin.label_free:
            continue  # the result says that nothing was scored
        called = Called(choice, recipe.seed, context.data.target)
        for name, outcome in _outcomes(choice.name, called.fit(*work.parts(choice.plugin.needs))):
            if name in {**found.evaluations, **found.diagnostics}:
                raise PluginError(f"two evaluator outcomes of this run are called '{name}'. Leave one of them out.")
            if name in ("id", "y") or name.startswith((VAL, OF_GROUPS)):
                raise PluginError(f"an evaluator outcome must not be called '{name}', a name of predictions.npz.")
            work.judge(called, choice, name, outcome, found)
    known = _truth(features, "test")
    arrays = {**known, **found.predictions, **{f"{OF_GROUPS}{name}": rows for name, rows in found.of_groups.items()}}
    arrays |= {f"{VAL}{key}": array for key, array in (_truth(features, "val") | found.val_predictions).items()}
    write_atomic_with(directory.predictions, lambda file: np.savez(file, **arrays), private=True)
    if found.arrays:
        write_atomic_with(directory.diagnostics, lambda file: np.savez(file, **known, **found.arrays), private=True)
    return found


def _truth(features: EncodedParts, name: str) -> dict[str, Any]:
    part, _ = features[name]
    return {"id": np.array(part.ids, dtype=str), "y": part.y.numpy()}


def evaluate_predictors(context: RunContext, features: EncodedParts) -> Evaluated:
    """Fit the evaluators of features and score their predictions; rankings and observations are left out.

    Raises:
        MedsslError: An evaluator breaks its contract.
    """
    work, found = _Work(context, None, features), Evaluated()
    for choice in context.recipe.evaluators:
        if choice.plugin.needs == "features":
            called = Called(choice, context.recipe.seed, context.data.target)
            for name, outcome in _outcomes(choice.name, called.fit(*work.parts(choice.plugin.needs))):
                if isinstance(outcome, Predictor):
                    work.judge(called, choice, name, outcome, found)
    return found


def _outcomes(name: str, outcome: Outcome) -> Iterator[tuple[str, Outcome]]:
    yield name, outcome
    for suffix, other in outcome.also.items():
        yield from _outcomes(f"{name}_{suffix}", other)


class _Work:
    """The input of every evaluator of a run, and the test part that is hidden from them."""

    def __init__(self, context: RunContext, encoder: Encoder | None, features: EncodedParts) -> None:
        self._context, self._encoder, self._features = context, encoder, features
        self._recipe, self._target = context.recipe, context.data.target
        self._test, self._x = features["test"]
        self._samples = context.data.samples(self._test.ids)
        self._groups = self._test.groups.numpy() if self._test.grouped else None
        self.majority = self._majority()

    def parts(self, needs: str) -> tuple[Features, Features] | tuple[Images, Images]:
        """Return the training and the validation part in the form that an evaluator needs."""
        if needs == "images" and self._encoder is not None:
            encoder = copy.deepcopy(self._encoder)  # one copy for both parts: the evaluator may change it
            return self._images("train", encoder), self._images("val", encoder)
        return self._known("train"), self._known("val")

    def _majority(self) -> dict[str, Any] | None:
        """Return the accuracy of predicting the most frequent class; ``None`` if there are no classes."""
        if not isinstance(self._target, Classes):
            return None
        frequent, accuracy = majority(self._features["train"][0].y.numpy(), self._test.y.numpy())
        return {"class": self._target.names[frequent], "accuracy": accuracy, "notes": []}

    def _known(self, name: str) -> Features:
        part, x = self._features[name]
        return Features(x=x, y=part.y, target=self._target, groups=part.groups if part.grouped else None)

    def _images(self, name: str, encoder: Encoder) -> Images:
        part, _ = self._features[name]
        return Images(
            y=part.y,
            target=self._target,
            plain=self._context.plain(part),
            augmented=self._context.augmented(part),
            encoder=encoder,
            feature_dim=encoder.feature_dim,
            autocast=self._context.machine.precision.autocast,
        )

    def judge(self, called: Called, choice: Choice, name: str, outcome: Outcome, found: Evaluated) -> None:
        """Score one outcome on the test part.

        Raises:
            PluginError: It breaks its contract, or an evaluator of images returned no predictor.
        """
        if isinstance(outcome, Predictor):
            needs = choice.plugin.needs
            proba, prediction = (self._predict(called, outcome, needs, part).numpy() for part in ("test", "val"))
            found.predictions[name], found.val_predictions[name] = proba, prediction
            train, (val, x) = self._features["train"][0], self._features["val"]
            of_features = needs == "features"
            of_val = predict_groups(called, outcome, x if of_features else None, val)
            pooled = predict_groups(called, outcome, self._x if of_features else None, self._test)
            if pooled is not None:
                found.of_groups[name] = pooled[np.unique(self._test.groups.numpy(), return_inverse=True)[1]]
            rules = choose_rules(self._recipe, self._target, (train, val), prediction, of_val, pooled is not None)
            judge = partial(judge_part, self._recipe, self._target, self._test, self._samples)
            scores = judge(proba, rules, train.y.numpy(), pooled)
            remarks = _remarks(outcome)
            if rules.points is not None:
                remarks["operating_points"] = rules.points.to_dict()
                remarks["notes"] += rules.points.notes
            if "accuracy" in scores:
                remarks["notes"] += self._below_majority(scores["accuracy"]["value"])
            found.evaluations[name] = {**scores, **remarks}
            found.fitted[name], found.rules[name] = (called, outcome), rules
            if self._encoder is not None:  # a page has the curves of the trained encoder alone
                found.evaluations[name]["curves"] = self._curves(proba)
        elif choice.plugin.needs == "images":
            raise PluginError(
                f"evaluator '{choice.name}' works on images but returns a {type(outcome).__name__}. It must return a "
                "Predictor; rankings and observations are for features only."
            )
        elif isinstance(outcome, Ranker):
            found.diagnostics[name] = {**self._rank(called, outcome), **_remarks(outcome)}
        elif isinstance(outcome, Observer):
            seen = called.observe(outcome, self._x)
            found.diagnostics[name] = {**{k: _plain(v) for k, v in seen.values.items()}, **_remarks(outcome)}
            found.arrays |= {f"{name}_{key}": array.copy() for key, array in seen.arrays.items()}

    def _curves(self, prediction: Array) -> dict[str, Any]:
        """Return the curves of the test part for the page."""
        y = self._test.y.numpy()
        known = self._target.known(y)
        groups = self._test.groups.numpy()
        units = np.unique(groups[known], return_inverse=True)[1].reshape(-1)
        scored = Scored(self._target, y[known], prediction[known])
        return dict(_rounded(curves(scored, units, self._recipe.evaluate, self._recipe.seed)))

    def _below_majority(self, accuracy: float) -> list[str]:
        frequent = self.majority
        if frequent is None or accuracy >= frequent["accuracy"]:
            return []
        return [
            f"Its accuracy of {accuracy:.3f} is below {frequent['accuracy']:.3f}, the accuracy of predicting the "
            f"most frequent training class ('{frequent['class']}')."
        ]

    def _predict(self, called: Called, predictor: Predictor, needs: str, name: str) -> Tensor:
        """Return the predictions ``(n, O)`` for a part: the test part, or the validation part for later choices."""
        part, x = self._features[name]
        if not len(part):
            return torch.empty(0, self._target.outputs)
        if needs == "features":
            return called.predict(predictor, x)
        views = self._context.plain(part)
        with torch.no_grad():
            batches = torch.split(torch.arange(len(part)), _BATCH)
            parts = [called.predict(predictor, views(rows)) for rows in batches]
        return torch.cat(parts)

    def _rank(self, called: Called, ranker: Ranker) -> dict[str, Any]:
        ranked, _ = self._features["train"]
        test, recipe = self._test, self._recipe
        rank = called.ranker(ranker, len(ranked))
        labels = test.y, ranked.y
        return score_ranking(self._target, rank, self._x, *labels, self._groups, recipe.evaluate, recipe.seed)


def _remarks(outcome: Outcome) -> dict[str, Any]:
    return {"selected": dict(outcome.selected), "notes": list(outcome.notes)}


def _rounded(values: Any) -> Any:
    """Round all numbers of nested values: a figure shows no more digits, and the result stays small."""
    if isinstance(values, float):
        return round(values, _DIGITS)
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return {key: _rounded(value) for key, value in values.items()} if isinstance(values, dict) else values


def _plain(value: float) -> float | None:
    """Convert a number for JSON."""
    return float(value) if math.isfinite(value) else None
