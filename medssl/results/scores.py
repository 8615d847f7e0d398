"""Scores of ``result.json`` as typed values: metrics with intervals, decisions, and the gain over the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.results.sections import read_section, validated

__all__ = [
    "Baseline",
    "Bootstrap",
    "DecisionRule",
    "Difference",
    "Interval",
    "MetricFacts",
    "Score",
    "Scores",
    "Threshold",
    "read_baseline",
    "read_scores",
]

# entries of an evaluation that are not metrics
_BESIDE = (
    "n",
    "n_unknown",
    "n_groups",
    "bootstrap",
    "confusion_matrix",
    "reliability",
    "outcomes",
    "operating_points",
    "curves",
    "selected",
    "notes",
    "per_group",
    "pooling",
    "labels",
    "subgroups",
    "prior",
)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its confidence interval.

    Attributes:
        value: The value; ``None`` if it is not defined, for instance an AUROC of one class.
        low: Lower end of the interval; ``None`` if there is none.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval must have both ends or none")


@dataclass(frozen=True, kw_only=True)
class Score(Interval):
    """One metric of one evaluator on the test part.

    Attributes:
        chance: Expected value of predictions at random, if it depends on the samples; else ``None``.
        outputs: If the value is a mean over classes or findings: the metric of each, by name; else empty.
    """

    chance: float | None = None
    outputs: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How the intervals were drawn.

    Attributes:
        resamples: Number of resamples; 0: there are no intervals.
        confidence: Confidence level, 0 to 1.
        unit: The resampled unit: ``group`` or ``sample``.
        skipped: By metric, the number of resamples in which it is not defined.
    """

    resamples: int = 0
    confidence: float = 0.95
    unit: str = "sample"
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The operating point of one class or finding, with what it reaches on the validation part.

    Attributes:
        threshold: An image is positive from this probability on; ``None`` if there is no operating point.
        sensitivity: On the validation part.
        specificity: On the validation part.
        positives: Validation images with the class or finding.
        negatives: Validation images without it.
        net_benefit_at: Threshold probability of the metric ``net_benefit``.
        reason: Why there is no threshold; ``None`` if there is one.
    """

    threshold: float | None
    sensitivity: float | None
    specificity: float | None
    positives: int
    negatives: int
    net_benefit_at: float | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class DecisionRule:
    """The decisions of one evaluator.

    Attributes:
        rule: The setting ``evaluate.operating_point``.
        points: The operating point of each positive class or finding; with two classes, there is one entry,
            for the positive class.
        decision: The decision in words.
        priors: With more than two classes: what each probability is divided by before the largest is taken; ``None``:
            nothing is divided.
    """

    rule: str
    points: Mapping[str, Threshold]
    decision: str
    priors: Mapping[str, float] | None


@dataclass(frozen=True, kw_only=True)
class Scores(Mapping[str, Score]):
    """The scores of one evaluator: a mapping from the names of metrics to scores.

    Attributes:
        metrics: The mapping.
        n: Test samples with a known target.
        n_unknown: Test samples left out.
        n_groups: Number of their groups; ``None`` if groups are not known.
        bootstrap: How the intervals were drawn.
        confusion_matrix: ``(K, K)`` counts, one row per true class; ``None`` if there are no classes.
        reliability: ``count``, ``confidence`` and ``accuracy`` by bin of confidence; ``None`` if there are no classes.
        outcomes: For findings: number of test samples by finding and outcome.
        operating_points: The decision thresholds, chosen on the validation part; ``None`` for a quantity.
        curves: Decision curve, smooth calibration curve and histograms by outcome of each class or finding.
        selected: Settings chosen on the validation part.
        notes: Notes for the reader.
        per_group: The scores of groups, where n counts groups; ``None`` if no group has several images.
        pooling: Of the scores of groups: how a group's predictions are pooled.
        labels: Of the scores of groups: the value of a group whose images have different values.
        subgroups: By column and value of the images (``scores.subgroups["site"]["Leiden"]``): their scores; without
            metrics if there are few groups.
    """

    metrics: Mapping[str, Score]
    n: int = 0
    n_unknown: int = 0
    n_groups: int | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    confusion_matrix: tuple[tuple[int, ...], ...] | None = None
    reliability: Mapping[str, tuple[float | None, ...]] | None = None
    outcomes: Mapping[str, Mapping[str, int]] | None = None
    operating_points: DecisionRule | None = None
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    selected: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    per_group: Scores | None = None
    pooling: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    subgroups: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> Score:
        return self.metrics[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """The description of a metric.

    Attributes:
        title: Title for tables.
        direction: ``higher``, ``lower``, ``nearest 0`` or ``nearest 1``: which values are better.
        unit: The unit; empty for a share or another number without a unit.
        source: Source of the definition.
        leads: Whether the short table of a run shows it.
    """

    title: str
    direction: str
    unit: str = ""
    source: str = ""
    leads: bool = True


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of two values of a metric on the same test images.

    Attributes:
        value: The first value minus the second.
        low: Lower end of its confidence interval; ``None`` if there is none.
        high: Upper end.
        p: p-value of the paired test, before correction.
        p_adjusted: p-value after Holm's correction over the evaluators of one metric.
        shown: Whether the difference is reported: the corrected test is significant, and the interval excludes zero.
    """

    value: float
    low: float | None
    high: float | None
    p: float
    p_adjusted: float = 1.0
    shown: bool = False


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The encoder before training, evaluated on the same images.

    Attributes:
        scores: Its scores on the test part by evaluator.
        unit: What the differences are about: ``image``, or ``group`` if the recipe has ``evaluate.unit=group``.
        differences: By evaluator and metric: the trained encoder minus the encoder before training.
    """

    scores: Mapping[str, Scores]
    unit: str
    differences: Mapping[str, Mapping[str, Difference]]


def read_scores(values: Mapping[str, Any], file: Path) -> dict[str, Scores]:
    """Read the section ``evaluations``, by evaluator.

    Raises:
        CheckpointError: It is missing, or an entry of it is missing or of the wrong type.
    """
    found = read_section(values, "evaluations", dict[str, dict[str, Any]], file)
    return {name: _scores(entries, f"evaluations.{name}", file) for name, entries in found.items()}


def read_baseline(values: Mapping[str, Any], file: Path) -> Baseline | None:
    """Read the section ``baseline``; ``None`` if the run has none.

    Raises:
        CheckpointError: An entry of it is missing or of the wrong type.
    """
    found = values.get("baseline")
    if found is None:
        return None
    differences = read_section(found, "differences", dict[str, dict[str, Difference]], file)
    unit = read_section({"unit": "image", **found}, "unit", str, file)  # earlier versions compared images only
    return Baseline(scores=read_scores(found, file), unit=unit, differences=differences)


def _scores(entries: Mapping[str, Any], name: str, file: Path) -> Scores:
    return validated(_nested(entries), Scores, name, file)


def _nested(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Move the metrics to a level of their own, also in the scores of groups and subgroups."""
    found = {key: value for key, value in entries.items() if key in _BESIDE}
    if isinstance(groups := found.get("per_group"), Mapping):
        found["per_group"] = _nested(groups)
    if isinstance(columns := found.get("subgroups"), Mapping):
        found["subgroups"] = {
            name: {value: _nested(scores) for value, scores in rows.items()} for name, rows in columns.items()
        }
    return {**found, "metrics": {key: value for key, value in entries.items() if key not in _BESIDE}}
