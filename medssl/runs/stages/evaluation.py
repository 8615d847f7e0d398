"""Runs evaluators on a frozen encoder; only this module compares predictions with test labels."""

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
from medssl.runs.context import RunContext
from medssl.runs.stages.collapse import measure_features
from medssl.runs.stages.features import EncodedParts
from medssl.train.encoder.backbones import Encoder

__all__ = ["Evaluated", "evaluate", "evaluate_predictors"]

_BATCH = 256  # test images per call of an evaluator of images


@dataclass
class Evaluated:
    """Scores and diagnostics by evaluator.

    Attributes:
        evaluations: Scores of predictions by evaluator, for the result.
        diagnostics: Scores of rankings and measurements of observers by evaluator, for the result. ``features`` has
            measures of the features, and ``majority`` has the accuracy of predicting the most frequent class.
        predictions: Predictions ``(n, O)`` by evaluator.
        arrays: Arrays of the observers, n rows each, by ``<evaluator>_<name>``.
    """

    evaluations: dict[str, Any] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)


def evaluate(context: RunContext, encoder: Encoder, features: EncodedParts) -> Evaluated:
    """Measure the features, fit every evaluator on training and validation part, and score it on the test part.

    Writes ``predictions.npz``, and ``diagnostics.npz`` if observers returned arrays.

    Raises:
        MedsslError: An evaluator cannot use these images, or breaks its contract.
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
                raise PluginError(f"two evaluator outcomes of this run are called '{name}'. Leave one of them out.")
            work.judge(choice, name, outcome, found)
    part, _ = features["test"]
    known: dict[str, Any] = {"id": np.array(part.ids), "y": part.y.numpy()}
    write_atomic_with(directory.predictions, lambda file: np.savez(file, **known, **found.predictions))
    if found.arrays:
        write_atomic_with(directory.diagnostics, lambda file: np.savez(file, **known, **found.arrays))
    return found


def evaluate_predictors(context: RunContext, features: EncodedParts) -> Evaluated:
    """Fit the evaluators of features and score their predictions; rankings and observations are left out.

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
    """The input of every evaluator of a run, and the test part that is hidden from them."""

    def __init__(self, context: RunContext, encoder: Encoder | None, features: EncodedParts) -> None:
        self._context, self._encoder, self._features = context, encoder, features
        self._recipe, self._target = context.recipe, context.data.target
        self._test, self._x = features["test"]
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
        """Score one outcome on the test part.

        Raises:
            PluginError: It is not an outcome, or an evaluator of images returned no predictor.
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
                f"evaluator '{choice.name}' works on images but returns a {type(outcome).__name__}. It must return a "
                "Predictor; rankings and observations are for features only."
            )
        elif isinstance(outcome, Ranker):
            found.diagnostics[name] = {**self._rank(outcome), **_remarks(outcome)}
        elif isinstance(outcome, Observer):
            seen = _checked(name, outcome.observe(self._x), len(self._test))
            found.diagnostics[name] = {**{k: _plain(v) for k, v in seen.values.items()}, **_remarks(outcome)}
            found.arrays |= {f"{name}_{key}": array for key, array in seen.arrays.items()}
        else:
            raise PluginError(
                f"evaluator '{choice.name}' returns a {type(outcome).__name__}. fit() must return a Predictor, a "
                "Ranker or an Observer of medssl.contracts."
            )

    def _below_majority(self, accuracy: float) -> list[str]:
        frequent = self.majority
        if frequent is None or accuracy >= frequent["accuracy"]:
            return []
        return [
            f"Its accuracy of {accuracy:.3f} is below {frequent['accuracy']:.3f}, the accuracy of predicting the "
            f"most frequent training class ('{frequent['class']}')."
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
                f"the observer '{name}' returns the array '{key}' with {len(array)} rows. It must have one row per "
                f"test image, that is {n}. Check observe()."
            )
    return seen


def _plain(value: float) -> float | None:
    """Convert a number for JSON."""
    return float(value) if math.isfinite(value) else None
