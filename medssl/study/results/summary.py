"""The results of a study: rows with confidence intervals, tested differences, and published numbers to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medssl.catalog import Catalog, load_catalog
from medssl.errors import CheckpointError
from medssl.evaluation.uncertainty.statistics import implied_interval
from medssl.results.directory import RunResult
from medssl.study.results.comparisons import Comparison, compare
from medssl.study.results.estimates import estimate
from medssl.study.results.rows import Estimate, Row, group_rows

__all__ = ["Comparison", "Estimate", "PublishedCell", "Row", "Summary", "summarise"]


@dataclass(frozen=True, kw_only=True)
class PublishedCell:
    """One published number.

    Attributes:
        method: Name of the method.
        batch_size: Batch size of its pre-training; ``None`` if the publication does not state it.
        evaluator: Name of the evaluator.
        metric: ``accuracy`` or ``f1_weighted``.
        value: As published.
        low: Lower end of the interval that follows from the size of its test part; ``None`` if the size is unknown.
        high: Upper end.
        source: Publication and place.
        split: Protocol of its split (``official``, ``random``); ``None`` if unknown.
        images: Number of its test images; ``None`` if unknown.
        network: Name of its network; ``None`` if unknown.
    """

    method: str
    batch_size: int | None
    evaluator: str
    metric: str
    value: float
    low: float | None
    high: float | None
    source: str = ""
    split: str | None = None
    images: int | None = None
    network: str | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of a study.

    Attributes:
        rows: Rows, in the order in which the runs were given.
        comparisons: Paired differences between rows of one dataset, tested.
        published: Published numbers by dataset.
        confidence: Level of every confidence interval; the level of the tests is one minus this value.
    """

    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    published: Mapping[str, Sequence[PublishedCell]] = field(default_factory=dict)
    confidence: float = 0.95


def summarise(results: Sequence[RunResult], catalog: Catalog | None = None) -> Summary:
    """Summarise finished runs.

    Args:
        results: Finished runs, of one study or of several.
        catalog: Provides baselines and published numbers; ``None``: medssl's own.

    Raises:
        CheckpointError: A run's predictions are damaged, or the runs have confidence intervals of different levels.
    """
    catalog = catalog or load_catalog()
    confidence = _confidence(results)
    resamples = _resamples(results)
    grouped = group_rows(results, catalog)
    evidence = [estimate(row, resamples, _unit(row.dataset, results)) for row in grouped]
    rows = tuple(item.row for item in evidence)
    return Summary(
        rows=rows,
        comparisons=tuple(compare(evidence, confidence)),
        published={name: _published(catalog, name, confidence) for name in dict.fromkeys(row.dataset for row in rows)},
        confidence=confidence,
    )


def _confidence(results: Sequence[RunResult]) -> float:
    """Return the level of the confidence intervals, which must be the same in all runs.

    Raises:
        CheckpointError: The levels differ.
    """
    found = {float(result.recipe["evaluate"]["confidence"]): result for result in reversed(results)}
    if len(found) > 1:
        named = ", ".join(f"{confidence:g} ({result.path.name})" for confidence, result in sorted(found.items()))
        raise CheckpointError(
            f"these runs have confidence intervals of different levels: {named}. A report needs one level. Make one "
            "report for each level, or run some again with the same evaluate.confidence."
        )
    return next(iter(found), 0.95)


def _unit(dataset: str, results: Sequence[RunResult]) -> str:
    """Return what the rows of a dataset are compared by: groups only if all of its runs ask for it."""
    wanted = {str(run.recipe["evaluate"].get("unit", "image")) for run in results if run.dataset == dataset}
    return "group" if wanted == {"group"} else "image"


def _resamples(results: Sequence[RunResult]) -> int:
    """Return the largest number of resamples of any run; a single run has its intervals already."""
    return max((int(r.recipe["evaluate"]["bootstrap"]) for r in results), default=0) if len(results) > 1 else 0


def _published(catalog: Catalog, dataset: str, confidence: float) -> list[PublishedCell]:
    cells = []
    for row in catalog.published(dataset):
        for metric in ("accuracy", "f1_weighted"):
            if metric in row:
                known = metric == "accuracy" and "test" in row
                low, high = implied_interval(row[metric], row["test"], confidence) if known else (None, None)
                cells.append(
                    PublishedCell(
                        method=row["method"],
                        batch_size=row.get("batch_size"),
                        evaluator=row["evaluator"],
                        metric=metric,
                        value=float(row[metric]),
                        low=low,
                        high=high,
                        source=row.get("source", ""),
                        split=row.get("split"),
                        images=row.get("test"),
                        network=row.get("network"),
                    )
                )
    return cells
