"""How rows compare with each other: tested differences, sorted and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medssl.report.sections import Section
from medssl.report.words.wording import difference_text, listed, named, named_together, p_text, signed
from medssl.study.results.summary import Comparison, Row

__all__ = [
    "FEW",
    "RANKS",
    "Sorted",
    "baselines_of",
    "described",
    "differences",
    "few_or_count",
    "most_word",
    "sorted_out",
    "tested_aside",
    "tested_text",
    "trained",
]

RANKS = "auroc"  # reported as well, because it does not depend on a decision threshold
FEW = 3  # a sentence names at most this many rows and counts more


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """The rows that one evaluator compared with another row; ``open``: no significant difference."""

    better: list[tuple[Row, Comparison]]
    worse: list[tuple[Row, Comparison]]
    open: list[Row]

    @property
    def total(self) -> int:
        """Rows that were tested."""
        return len(self.better) + len(self.worse) + len(self.open)


def sorted_out(section: Section, rows: Sequence[Row], other: Row, evaluator: str, metric: str = "") -> Sorted:
    """Sort rows by how they compare with another row, in the leading metric or a given one."""
    found = Sorted(better=[], worse=[], open=[])
    for row in rows:
        comparison = section.between(row, other, evaluator, metric or section.lead)
        if comparison is None:
            continue
        if not comparison.shown:
            found.open.append(row)
        elif section.is_gain(comparison):
            found.better.append((row, comparison))
        else:
            found.worse.append((row, comparison))
    return found


def few_or_count(some: Sequence[tuple[Row, Comparison]], found: Sorted) -> tuple[str, int]:
    """Name a few rows, count many; return their number too."""
    if found.total <= FEW:
        return named_together([row for row, _ in some]), len(some)
    return f"all {found.total} rows" if len(some) == found.total else f"{len(some)} of {found.total} rows", len(some)


def differences(some: Sequence[tuple[Row, Comparison]]) -> str:
    """Write a few tested differences one by one, the range of many."""
    if len(some) <= FEW:
        return listed([f"{named(row)} by {tested_text(comparison)}" for row, comparison in some])
    sizes = sorted((comparison.difference for _, comparison in some), key=abs)
    return f"{named_together([row for row, _ in some])}, by {signed(sizes[0])} to {signed(sizes[-1])}"


def tested_text(comparison: Comparison) -> str:
    """Write a tested difference with its interval and, in brackets, its corrected p-value."""
    return f"{difference_text(comparison)} ({p_text(comparison.p_adjusted)})"


def tested_aside(comparison: Comparison) -> str:
    """Write the same for a place between brackets."""
    return f"{difference_text(comparison)}, {p_text(comparison.p_adjusted)}"


def trained(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are not baselines."""
    return [row for row in rows if not row.baseline]


def baselines_of(rows: Sequence[Row]) -> list[Row]:
    """Return the baselines."""
    return [row for row in rows if row.baseline]


def described(row: Row, words: Mapping[str, str]) -> str:
    """Name a baseline with what it is: ``random (the untrained encoder)``."""
    meaning = words.get(row.method)
    aside = "; ".join(part for part in (", ".join(fact.text for fact in row.facts), meaning) if part)
    return f"{row.method_shown} ({aside})" if aside else row.method_shown


def most_word(section: Section, metric: str) -> str:
    """Return ``highest`` or ``lowest``: the better end of a metric."""
    return "highest" if section.higher_is_better(metric) else "lowest"
