"""All metrics, one class each, in the order in which tables show them.

To add a metric, write a class in one of these modules and add it to :data:`METRICS`. Results, comparisons, tables and
the documentation use it automatically.
"""

from __future__ import annotations

from typing import Any

from medssl.contracts.targets import Classes, Grades, Target
from medssl.evaluation.metrics.calibration import ECE, Brier, FindingsBrier, FindingsLogLoss, LogLoss
from medssl.evaluation.metrics.calibration_fit import CalibrationIntercept, CalibrationSlope, ClasswiseECE, ScaledBrier
from medssl.evaluation.metrics.classes import MCC, Accuracy, BalancedAccuracy, MacroF1, WeightedF1
from medssl.evaluation.metrics.decisions import (
    F1,
    NPV,
    PPV,
    ExpectedCost,
    NegativeLikelihoodRatio,
    NetBenefit,
    PositiveLikelihoodRatio,
    Sensitivity,
    Specificity,
)
from medssl.evaluation.metrics.discrimination import AUROC, AveragePrecision, SensitivityAt, SpecificityAt
from medssl.evaluation.metrics.grades import GradeError, QuadraticKappa
from medssl.evaluation.metrics.metric import Decided, Metric, PairedTest, PredictionMetric, Resampled, Scored
from medssl.evaluation.metrics.quantity import MAE, RMSE, Concordance, RSquared
from medssl.evaluation.metrics.ranking import MeanAveragePrecision, RankingMetric, RecallAt1, RecallAt5, RecallAt10

__all__ = [
    "METRICS",
    "Decided",
    "Metric",
    "PairedTest",
    "PredictionMetric",
    "RankingMetric",
    "Resampled",
    "Scored",
    "metric_facts",
    "prediction_metrics",
    "ranking_metrics",
]

METRICS: tuple[Metric, ...] = (
    QuadraticKappa(),
    GradeError(),
    Accuracy(),
    WeightedF1(),
    MacroF1(),
    BalancedAccuracy(),
    AUROC(),
    AveragePrecision(),
    MCC(),
    ECE(),
    Brier(),
    FindingsBrier(),
    LogLoss(),
    FindingsLogLoss(),
    Sensitivity(),
    Specificity(),
    NetBenefit(),
    PPV(),
    NPV(),
    PositiveLikelihoodRatio(),
    NegativeLikelihoodRatio(),
    F1(),
    ExpectedCost(),
    SensitivityAt(),
    SpecificityAt(),
    ScaledBrier(),
    CalibrationSlope(),
    CalibrationIntercept(),
    ClasswiseECE(),
    MAE(),
    RMSE(),
    RSquared(),
    Concordance(),
    MeanAveragePrecision(),
    RecallAt1(),
    RecallAt5(),
    RecallAt10(),
)


# two classes: discrimination, overall performance, decisions, utility (Van Calster et al. 2025, Lancet Digit. Health)
_CLINICAL = ("auroc", "brier", "sensitivity", "specificity", "net_benefit")


def prediction_metrics(target: Target) -> tuple[PredictionMetric, ...]:
    """Return the metrics of predictions of a target, in order; the clinical ones first if there are two classes."""
    return tuple(m for m in _ordered(target) if isinstance(m, PredictionMetric))


def ranking_metrics(target: Target) -> tuple[RankingMetric, ...]:
    """Return the metrics of rankings of a target, in order."""
    return tuple(m for m in METRICS if isinstance(m, RankingMetric) and target.kind in m.targets)


def metric_facts(target: Target) -> dict[str, dict[str, Any]]:
    """Return title, direction, unit and source of each metric of a target, by its name, in order."""
    leading = _CLINICAL if _has_two_classes(target) else ()
    return {m.name: m.facts(target) | ({"leads": True} if m.name in leading else {}) for m in _ordered(target)}


def _ordered(target: Target) -> list[Metric]:
    found = [m for m in METRICS if target.kind in m.targets and target.outputs <= m.most]
    if not _has_two_classes(target):
        return found
    places = {name: place for place, name in enumerate(_CLINICAL)}
    return sorted(found, key=lambda metric: places.get(metric.name, len(places)))


def _has_two_classes(target: Target) -> bool:
    return isinstance(target, Classes) and not isinstance(target, Grades) and target.outputs == 2
