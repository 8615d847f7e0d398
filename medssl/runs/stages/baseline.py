"""The baseline: evaluates the encoder before training, to measure the effect of pre-training on the same images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from medssl.contracts import Unlabelled
from medssl.data.loading import LoadedPart
from medssl.evaluation.predictions import Predictions, decisions, make_predictions, pool_by_group
from medssl.evaluation.uncertainty.paired import paired_differences
from medssl.runs.context import RunContext
from medssl.runs.stages.evaluation import Evaluated, evaluate_predictors
from medssl.runs.stages.features import EncodedParts, encode_parts
from medssl.runs.stages.pretraining import first_encoder
from medssl.train.machine.small_maps import find_small_maps

__all__ = ["baseline_features", "describe_baseline"]


def baseline_features(context: RunContext) -> EncodedParts | None:
    """Encode every part with the initial encoder of the pre-training.

    Returns:
        Features by part; ``None`` if nothing is trained, or the recipe has no baseline.
    """
    recipe = context.recipe
    unlabelled = isinstance(context.data.target, Unlabelled)
    if not recipe.method.plugin.trains or not recipe.evaluate.baseline or unlabelled:
        return None
    encoder = first_encoder(context)
    sides = [recipe.views.image_size]
    encoder.float32_layers = find_small_maps(encoder.network, sides, context.machine.precision, encoder.in_channels)
    return encode_parts(context, encoder)


def describe_baseline(context: RunContext, features: EncodedParts | None, after: Evaluated) -> dict[str, Any] | None:
    """Return the section ``baseline`` of the result; ``None`` without features.

    The evaluators of features are fitted on the features before training. Evaluators of images are left out, because an
    evaluator that trains the encoder would double the time.

    Args:
        context: The run.
        features: Features of the encoder before training.
        after: Findings of the evaluators on the trained encoder.
    """
    if features is None:
        return None
    before = evaluate_predictors(context, features)
    test, _ = features["test"]
    settings = context.recipe.evaluate
    found = paired_differences(
        _predictions(context, test, after),
        _predictions(context, test, before),
        resamples=settings.bootstrap,
        confidence=settings.confidence,
    )
    differences = {name: {metric: asdict(one) for metric, one in metrics.items()} for name, metrics in found.items()}
    unit = "group" if _by_group(context, after) else "image"
    return {"evaluations": before.evaluations, "unit": unit, "differences": differences}


def _predictions(context: RunContext, test: LoadedPart, findings: Evaluated) -> Predictions:
    data = context.data
    tables = findings.predictions
    decided = decisions(findings.evaluations, data.target, tables)
    of_groups = findings.of_groups
    images = make_predictions(
        data.target, test.ids, test.y.numpy(), data.split.groups, tables, decided=decided, of_groups=of_groups
    )
    return pool_by_group(images, findings.evaluations) if _by_group(context, findings) else images


def _by_group(context: RunContext, findings: Evaluated) -> bool:
    """Whether groups are compared: the recipe asks for it, and some group has several images."""
    scored = any("per_group" in found for found in findings.evaluations.values())
    return context.recipe.evaluate.unit == "group" and scored
