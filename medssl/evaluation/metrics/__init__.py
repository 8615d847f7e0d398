"""All metrics, one class each, in the order in which tables show them.

To add a metric, write a class in one of these modules and add it to :data:`METRICS`. Results, comparisons, tables and
the documentation use it automatically.
"""

from __future__ import annotations

from typing import Any

from medssl.contracts.targets import Target
from medssl.evaluation.metrics.calibration import ECE, Brier, FindingsBrier, FindingsLogLoss, LogLoss
from medssl.evaluation.metrics.classes import AUROC, MCC, Accuracy, BalancedAccuracy, MacroF1, WeightedF1
from medssl.evaluation.metrics.findings import FindingsAUROC, FindingsAveragePrecision
from medssl.evaluation.metrics.grades import GradeError, QuadraticKappa
from medssl.evaluation.metrics.metric import Metric, PairedTest, PredictionMetric, Resampled, Scored
from medssl.evaluation.metrics.quantity import MAE, RMSE, Concordance, RSquared
from medssl.evaluation.metrics.ranking import MeanAveragePrecision, RankingMetric, RecallAt1, RecallAt5, RecallAt10

__all__ = [
    "METRICS",
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
    FindingsAUROC(),
    FindingsAveragePrecision(),
    MCC(),
    ECE(),
    Brier(),
    FindingsBrier(),
    LogLoss(),
    FindingsLogLoss(),
    MAE(),
    RMSE(),
    RSquared(),
    Concordance(),
    MeanAveragePrecision(),
    RecallAt1(),
    RecallAt5(),
    RecallAt10(),
)


def prediction_metrics(target: Target) -> tuple[PredictionMetric, ...]:
    """Return the metrics of predictions of a target, in order."""
    return tuple(m for m in METRICS if isinstance(m, PredictionMetric) and target.kind in m.targets)


def ranking_metrics(target: Target) -> tuple[RankingMetric, ...]:
    """Return the metrics of rankings of a target, in order."""
    return tuple(m for m in METRICS if isinstance(m, RankingMetric) and target.kind in m.targets)


def metric_facts(target: Target) -> dict[str, dict[str, Any]]:
    """Return title, direction, unit and source of each metric of a target, by its name, in order."""
    return {m.name: m.facts(target) for m in METRICS if target.kind in m.targets}
