"""The answer in words, with no claim that the intervals and the corrected tests do not carry.

"Better", "worse" and "higher" are said of tested differences that are shown; where none is shown, that is said instead.
The row with the highest number is called just that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from medssl.report.sections import Section
from medssl.report.trust import majority_text, too_few_units, trust_text
from medssl.report.wording import count, difference_text, estimate_text, listed, named, p_text
from medssl.study.summary import Comparison, Row

__all__ = ["Answer", "Statement", "answer"]

_FEW = 3  # rows that a headline names; more are counted


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One question of a reader's, answered.

    Attributes:
        question: In a few words.
        lines: The answer, a line per evaluator where they differ.
    """

    question: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a section comes to.

    Attributes:
        headline: Two or three sentences; the first begins with "On this data".
        statements: The same in more detail, and how far it can be trusted.
    """

    headline: str
    statements: tuple[Statement, ...]


def answer(section: Section, baselines: Mapping[str, str]) -> Answer:
    """Say what a section's numbers carry, and no more.

    Args:
        section: Rows with their comparisons.
        baselines: What each baseline is, in a few words, by the name of its method; all that are known, run or not.
    """
    statements = [
        _highest(section),
        *_against_baselines(section, baselines),
        *_batch_sizes(section),
        *_few_labels(section),
        Statement(question="How far can this be trusted?", lines=tuple(trust_text(section))),
    ]
    hopeless = list(too_few_units(section))
    headline = " ".join([_best_sentence(section), *(hopeless or _verdicts(section, baselines))])
    return Answer(headline=headline, statements=tuple(statements))


# ----------------------------------------------------------------------------------------------------------- headline


def _best_sentence(section: Section) -> str:
    highest = [(name, *ranked[0]) for name in section.evaluators if (ranked := section.ranked(name))]
    if not highest:
        return "On this data no accuracy was measured."
    rows = {row.label: row for _, row, _ in highest}
    if len(rows) > 1:
        parts = [f"by {name}, that of {_with_role(row)}, {estimate_text(estimate)}" for name, row, estimate in highest]
        return f"On this data the highest accuracy is, {'; '.join(parts)}."
    row = highest[0][1]
    parts = [f"by {name}, {estimate_text(estimate)}" for name, _, estimate in highest]
    verb = "has the highest accuracy" if len(section.main_rows) > 1 else "reaches this accuracy:"
    return f"On this data {_with_role(row)} {verb} {listed(parts)}."


def _with_role(row: Row) -> str:
    return f"the baseline {named(row)}" if row.baseline else named(row)


def _verdicts(section: Section, words: Mapping[str, str]) -> Iterator[str]:
    """Yield one sentence per baseline, over all rows: no row is picked by its test result."""
    rows = _trained(section.main_rows)
    for baseline in _baselines(section.main_rows):
        tested = {name: _sorted_out(section, rows, baseline, name) for name in section.evaluators}
        some = {name: found for name, found in tested.items() if found.better or found.worse}
        none = [name for name, found in tested.items() if found.open and name not in some]
        what = _described(baseline, words)
        parts = [f"by {name}, {_tally(found, what if not i else '')}" for i, (name, found) in enumerate(some.items())]
        if none:
            parts.append(f"no difference{'' if some else f' to {what}'} is shown by {listed(none)}")
        if parts:
            text = "; ".join(parts)
            yield f"{text[0].upper()}{text[1:]}."


@dataclass(frozen=True, kw_only=True)
class _Sorted:
    """Rows tested against one other row by one evaluator."""

    better: list[tuple[Row, Comparison]]
    worse: list[tuple[Row, Comparison]]
    open: list[Row]


def _sorted_out(section: Section, rows: Sequence[Row], other: Row, evaluator: str) -> _Sorted:
    found = _Sorted(better=[], worse=[], open=[])
    for row in rows:
        comparison = section.between(row, other, evaluator)
        if comparison is None:
            continue
        if not comparison.shown:
            found.open.append(row)
        elif comparison.difference > 0:
            found.better.append((row, comparison))
        else:
            found.worse.append((row, comparison))
    return found


def _tally(found: _Sorted, what: str) -> str:
    """Say how many rows are better and worse than what stands in ``what``; empty where that was said before."""
    total = len(found.better) + len(found.worse) + len(found.open)
    than = f" than {what}" if what else ""
    words = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        if some:
            who = listed([named(row) for row, _ in some]) if len(some) <= _FEW else f"{len(some)} of {total} rows"
            words.append(f"{who} {'is' if len(some) == 1 else 'are'} shown to be {word}{than}")
    if found.open:
        who = listed([named(row) for row in found.open]) if len(found.open) <= _FEW else f"{len(found.open)} rows"
        words.append(f"for {who} no difference is shown")
    return ", ".join(words)


# --------------------------------------------------------------------------------------------------------- statements


def _highest(section: Section) -> Statement:
    lines = []
    for name in section.evaluators:
        ranked = section.ranked(name)
        if not ranked:
            continue
        row, estimate = ranked[0]
        seeds = f", mean of {count(estimate.runs, 'seed')}" if estimate.runs > 1 else ""
        text = f"{name}: {named(row)}, {estimate_text(estimate)}{seeds}."
        found = _reverse(section, row, [other for other, _ in ranked[1:]], name)
        lines.append(" ".join([text, *_higher_than(found)]))
    if len(section.main_rows) > 2:
        rows = count(len(section.main_rows), "row")
        lines.append(f"The highest of {rows} owes something to luck. What counts are the tested differences.")
    return Statement(question="Which is highest?", lines=(*lines, *majority_text(section)))


def _reverse(section: Section, row: Row, others: Sequence[Row], evaluator: str) -> _Sorted:
    """Sort the others by how ``row`` compares with them."""
    found = _Sorted(better=[], worse=[], open=[])
    for other in others:
        comparison = section.between(row, other, evaluator)
        if comparison is not None:
            shown = comparison.shown and comparison.difference > 0
            found.better.append((other, comparison)) if shown else found.open.append(other)
    return found


def _higher_than(found: _Sorted) -> Iterator[str]:
    if found.better:
        words = [f"{named(other)} by {_tested(comparison)}" for other, comparison in found.better]
        yield f"It is shown to be higher than {listed(words)}."
    if found.open:
        yield f"No difference is shown to {listed([named(other) for other in found.open])}."


def _tested(comparison: Comparison) -> str:
    return f"{difference_text(comparison)} ({p_text(comparison.p_adjusted)})"


def _against_baselines(section: Section, words: Mapping[str, str]) -> Iterator[Statement]:
    rows, baselines = _trained(section.main_rows), _baselines(section.main_rows)
    if rows and not baselines:
        known = f" Add --method {listed(sorted(words))}." if words else ""
        yield Statement(
            question="Does pre-training pay?",
            lines=(f"These runs cannot tell: there is no baseline among them.{known}",),
        )
    for baseline in baselines:
        lines = []
        for name in section.evaluators:
            found = _sorted_out(section, rows, baseline, name)
            if found.better or found.worse or found.open:
                lines.append(f"{name}: {_in_detail(found)}")
        if lines:
            yield Statement(question=f"Better than {_described(baseline, words)}?", lines=tuple(lines))


def _in_detail(found: _Sorted) -> str:
    parts = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        if some:
            parts.append(f"{word} is {listed([f'{named(row)} by {_tested(comparison)}' for row, comparison in some])}")
    if found.open:
        parts.append(f"no difference is shown for {listed([named(row) for row in found.open])}")
    return f"{'; '.join(parts)}."


def _batch_sizes(section: Section) -> Iterator[Statement]:
    """Compare a method with itself at other batch sizes."""
    rows = _trained(section.main_rows)
    pairs = [(a, b) for a, b in combinations(rows, 2) if a.method == b.method and a.batch_size != b.batch_size]
    lines = []
    for name in section.evaluators:
        tested = [(a, b, found) for a, b in pairs if (found := section.between(a, b, name))]
        words = [_batch_words(a, b, found) for a, b, found in tested if found.shown]
        if words:
            rest = " Otherwise no difference is shown." if len(words) < len(tested) else ""
            lines.append(f"{name}: {listed(words)}.{rest}")
        elif tested:
            lines.append(f"{name}: no difference is shown between batch sizes of one method.")
    if lines:
        yield Statement(question="Does the batch size matter?", lines=tuple(lines))


def _batch_words(first: Row, second: Row, found: Comparison) -> str:
    """Say which of two batch sizes of a method is better; ``found`` is how the first differs from the second."""
    word = "better" if found.difference > 0 else "worse"
    return f"{first.method} is {word} at {first.batch_size} than at {second.batch_size}, {_tested(found)}"


def _few_labels(section: Section) -> Iterator[Statement]:
    """Say at which shares of the labels some pre-trained row is better than a baseline."""
    if len(section.fractions) < 2:
        return
    lines = []
    for baseline in _baselines(section.main_rows):
        for name in section.evaluators:
            by_verdict: dict[str, list[str]] = {}
            for share in section.fractions:
                rows = [row for row in section.rows if row.label_fraction == share]
                other = next((row for row in rows if row.baseline and row.method == baseline.method), None)
                found = _sorted_out(section, _trained(rows), other, name) if other else None
                if found and (found.better or found.worse or found.open):
                    by_verdict.setdefault(_one_word(found), []).append(f"{100 * share:g} %")
            if by_verdict:
                text = "; ".join(f"{verdict} at {listed(shares)}" for verdict, shares in by_verdict.items())
                lines.append(f"against {baseline.method}, {name}: {text} of the labels.")
    if lines:
        yield Statement(question="With fewer labels?", lines=tuple(lines))


def _one_word(found: _Sorted) -> str:
    words = [word for some, word in ((found.better, "better"), (found.worse, "worse")) if some]
    return " and ".join(f"some {word}" for word in words) if len(words) > 1 else "".join(words) or "no difference shown"


def _trained(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.baseline]


def _baselines(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.baseline]


def _described(row: Row, words: Mapping[str, str]) -> str:
    """Name a baseline with what it is: ``random (the untrained encoder)``."""
    meaning = words.get(row.method)
    head, _, rest = row.label.partition(", ")
    aside = "; ".join(part for part in (rest, meaning) if part)
    return f"{head} ({aside})" if aside else head
