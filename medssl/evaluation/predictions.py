"""Reads the predictions of a run for each test image, and pools the folds of one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medssl.contracts.targets import Target
from medssl.evaluation.metrics import Decided, Scored
from medssl.evaluation.metrics.metric import pooled
from medssl.evaluation.operating import OperatingPoints
from medssl.evaluation.pooling import POOLINGS, group_truth, pool_groups
from medssl.results.directory import RunDirectory, RunResult

__all__ = [
    "Predictions",
    "decisions",
    "group_predictions",
    "make_predictions",
    "pool",
    "pool_by_group",
    "read_predictions",
]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions for n test images with at least partly known truth, in the order of their ids.

    Attributes:
        target: The target that was predicted.
        ids: Sample ids.
        y: Truth of the n samples, as the target encodes it.
        group: Groups of the n samples; an image without a group forms its own.
        proba: Predictions by evaluator, ``(n, O)``.
        folds: Number of runs that together test every image once; ``None`` for a split without folds.
        decided: Decisions by evaluator; evaluators without operating points are missing.
        of_groups: ``(n, O)`` the prediction of each image's group, by evaluator that predicts groups itself.
    """

    target: Target
    ids: tuple[str, ...]
    y: Array
    group: tuple[str, ...]
    proba: Mapping[str, Array]
    folds: int | None = None
    decided: Mapping[str, Decided] = field(default_factory=dict)
    of_groups: Mapping[str, Array] = field(default_factory=dict)

    @property
    def unit(self) -> Array:
        """``(n,)`` integers, equal within a group."""
        return np.asarray(np.unique(np.array(self.group), return_inverse=True)[1].reshape(-1))

    def scored(self, evaluator: str) -> Scored:
        """Return truth and predictions of one evaluator, from which its metrics are computed."""
        return Scored(self.target, self.y, self.proba[evaluator], self.decided.get(evaluator))


def read_predictions(run: RunResult) -> Predictions | None:
    """Read ``predictions.npz`` with the groups of ``splits.json``; ``None`` if the run has no predictions.

    Raises:
        CheckpointError: A file is damaged.
    """
    directory = RunDirectory(run.path)
    if not directory.predictions.exists() or not directory.splits.exists():
        return None
    found, split = run.predictions(), run.split()
    tables = found.by_evaluator
    return make_predictions(
        found.target,
        found.ids,
        found.y,
        split.groups,
        tables,
        split.folds,
        decisions(run.evaluations, found.target, tables),
        found.of_groups,
    )


def group_predictions(run: RunResult) -> Predictions | None:
    """Pool the predictions of :func:`read_predictions` by group, as the run did; the ids are those of the groups.

    Raises:
        CheckpointError: A file is damaged.
    """
    images = read_predictions(run)
    return None if images is None else pool_by_group(images, run.evaluations)


def pool_by_group(images: Predictions, evaluations: Mapping[str, Any]) -> Predictions:
    """Pool predictions of images by group; the ids are those of the groups.

    Args:
        images: Predictions of n images.
        evaluations: Scores of these predictions, as in ``result.json``, with the pooling of each evaluator. Evaluators
            without one of :data:`POOLINGS`, whose predictions of groups are not known, are left out.
    """
    units, target = images.unit, images.target
    first = np.unique(units, return_index=True)[1]
    names = [images.group[i] for i in first.tolist()]
    scores = {name: found["per_group"] for name, found in evaluations.items() if "per_group" in found}
    poolings = {name: found["pooling"]["name"] for name, found in scores.items()}
    tables = {
        name: pool_groups(target, table, units, poolings[name])
        for name, table in images.proba.items()
        if poolings.get(name) in POOLINGS
    } | {name: rows[first] for name, rows in images.of_groups.items() if name in poolings}
    truth = group_truth(target, images.y, units).y
    own, decided = dict(zip(names, names, strict=True)), decisions(scores, target, tables)
    return make_predictions(target, names, truth, own, tables, images.folds, decided)


def decisions(evaluations: Mapping[str, Any], target: Target, proba: Mapping[str, Array]) -> dict[str, Decided]:
    """Apply the operating points of a result's ``evaluations`` to predictions, by evaluator."""
    points = {name: scores.get("operating_points") for name, scores in evaluations.items() if name in proba}
    return {
        name: OperatingPoints.from_dict(known).decided(target, proba[name]) for name, known in points.items() if known
    }


def make_predictions(
    target: Target,
    ids: Sequence[str],
    y: Array,
    groups: Mapping[str, str],
    proba: Mapping[str, Array],
    folds: int | None = None,
    decided: Mapping[str, Decided] | None = None,
    of_groups: Mapping[str, Array] | None = None,
) -> Predictions:
    """Combine predictions for test images; images with completely unknown truth are left out.

    Args:
        target: The target that was predicted.
        ids: Sample ids.
        y: Their truth.
        groups: Groups by sample id; other samples may be included.
        proba: Predictions by evaluator.
        folds: See :class:`Predictions`.
        decided: Decisions by evaluator.
        of_groups: See :class:`Predictions`.
    """
    known = np.flatnonzero(target.known(y))
    names = [ids[i] for i in known.tolist()]
    group = [groups.get(name) or f"\0{name}" for name in names]
    own = {name: each.take(known) for name, each in (decided or {}).items()}
    tables = [{name: rows[known] for name, rows in each.items()} for each in (proba, of_groups or {})]
    return _ordered(target, names, y[known], group, (tables[0], tables[1]), folds, own)


def pool(folds: Sequence[Predictions]) -> Predictions:
    """Pool the predictions of several folds, as if one run had been tested on all of their images.

    A metric of the pool is not the mean of the folds' metrics: a fold may lack a class, or contain one difficult
    patient.
    """
    if len(folds) == 1:
        return folds[0]
    decided = [name for name in folds[0].decided if all(name in fold.decided for fold in folds)]
    return _ordered(
        folds[0].target,
        [name for fold in folds for name in fold.ids],
        np.concatenate([fold.y for fold in folds]),
        [group for fold in folds for group in fold.group],
        (_joined([fold.proba for fold in folds]), _joined([fold.of_groups for fold in folds])),
        folds[0].folds,
        {name: pooled([fold.decided[name] for fold in folds]) for name in decided},
    )


def _joined(tables: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Join the rows of the evaluators that every table has."""
    names = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.concatenate([table[name] for table in tables]) for name in names}


def _ordered(
    target: Target,
    ids: Sequence[str],
    y: Array,
    group: Sequence[str],
    tables: tuple[Mapping[str, Array], Mapping[str, Array]],
    folds: int | None,
    decided: Mapping[str, Decided],
) -> Predictions:
    order = sorted(range(len(ids)), key=ids.__getitem__)
    proba, of_groups = ({name: rows[order] for name, rows in table.items()} for table in tables)
    return Predictions(
        target=target,
        ids=tuple(ids[i] for i in order),
        y=y[order].astype(np.int64) if np.issubdtype(y.dtype, np.integer) else y[order],
        group=tuple(group[i] for i in order),
        proba=proba,
        folds=folds,
        decided={name: each.take(np.array(order, dtype=np.int64)) for name, each in decided.items()},
        of_groups=of_groups,
    )
