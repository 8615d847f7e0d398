"""Predictions and values of groups: the images of a patient, slide or study judged together.

A group's prediction is pooled from the predictions of its images. The pooling is chosen on the validation part by log
loss, because a proper score compares probabilities (Gneiting & Raftery 2007, sec. 4.1). With equal scores the first
of the list below is taken.

============  ==========================================================================================
pooling       the group's value of one output, from its n images
============  ==========================================================================================
``mean``      the mean
``top-k``     the mean of the k = 3 largest, or of all if there are fewer
``max``       the largest
``noisy-or``  the probability that at least one is present, if the images were independent: 1 - prod(1 - p)
============  ==========================================================================================

The last three are the usual assumptions of multiple-instance learning (Foulds & Frank 2010, Knowl. Eng. Rev. 25, 1-25;
noisy-or: Maron & Lozano-Perez 1998, NIPS 10). They are applied to each finding; to each class, whose values are then
divided by their sum; and for grades to the probability of reaching each grade or a higher one, so that ``noisy-or`` is
the distribution of the highest grade of independent images. A quantity has the mean alone.

The value of a group whose images have different values follows the target's rule:

==========  ===================================================================================================
target      rule
==========  ===================================================================================================
findings    present if it is present in any image; absent if it is absent in all of them; else unknown
grades      the highest grade of its images, as a patient is staged by the worse eye or knee
classes     left out and counted, because no class is higher than another
quantity    the mean
==========  ===================================================================================================

n images, G groups, O outputs of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medssl.contracts.targets import Classes, Findings, Grades, Target
from medssl.evaluation.metrics import Scored, prediction_metrics
from medssl.evaluation.metrics.metric import Array
from medssl.evaluation.operating import OperatingPoints, choose_operating_points
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings

__all__ = [
    "LEAST_GROUPS",
    "POOLINGS",
    "TOP",
    "Grouped",
    "PoolingChoice",
    "choose_group_points",
    "choose_pooling",
    "group_truth",
    "pool_groups",
    "score_groups",
]

TOP = 3  #: images in ``top-k``; ours: one image is ``max``, and most patients have fewer than six
LEAST_GROUPS = 10  #: ours: with fewer validation groups, the choice would be chance, and the mean is taken
_LOSS = "log_loss"  # the metric that chooses


def _mean(values: Array, starts: Array, sizes: Array) -> Array:
    return np.add.reduceat(values, starts, axis=0) / sizes[:, None]


def _max(values: Array, starts: Array, sizes: Array) -> Array:
    del sizes
    return np.maximum.reduceat(values, starts, axis=0)


def _top(values: Array, starts: Array, sizes: Array) -> Array:
    ends = starts + sizes
    groups = [np.sort(values[a:b], axis=0)[-TOP:].mean(axis=0) for a, b in zip(starts, ends, strict=True)]
    return np.stack(groups)


def _noisy_or(values: Array, starts: Array, sizes: Array) -> Array:
    del sizes
    return 1 - np.multiply.reduceat(1 - values, starts, axis=0)


#: Each maps values ``(n, O)``, sorted by group, with the first row ``(G,)`` and the size ``(G,)`` of each group, to
#: ``(G, O)``; in the order in which a tie is decided.
POOLINGS: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    "mean": _mean,
    "top-k": _top,
    "max": _max,
    "noisy-or": _noisy_or,
}


def pool_groups(target: Target, prediction: Array, units: Array, name: str) -> Array:
    """Pool the predictions of images into predictions of groups.

    Args:
        target: What is predicted.
        prediction: ``(n, O)``, one row per image, n at least 1.
        units: ``(n,)`` integers ``0 .. G - 1``, each of them present: the group of each image.
        name: One of :data:`POOLINGS`; a quantity is always averaged.

    Returns:
        ``(G, O)`` float64, valid predictions of the target.
    """
    order = np.argsort(units, kind="stable")
    sizes = np.bincount(units)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    values = np.asarray(prediction, dtype=np.float64)[order]
    how = POOLINGS[name]
    if isinstance(target, Grades):
        reached = np.clip(how(_reached(values), starts, sizes), 0, 1)  # (G, K - 1)
        edges = np.ones((len(sizes), 1)), np.zeros((len(sizes), 1))
        found: Array = -np.diff(np.concatenate([edges[0], reached, edges[1]], axis=1), axis=1)
        return np.clip(found, 0, 1)
    if isinstance(target, Classes):
        pooled = how(values, starts, sizes)
        return np.asarray(pooled / pooled.sum(axis=1, keepdims=True))
    return how(values, starts, sizes) if isinstance(target, Findings) else _mean(values, starts, sizes)


def _reached(probability: Array) -> Array:
    """Return ``(n, K - 1)``: the probability of each grade above the lowest, or a higher one."""
    return np.asarray(probability[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:])


@dataclass(frozen=True)
class Grouped:
    """The values of groups.

    Attributes:
        y: ``(G, ...)`` as the target encodes it; -1 or NaN where the value is unknown.
        rule: What the value of a group with different values is, in words.
        mixed: Groups whose images have different known values.
        excluded: Groups without a value because of the rule.
    """

    y: Array
    rule: str
    mixed: int
    excluded: int


def group_truth(target: Target, y: Array, units: Array) -> Grouped:
    """Return the value of each group from the values of its images; the rules are at the top of the module.

    Args:
        target: The target.
        y: Values of n images, as the target encodes them.
        units: ``(n,)`` integers ``0 .. G - 1``, each of them present.
    """
    members = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])
    mixed = sum(_differ(y[rows]) for rows in members)
    if isinstance(target, Findings):
        rows = [_present(y[rows]) for rows in members]
        return Grouped(np.stack(rows).astype(np.float32), "present if present in any image", mixed, 0)
    if isinstance(target, Grades):
        return Grouped(np.array([y[rows].max() for rows in members]), "the highest grade", mixed, 0)
    if isinstance(target, Classes):
        same = [y[rows].max() if not _differ(y[rows]) else -1 for rows in members]
        return Grouped(np.array(same), "left out if its images have several classes", mixed, mixed)
    means = [np.nan if np.isnan(y[rows]).all() else np.nanmean(y[rows]) for rows in members]
    return Grouped(np.array(means, dtype=np.float32), "the mean", mixed, 0)


def _present(values: Array) -> Array:
    """Return 1 for a finding that any image has, 0 if all images lack it, NaN otherwise: ``(K,)``."""
    any_present = (values == 1).any(axis=0)
    all_absent = (values == 0).all(axis=0)
    return np.where(any_present, 1.0, np.where(all_absent, 0.0, np.nan))


def _differ(values: Array) -> bool:
    """Whether the images of a group have different known values, of any finding."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    known = np.where(columns < 0, np.nan, columns) if values.dtype.kind == "i" else columns
    return any(len(np.unique(column[~np.isnan(column)])) > 1 for column in known.T)


