"""Scores of the samples with one value of a column: a site, a sex, an age group.

A subgroup of few groups has its counts alone, because its interval would be too narrow (Cameron, Gelbach & Miller 2008,
Rev. Econ. Stat. 90, 414-427, table 2) and its patients could be recognised. A column of numbers with many values is
divided at its quartiles.

n samples, O outputs of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from medssl.contracts.targets import Target
from medssl.evaluation.metrics import prediction_metrics
from medssl.evaluation.metrics.metric import Array
from medssl.evaluation.operating import OperatingPoints
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings

__all__ = ["UNKNOWN", "score_subgroups", "subgroup_values"]

UNKNOWN = "unknown"  #: the value of a sample for which the column is not known
_MOST = 8  # distinct numbers that are shown one by one; ours: more rows do not fit a screen


def subgroup_values(values: Sequence[Any]) -> list[str]:
    """Turn the values of a column into the names of subgroups; numbers of many values become four ranges."""
    texts = [UNKNOWN if _blank(value) else str(value) for value in values]
    numbers = [_number(text) for text in texts if text != UNKNOWN]
    if len(set(texts)) <= _MOST or None in numbers:
        return texts
    edges = np.unique(np.quantile(np.array(numbers, dtype=np.float64), (0.25, 0.5, 0.75)))
    ends = [f"{edge:g}" for edge in edges]
    names = [f"up to {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"above {ends[-1]}"]
    return [t if t == UNKNOWN else names[int(np.searchsorted(edges, float(t), side="left"))] for t in texts]


def _blank(value: Any) -> bool:
    return value is None or value == "" or value != value  # noqa: PLR0124  (NaN is not equal to itself)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def score_subgroups(
    target: Target,
    y: Array,
    prediction: Array,
    groups: Array | None,
    columns: Mapping[str, Sequence[str]],
    settings: EvaluateSettings,
    seed: int,
    points: OperatingPoints | None = None,
) -> dict[str, dict[str, Any]]:
    """Score each value of each column.

    Args:
        target: The target.
        y: Values of n samples.
        prediction: ``(n, O)``.
        groups: ``(n,)``; ``None`` if groups are not known.
        columns: n names of subgroups by column.
        settings: Resamples, level of the intervals, and the smallest number of groups.
        seed: Seed of the resamples.
        points: The operating points, the same for all subgroups; ``None``: metrics of decisions are left out.

    Returns:
        By column and value: ``n``, ``n_groups``, and, if there are enough groups, every metric of
        :func:`medssl.evaluation.scoring.score` and ``bootstrap``.
    """
    names = [metric.name for metric in prediction_metrics(target)]
    known = target.known(y)
    found: dict[str, dict[str, Any]] = {}
    for column, values in columns.items():
        of = np.array(values, dtype=str)
        rows: dict[str, Any] = {}
        for value in sorted(set(values)):
            members = np.flatnonzero((of == value) & known)
            own = None if groups is None else groups[members]
            units = len(members) if own is None else len(np.unique(own))
            rows[value] = {"n": len(members), "n_groups": None if own is None else units}
            if units >= settings.least_groups:
                scores = score(target, y[members], prediction[members], own, settings, seed, points)
                rows[value] |= {name: scores[name] for name in (*names, "bootstrap") if name in scores}
        found[column] = rows
    return found
