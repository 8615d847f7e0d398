"""Scores of one part's predictions: per image, per group, and by subgroup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from medssl.contracts import Predictor, Sample, Target
from medssl.data.loading import Data, LoadedPart
from medssl.errors import OptionError
from medssl.evaluation.metrics.metric import Array
from medssl.evaluation.operating import OperatingPoints, choose_operating_points
from medssl.evaluation.pooling import PoolingChoice, choose_group_points, choose_pooling, score_groups
from medssl.evaluation.prior import class_mix, correct_prior, describe_mix
from medssl.evaluation.scoring import check_prediction, score
from medssl.evaluation.subgroups import score_subgroups, subgroup_values
from medssl.io.identities import private_id
from medssl.recipe import Recipe
from medssl.runs.crossing import Called

__all__ = ["Rules", "choose_rules", "judge_part", "predict_groups", "require_columns"]

_SITE = "site"


def require_columns(recipe: Recipe, data: Data) -> None:
    """Check that the dataset knows the columns of ``evaluate.subgroups``.

    Raises:
        OptionError: It does not know some of them; the message lists all.
    """
    known = sorted({name for sample in data.listing.samples for name in sample.facts} | {_SITE})
    if strangers := [name for name in recipe.evaluate.subgroups if name not in known]:
        raise OptionError(
            f"evaluate.subgroups names {', '.join(map(repr, strangers))}, but '{recipe.dataset.name}' does not know "
            f"this of its images. It knows: {', '.join(known)}. Correct the names, or tell the dataset its columns."
        )


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What was chosen on the validation part for an evaluator's predictions.

    Attributes:
        pooling: How the predictions of a group's images become one.
        points: The operating points of images; ``None`` for a quantity.
        group_points: The operating points of groups; ``None`` for a quantity, and if there are no groups.
    """

    pooling: PoolingChoice
    points: OperatingPoints | None
    group_points: OperatingPoints | None


def choose_rules(
    recipe: Recipe,
    target: Target,
    parts: tuple[LoadedPart, LoadedPart],
    prediction: Array,
    pooled: Array | None = None,
    learned: bool = False,
) -> Rules:
    """Choose pooling and operating points from predictions ``(N, O)`` for the validation part.

    Args:
        recipe: Its evaluation settings.
        target: The target.
        parts: The training and the validation part.
        prediction: One row per validation image.
        pooled: ``(G, O)``, the evaluator's own predictions of the validation groups.
        learned: Whether the evaluator predicts groups itself.

    Raises:
        PluginError: The predictions are not valid.
    """
    train, val = parts
    settings, y, groups = recipe.evaluate, val.y.numpy(), val.groups.numpy()
    checked = check_prediction(target, prediction, len(val))
    pooling = choose_pooling(target, y, prediction, groups, wanted=settings.pooling)
    if learned:
        pooling = PoolingChoice("learned", "predictor", pooling.val_groups)
    known = train.y.numpy(), train.groups.numpy()
    rule, found = settings.operating_point, None
    if train.grouped or val.grouped:
        found = choose_group_points(target, (y, checked, groups), known, pooling, rule, pooled)
    return Rules(
        pooling=pooling, points=choose_operating_points(target, y, checked, rule, known[0]), group_points=found
    )


def predict_groups(called: Called, predictor: Predictor, x: Tensor | None, part: LoadedPart) -> Array | None:
    """Return an evaluator's own predictions of a part's groups ``(G, O)``; ``None`` if it has none.

    Args:
        called: The evaluator.
        predictor: What it has fitted.
        x: Features ``(n, F)`` of the part; ``None`` for an evaluator of images.
        part: The part.

    Raises:
        PluginError: They have another shape.
    """
    if x is None or not part.grouped or not len(part):
        return None
    found = called.predict_groups(predictor, x, part.groups)
    return None if found is None else found.numpy()


def judge_part(
    recipe: Recipe,
    target: Target,
    part: LoadedPart,
    samples: Sequence[Sample],
    prediction: Array,
    rules: Rules,
    train_y: Array,
    pooled: Array | None = None,
) -> dict[str, Any]:
    """Score predictions ``(n, O)`` with every metric.

    Args:
        recipe: Settings of the intervals and subgroups.
        target: The target.
        part: n images.
        samples: The same images, as listed.
        prediction: One row per image.
        rules: How predictions of a group become one, and how predictions become decisions.
        train_y: Values of the training part, whose mix of classes the model learnt.
        pooled: ``(G, O)``, the evaluator's own predictions of groups; ``None``: those of images are pooled.

    Returns:
        As :func:`medssl.evaluation.scoring.score`, with ``per_group``, ``subgroups`` and ``prior`` where there are any.
    """
    y, groups = part.y.numpy(), part.groups.numpy() if part.grouped else None
    settings, seed = recipe.evaluate, recipe.seed
    found = score(target, y, prediction, groups, settings, seed, rules.points)
    if groups is not None:
        own = pooled, rules.group_points
        by_group = score_groups(target, y, prediction, groups, rules.pooling, settings, seed, *own)
        found |= {"per_group": by_group} if by_group else {}
    columns = _columns(samples, settings.subgroups)
    if columns:
        found["subgroups"] = score_subgroups(target, y, prediction, groups, columns, settings, seed, rules.points)
    if settings.prior:
        mix = class_mix(train_y, target.outputs)
        scores = score(target, y, correct_prior(prediction, mix, settings.prior), groups, settings, seed)
        named = {"expected": describe_mix(target, settings.prior), "training": describe_mix(target, mix.tolist())}
        found["prior"] = {**named, **scores}
    return found


def _columns(samples: Sequence[Sample], wanted: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of subgroups by column: the sites (private names) if there are several, and the wanted facts."""
    found = {}
    sites = [sample.site and private_id("site", sample.site) for sample in samples]
    if len(np.unique([site for site in sites if site])) > 1:
        found[_SITE] = subgroup_values(sites)
    for name in wanted:
        if name != _SITE:
            found[name] = subgroup_values([sample.facts.get(name) for sample in samples])
    return found
