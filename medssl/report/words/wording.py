"""Numbers and lists as a report writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from medssl.errors import counted
from medssl.results.directory import RunResult
from medssl.results.metrics_table import metric_text
from medssl.study.results.rows import network_of
from medssl.study.results.summary import Comparison, Estimate, Row

if TYPE_CHECKING:
    from medssl.report.sections import Section

__all__ = [
    "difference_text",
    "estimate_text",
    "heading",
    "interval_text",
    "level_text",
    "listed",
    "metric_text",
    "named",
    "named_together",
    "p_text",
    "run_name",
    "same_lines",
    "seeds",
    "sentence",
    "setting",
    "short",
    "signed",
]

MISSING = "-"


def short(value: float | None) -> str:
    """Write a fraction of one: ``.872``, ``1.000``."""
    return metric_text({"value": value})


def signed(value: float) -> str:
    """Write a difference: ``+.031``, ``-.004``."""
    return f"+{short(abs(value))}" if value >= 0 else short(value)


def interval_text(value: float | None, low: float | None, high: float | None) -> str:
    """Write a value with its interval: ``.872 [.845, .898]``."""
    return metric_text({"value": value, "low": low, "high": high})


def estimate_text(estimate: Estimate | None) -> str:
    """Write an estimate with its interval."""
    return MISSING if estimate is None else interval_text(estimate.value, estimate.low, estimate.high)


def difference_text(found: Comparison) -> str:
    """Write a difference with its interval: ``+.031 [+.010, +.052]``."""
    if found.low is None or found.high is None:
        return signed(found.difference)
    return f"{signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"


def p_text(p: float) -> str:
    """Write a p-value: ``p = .012``, ``p < .001``."""
    return "p < .001" if p < 0.001 else f"p = {short(p)}"


def level_text(confidence: float) -> str:
    """Write a confidence: ``95 %``."""
    return f"{100 * confidence:g} %"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words: ``a, b and c``; ``last`` replaces "and"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def same_lines(lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Write a line for each text, after the names of all evaluators that it is true of: ``knn and mlp: text``."""
    names: dict[str, list[str]] = {}
    for name, text in lines:
        names.setdefault(text, []).append(name)
    yield from (f"{listed(its)}: {text}" for text, its in names.items())


def sentence(text: str) -> str:
    """End a text with a full stop, unless it has an end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def named(row: Row) -> str:
    """Name a row inside a sentence: ``dcl (batch 64)``."""
    return _with_aside(row.method_shown, [fact.text for fact in row.facts])


def _with_aside(name: str, facts: Sequence[str]) -> str:
    return f"{name} ({', '.join(facts)})" if facts else name


def run_name(row: Row) -> str:
    """Name a row's first run, whose images the page shows: ``dcl (batch 64), seed 0``."""
    run = row.runs[0]
    fold = run.recipe["split"].get("fold")
    return f"{named(row)}, seed {run.seed}" + ("" if fold is None else f", fold {fold}")


def heading(section: Section) -> str:
    """Return the title of a section; for a single run it begins with the method."""
    return f"{section.single.method} on {section.title}" if section.single else section.title


def setting(run: RunResult) -> str:
    """Write the main settings of a run: ``resnet18, 64 px, batch 64, 100 epochs, seed 0``."""
    recipe, epochs = run.recipe, run.training.epochs
    trained = [f"batch {recipe['train']['batch_size']}", counted(epochs, "epoch")] if epochs else ["no training"]
    words = [network_of(run), f"{recipe['views']['image_size']} px", *trained, f"seed {run.seed}"]
    return ", ".join(words)


def seeds(row: Row) -> int:
    """Count the seeds of a row."""
    return max((estimate.runs for scores in row.scores.values() for estimate in scores.values()), default=0)


def named_together(rows: Sequence[Row], last: str = "and") -> str:
    """Name rows inside a sentence; rows that differ only in batch size share a name."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(row.label_without("batch_size"), []).append(row)
    return listed([_of_all_sizes(some) for some in alike.values()], last)


def _of_all_sizes(rows: Sequence[Row]) -> str:
    sizes = f"batch {listed([str(size) for size in sorted(row.batch_size for row in rows)])}"
    return _with_aside(rows[0].method_shown, [sizes if f.name == "batch_size" else f.text for f in rows[0].facts])
