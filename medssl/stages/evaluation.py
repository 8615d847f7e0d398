"""Evaluators on frozen features; only here do test labels meet predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from medssl.contracts import Evaluator, Features, Predictor
from medssl.data.loading import Data, Part
from medssl.evaluate.scoring import score
from medssl.files import write_atomic_with
from medssl.recipe import Recipe
from medssl.record import RunDirectory

__all__ = ["evaluate"]


def evaluate(
    recipe: Recipe, data: Data, features: Mapping[str, tuple[Part, Tensor]], directory: RunDirectory
) -> dict[str, Any]:
    """Fit every evaluator on train and validation; only here do test labels meet predictions."""
    train, val = (
        Features(x=x, label=part.labels, num_classes=len(data.classes))
        for part, x in (features["train"], features["val"])
    )
    part, x = features["test"]
    groups = part.groups.numpy() if part.grouped else None
    evaluations: dict[str, Any] = {}
    arrays: dict[str, Any] = {"id": np.array(part.ids), "label": part.labels.numpy()}
    for choice in recipe.evaluators:
        evaluator: Evaluator = choice.plugin(choice.config, recipe.seed)
        for name, predictor in _predictors(choice.name, evaluator.fit(train, val)):
            proba = predictor.predict_proba(x).numpy()
            scores = score(proba, part.labels.numpy(), groups, recipe.evaluate, recipe.seed)
            evaluations[name] = {**scores, "selected": dict(predictor.selected), "notes": list(predictor.notes)}
            arrays[name] = proba
    write_atomic_with(directory.predictions, lambda file: np.savez(file, **arrays))
    return evaluations


def _predictors(name: str, predictor: Predictor) -> Iterator[tuple[str, Predictor]]:
    yield name, predictor
    for suffix, other in predictor.also.items():
        yield f"{name}_{suffix}", other