@dataclass(frozen=True)
class PoolingChoice:
    """The pooling of an evaluator's predictions.

    Attributes:
        name: One of :data:`POOLINGS`, or ``learned``.
        chosen_by: ``log_loss``: on the validation part; ``setting``: by the user; ``default``: nothing to choose from;
            ``predictor``: it predicts groups itself.
        val_groups: Groups of the validation part with a known value.
        tried: Log loss on the validation part, by pooling; empty if nothing was tried.
    """

    name: str
    chosen_by: str
    val_groups: int = 0
    tried: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a result."""
        top = {"k": TOP} if self.name == "top-k" else {}
        tried = dict(self.tried or {})
        return {"name": self.name, **top, "chosen_by": self.chosen_by, "val_groups": self.val_groups, "tried": tried}


def choose_pooling(
    target: Target, y: Array, prediction: Array, groups: Array, *, wanted: str | None = None
) -> PoolingChoice:
    """Choose the pooling with the smallest log loss on the validation part.

    Args:
        target: The target.
        y: Values of the n validation images.
        prediction: ``(n, O)``.
        groups: ``(n,)`` group of each image.
        wanted: The user's pooling; ``None``: choose.
    """
    if wanted is not None:
        return PoolingChoice(wanted, "setting")
    if not len(y) or not isinstance(target, Classes | Findings):
        return PoolingChoice("mean", "default")
    units = _units(groups)
    values = group_truth(target, y, units).y
    known = target.known(values)
    count = int(known.sum())
    if count < LEAST_GROUPS or len(units) == units.max() + 1:
        return PoolingChoice("mean", "default", count)
    loss = next(metric for metric in prediction_metrics(target) if metric.name == _LOSS)
    tried = {}
    for name in POOLINGS:
        pooled = pool_groups(target, prediction, units, name)[known]
        tried[name] = float(loss.values(Scored(target, values[known], pooled).as_is())[0])
    return PoolingChoice(min(tried, key=lambda name: tried[name]), "log_loss", count, tried)


def choose_group_points(
    target: Target,
    val: tuple[Array, Array, Array],
    train: tuple[Array, Array],
    pooling: PoolingChoice,
    rule: str,
    pooled: Array | None = None,
) -> OperatingPoints | None:
    """Choose the operating points of groups from the pooled predictions of the validation groups.

    Args:
        target: The target.
        val: Values, predictions ``(N, O)`` and groups ``(N,)`` of the N validation images.
        train: Values and groups of the training images.
        pooling: How the predictions are pooled.
        rule: As in the setting ``evaluate.operating_point``.
        pooled: ``(G, O)``, an evaluator's own predictions of the validation groups, ascending by their numbers.

    Returns:
        The operating points; ``None`` for a quantity, and without own predictions where groups are not pooled.
    """
    y, prediction, groups = val
    if len(y):
        units = _units(groups)
        y = group_truth(target, y, units).y
        if pooled is None and pooling.name not in POOLINGS:
            return None
        prediction = pool_groups(target, prediction, units, pooling.name) if pooled is None else pooled
    shares = group_truth(target, train[0], _units(train[1])).y
    return choose_operating_points(target, y, prediction, rule, shares, "group")


def score_groups(
    target: Target,
    y: Array,
    prediction: Array,
    groups: Array,
    pooling: PoolingChoice,
    settings: EvaluateSettings,
    seed: int,
    pooled: Array | None = None,
    points: OperatingPoints | None = None,
) -> dict[str, Any] | None:
    """Score the pooled predictions of groups with every metric of the target.

    Resample i draws the same groups as resample i of the images, if every group has a value.

    Args:
        target: The target.
        y: Values of n images.
        prediction: ``(n, O)``.
        groups: ``(n,)`` group of each image; an image without a group has a unique value.
        pooling: How the predictions are pooled.
        settings: Resamples and level of the intervals.
        seed: Seed of the resamples.
        pooled: ``(G, O)``, an evaluator's own predictions of the groups, in ascending order of their numbers.
        points: The operating points of groups; ``None``: metrics of decisions are left out.

    Returns:
        As :func:`medssl.evaluation.scoring.score`, n counts groups; also ``pooling``, ``operating_points`` if there are
        any, and ``labels``: the ``rule`` for groups with different values, how many are ``mixed``, and how many are
        ``excluded`` by the rule. ``None`` if no group has two images, or none has a known value.
    """
    units = _units(groups)
    if not len(units) or len(units) == units.max() + 1:
        return None
    truth = group_truth(target, y, units)
    if not target.known(truth.y).any():
        return None
    if pooled is None:
        pooled = pool_groups(target, prediction, units, pooling.name)
    scores = score(target, truth.y, pooled, np.arange(len(pooled)), settings, seed, points)
    labels = {"rule": truth.rule, "mixed": truth.mixed, "excluded": truth.excluded}
    decided = {} if points is None else {"operating_points": points.to_dict()}
    return {**scores, "pooling": pooling.to_dict(), **decided, "labels": labels}


def _units(groups: Array) -> Array:
    """Return ``(n,)`` integers ``0 .. G - 1``, equal within a group."""
    units: Array = np.unique(groups, return_inverse=True)[1].reshape(-1)
    return units
