"""Evaluators on a frozen encoder; only here do test labels meet predictions."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.contracts import Classes, Evaluator, Features, Images, Observation, Observer, Outcome, Predictor, Ranker
from medssl.errors import PluginError
from medssl.evaluation.ranking import score_ranking
from medssl.evaluation.scoring import majority, score
from medssl.io.files import write_atomic_with
from medssl.recipe import Choice
from medssl.runs.collapse import measure_features
from medssl.runs.context import RunContext
from medssl.runs.features import EncodedParts
from medssl.train.encoder.backbones import Encoder

__all__ = ["Evaluated", "evaluate", "evaluate_predictors"]

_BATCH = 256  # test images that an evaluator of images is given at a time


@dataclass
class Evaluated:
    """What evaluators came to.

    Attributes:
        evaluations: Scores of predictions by evaluator, for the result.
        diagnostics: Scores of rankings, and what observers saw, by evaluator, for the result; of the features
            themselves, as ``features``; and of classes the accuracy of the most frequent one, as ``majority``.
        predictions: Predictions ``(n, O)`` by evaluator.
        arrays: Observers' arrays, n rows each, by ``<evaluator>_<name>``.
    """

    evaluations: dict[str, Any] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)


def evaluate(context: RunContext, encoder: Encoder, features: EncodedParts) -> Evaluated:
    """Measure the features, fit every evaluator on training and validation part, and score it on the test part.

    Leaves ``predictions.npz``, and ``diagnostics.npz`` where observers made arrays.

    Raises:
        MedsslError: An evaluator cannot work with these images, or breaks its contract.
    """
    work = _Work(context, encoder, features)
    recipe, directory = context.recipe, context.directory
    found = Evaluated()
    found.diagnostics["features"] = measure_features(context, encoder, features["train"])
    if work.majority is not None:
        found.diagnostics["majority"] = work.majority
    for choice in recipe.evaluators:
        evaluator: Evaluator = choice.plugin(choice.config, recipe.seed)
        for name, outcome in _outcomes(choice.name, evaluator.fit(*work.parts(evaluator.needs))):
            if name in {**found.evaluations, **found.diagnostics}:
                raise PluginError(f"two outcomes of this run's evaluators are called '{name}'. Leave one of them out.")
            work.judge(choice, name, outcome, found)
    part, _ = features["test"]
    known: dict[str, Any] = {"id": np.array(part.ids), "y": part.y.numpy()}
    write_atomic_with(directory.predictions, lambda file: np.savez(file, **known, **found.predictions))
    if found.arrays:
        write_atomic_with(directory.diagnostics, lambda file: np.savez(file, **known, **found.arrays))
    return found


def evaluate_predictors(context: RunContext, features: EncodedParts) -> Evaluated:
    """Fit the evaluators of features, and score what they predict; rankings and observations are left out.

    Raises:
        MedsslError: An evaluator breaks its contract.
    """
    work, found = _Work(context, None, features), Evaluated()
    for choice in context.recipe.evaluators:
        if choice.plugin.needs == "features":
            evaluator: Evaluator = choice.plugin(choice.config, context.recipe.seed)
            for name, outcome in _outcomes(choice.name, evaluator.fit(*work.parts(choice.plugin.needs))):
                if isinstance(outcome, Predictor):
                    work.judge(choice, name, outcome, found)
    return found


def _outcomes(name: str, outcome: Outcome) -> Iterator[tuple[str, Outcome]]:
    yield name, outcome
    for suffix, other in outcome.also.items():
        yield from _outcomes(f"{name}_{suffix}", other)


class _Work:
    """What every evaluator of a run is given, and the test part that none of them sees."""

    def __init__(self, context: RunContext, encoder: Encoder | None, features: EncodedParts) -> None:
        self._context, self._encoder, self._features = context, encoder, features
        self._recipe, self._target = context.recipe, context.data.target
        self._test, self._x = features["test"]
        self._groups = self._test.groups.numpy() if self._test.grouped else None
        self.majority = self._majority()

    def parts(self, needs: str) -> tuple[Features, Features] | tuple[Images, Images]:
        """Return the training and the validation part in the form that an evaluator needs."""
        if needs == "images" and self._encoder is not None:
            encoder = copy.deepcopy(self._encoder)  # one for both: the evaluator may do with it what it likes
            return self._images("train", encoder), self._images("val", encoder)
        return self._known("train"), self._known("val")

    def _majority(self) -> dict[str, Any] | None:
        """Return what predicting the most frequent class reaches; ``None`` where there are no classes."""
        if not isinstance(self._target, Classes):
            return None
        frequent, accuracy = majority(self._features["train"][0].y.numpy(), self._test.y.numpy())
        return {"class": self._target.names[frequent], "accuracy": accuracy, "notes": []}

    def _known(self, name: str) -> Features:
        part, x = self._features[name]
        return Features(x=x, y=part.y, target=self._target)

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

    def judge(self, choice: Choice, name: str, outcome: Outcome, found: Evaluated) -> None:
        """Hold one outcome against the test part.

        Raises:
            PluginError: It is no outcome, or one of images that is no predictor.
        """
        if isinstance(outcome, Predictor):
            proba = self._predict(outcome, choice.plugin.needs).numpy()
            y, settings = self._test.y.numpy(), self._recipe.evaluate
            scores = score(self._target, y, proba, self._groups, settings, self._recipe.seed)
            remarks = _remarks(outcome)
            if "accuracy" in scores:
                remarks["notes"] += self._below_majority(scores["accuracy"]["value"])
            found.evaluations[name] = {**scores, **remarks}
            found.predictions[name] = proba
        elif choice.plugin.needs == "images":
            raise PluginError(
                f"evaluator '{choice.name}' gives a {type(outcome).__name__} and works on images. Only predictors do. "
                "Rankings and observations are of features."
            )
        elif isinstance(outcome, Ranker):
            found.diagnostics[name] = {**self._rank(outcome), **_remarks(outcome)}
        elif isinstance(outcome, Observer):
            seen = _checked(name, outcome.observe(self._x), len(self._test))
            found.diagnostics[name] = {**{k: _plain(v) for k, v in seen.values.items()}, **_remarks(outcome)}
            found.arrays |= {f"{name}_{key}": array for key, array in seen.arrays.items()}
        else:
            raise PluginError(
                f"evaluator '{choice.name}' gives a {type(outcome).__name__}. fit() must return a Predictor, a Ranker "
                "or an Observer of medssl.contracts."
            )

    def _below_majority(self, accuracy: float) -> list[str]:
        frequent = self.majority
        if frequent is None or accuracy >= frequent["accuracy"]:
            return []
        return [
            f"Its accuracy of {accuracy:.3f} is below {frequent['accuracy']:.3f}, which predicting the most frequent "
            f"training class ('{frequent['class']}') for every image reaches."
        ]

    def _predict(self, predictor: Predictor, needs: str) -> Tensor:
        if needs == "features":
            return predictor.predict(self._x)
        views = self._context.plain(self._test)
        with torch.no_grad():
            batches = torch.split(torch.arange(len(self._test)), _BATCH)
            parts = [predictor.predict(views(rows)).cpu() for rows in batches]
        return torch.cat(parts)

    def _rank(self, ranker: Ranker) -> dict[str, Any]:
        ranked, _ = self._features["train"]
        test, recipe = self._test, self._recipe
        labels = test.y, ranked.y
        return score_ranking(self._target, ranker.rank, self._x, *labels, self._groups, recipe.evaluate, recipe.seed)


def _remarks(outcome: Outcome) -> dict[str, Any]:
    return {"selected": dict(outcome.selected), "notes": list(outcome.notes)}


def _checked(name: str, seen: Observation, n: int) -> Observation:
    for key, array in seen.arrays.items():
        if len(array) != n:
            raise PluginError(
                f"the observer '{name}' gives the array '{key}' with {len(array)} rows. One row per test image is "
                f"wanted, and there are {n}. Check observe()."
            )
    return seen


def _plain(value: float) -> float | None:
    """Write a number as JSON can hold it."""
    return float(value) if math.isfinite(value) else None
