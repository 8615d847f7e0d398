"""The answer in words, with no claim that the intervals and the corrected tests do not carry.

"Better", "worse" and "higher" are said of tested differences that are shown; where none is shown, that is said instead.
The row with the highest number is called just that. Which metric leads and which way it points, the results say; where
low values are better, "lower" and "lowest" take the places of "higher" and "highest".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from medssl.report.missing import Missing
from medssl.report.sections import Section
from medssl.report.words.gains import gain_statement, gain_verdict, has_gains
from medssl.report.words.trust import majority_text, too_few_units, trust_text
from medssl.report.words.wording import (
    count,
    difference_text,
    estimate_text,
    listed,
    named,
    named_together,
    p_text,
    signed,
)
from medssl.study.results.summary import Comparison, Row

__all__ = ["Answer", "Statement", "answer"]

_RANKS = "auroc"  # the metric that no threshold decides, said beside one that a threshold does
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


def answer(section: Section, baselines: Mapping[str, str], missing: Sequence[Missing] = ()) -> Answer:
    """Say what a section's numbers carry, and no more.

    Args:
        section: Rows with their comparisons.
        baselines: What each baseline is, in a few words, by the name of its method; all that are known, run or not.
        missing: Runs that belong to the report and have no result.
    """
    statements = [
        _highest(section),
        *_by_auroc(section),
        *_against_baselines(section, baselines),
        *_batch_sizes(section),
        *_few_labels(section),
        Statement(question="How far can this be trusted?", lines=(*_left_out(section, missing), *trust_text(section))),
    ]
    hopeless = list(too_few_units(section))
    headline = " ".join([_best_sentence(section), *(hopeless or _verdicts(section, baselines))])
    return Answer(headline=headline, statements=tuple(statements))


def _left_out(section: Section, missing: Sequence[Missing]) -> Iterator[str]:
    """Say how many runs on this dataset have failed, or are not finished."""
    own = [run for run in missing if run.dataset in (None, section.rows[0].dataset)]
    failed, unfinished = [m for m in own if m.failure], [m for m in own if not m.failure]
    for some, one, several in (
        (failed, "has failed and is", "have failed and are"),
        (unfinished, "is not finished and is", "are not finished and are"),
    ):
        if some:
            yield f"{count(len(some), 'run')} {one if len(some) == 1 else several} missing here."


# ----------------------------------------------------------------------------------------------------------- headline


def _best_sentence(section: Section) -> str:
    highest = [(name, *ranked[0]) for name in section.judges if (ranked := section.ranked(name))]
    if not highest:
        return "On this data nothing was measured."
    rows = {row.key: row for _, row, _ in highest}
    most, title = _most(section, section.lead), section.lead_title
    if len(rows) > 1:
        parts = [f"by {name}, that of {_with_role(row)}, {estimate_text(estimate)}" for name, row, estimate in highest]
        return f"On this data the {most} {title} is, {'; '.join(parts)}."
    row = highest[0][1]
    parts = [f"by {name}, {estimate_text(estimate)}" for name, _, estimate in highest]
    verb = f"has the {most} {title}" if len(section.main_rows) > 1 else f"reaches this {title}:"
    return f"On this data {_with_role(row)} {verb} {listed(parts)}."


def _most(section: Section, metric: str) -> str:
    return "highest" if section.higher_is_better(metric) else "lowest"


def _with_role(row: Row) -> str:
    return f"the baseline {named(row)}" if row.baseline else named(row)


def _verdicts(section: Section, words: Mapping[str, str]) -> Iterator[str]:
    """Yield what is shown against each baseline, over all rows: no row is picked by its test result."""
    rows = _trained(section.main_rows)
    if section.single:
        yield from gain_verdict(section.single, section.judges)
    for baseline in _baselines(section.main_rows):
        tested = {name: _sorted_out(section, rows, baseline, name) for name in section.judges}
        tested = {name: found for name, found in tested.items() if found.total}
        what = _described(baseline, words)
        better = [f"{_who(f.better, f)} by {name}" for name, f in tested.items() if f.better]
        worse = [f"{_who(f.worse, f)} by {name}" for name, f in tested.items() if f.worse]
        if better:
            yield f"Shown to be better than {what}: {listed(better)}."
        if worse:
            yield f"Shown to be worse than {what if not better else 'it'}: {listed(worse)}."
        if tested and not better and not worse:
            yield f"No difference from {what} is shown, by {listed(list(tested))}."
        yield from _verdicts_by_auroc(section, baseline, tested)


def _verdicts_by_auroc(section: Section, baseline: Row, by_accuracy: Mapping[str, _Sorted]) -> Iterator[str]:
    """Yield what AUROC shows against a baseline where accuracy shows nothing: a threshold may hide it."""
    if section.lead == _RANKS:
        return
    rows = _trained(section.main_rows)
    for word in ("better", "worse"):
        shown = []
        for name, found in by_accuracy.items():
            ranking = _sorted_out(section, rows, baseline, name, _RANKS)
            if (some := getattr(ranking, word)) and not getattr(found, word):
                shown.append(f"{_who(some, ranking)} by {name}")
        if shown:
            also = "also " if any(getattr(found, word) for found in by_accuracy.values()) else ""
            yield f"By {section.title_of(_RANKS)}, whatever the threshold, {also}{word}: {listed(shown)}."


def _who(some: Sequence[tuple[Row, Comparison]], found: _Sorted) -> str:
    """Name a few rows, count many."""
    return named_together([row for row, _ in some]) if found.total <= _FEW else f"{len(some)} of {found.total} rows"


@dataclass(frozen=True, kw_only=True)
class _Sorted:
    """Rows tested against one other row by one evaluator."""

    better: list[tuple[Row, Comparison]]
    worse: list[tuple[Row, Comparison]]
    open: list[Row]

    @property
    def total(self) -> int:
        """Rows that were tested."""
        return len(self.better) + len(self.worse) + len(self.open)


def _sorted_out(section: Section, rows: Sequence[Row], other: Row, evaluator: str, metric: str = "") -> _Sorted:
    found = _Sorted(better=[], worse=[], open=[])
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


# --------------------------------------------------------------------------------------------------------- statements


def _highest(section: Section) -> Statement:
    lines, most = list(_leaders(section, section.lead)), _most(section, section.lead)
    if len(section.main_rows) > 2:
        rows = count(len(section.main_rows), "row")
        lines.append(f"The {most} of {rows} is partly chance. Rely on the tested differences.")
    if len(section.main_rows) == 1:  # the headline says the rest
        return Statement(question="What does guessing reach?", lines=tuple(majority_text(section)))
    return Statement(question=f"Which is {most}?", lines=(*lines, *majority_text(section)))


def _leaders(section: Section, metric: str) -> Iterator[str]:
    """Yield, by evaluator, the row with the best value and the rows that it is shown to be better than."""
    word = "higher" if section.higher_is_better(metric) else "lower"
    for name in section.judges:
        ranked = section.ranked(name, metric)
        if ranked:
            row, estimate = ranked[0]
            seeds = f", mean of {count(estimate.runs, 'seed')}" if estimate.runs > 1 else ""
            text = f"{name}: {named(row)}, {estimate_text(estimate)}{seeds}."
            found = _reverse(section, row, [other for other, _ in ranked[1:]], name, metric)
            yield " ".join([text, *_beyond(found, word)])


def _by_auroc(section: Section) -> Iterator[Statement]:
    """Say which row ranks images best: accuracy also hangs on a threshold, which another mix of classes upsets."""
    lines = tuple(_leaders(section, _RANKS))
    if section.lead != _RANKS and lines and len(section.main_rows) > 1:
        yield Statement(question=f"Which ranks best, whatever the threshold ({section.title_of(_RANKS)})?", lines=lines)


def _reverse(section: Section, row: Row, others: Sequence[Row], evaluator: str, metric: str) -> _Sorted:
    """Sort the others by how ``row`` compares with them."""
    found = _Sorted(better=[], worse=[], open=[])
    for other in others:
        comparison = section.between(row, other, evaluator, metric)
        if comparison is not None:
            shown = comparison.shown and section.is_gain(comparison)
            found.better.append((other, comparison)) if shown else found.open.append(other)
    return found


def _beyond(found: _Sorted, word: str) -> Iterator[str]:
    if found.better:
        yield f"It is shown to be {word} than {_differences(found.better)}."
    if found.open:
        yield f"No difference is shown to {named_together(found.open)}."


def _differences(some: Sequence[tuple[Row, Comparison]]) -> str:
    """Write a few tested differences one by one, the range of many."""
    if len(some) <= _FEW:
        return listed([f"{named(row)} by {_tested(comparison)}" for row, comparison in some])
    sizes = sorted((comparison.difference for _, comparison in some), key=abs)
    return f"{named_together([row for row, _ in some])}, by {signed(sizes[0])} to {signed(sizes[-1])}"


def _tested(comparison: Comparison) -> str:
    return f"{difference_text(comparison)} ({p_text(comparison.p_adjusted)})"


def _against_baselines(section: Section, words: Mapping[str, str]) -> Iterator[Statement]:
    rows, baselines = _trained(section.main_rows), _baselines(section.main_rows)
    known = f" Add --method {listed(sorted(words))}." if words else ""
    if rows and not baselines and any(has_gains(run) for row in rows for run in row.runs):
        yield Statement(question="What has pre-training added?", lines=tuple(_gains(section, rows, known)))
    elif rows and not baselines:
        yield Statement(
            question="Does pre-training pay?",
            lines=(f"These runs cannot tell: there is no baseline among them.{known}",),
        )
    for baseline in baselines:
        lines = []
        for name in section.judges:
            found = _sorted_out(section, rows, baseline, name)
            if found.total:
                lines.append(f"{name}: {_in_detail(found)}")
        if lines:
            yield Statement(question=f"Better than {_described(baseline, words)}?", lines=tuple(lines))


def _gains(section: Section, rows: Sequence[Row], known: str) -> Iterator[str]:
    """Say of each row of one run how it differs from the encoder before training."""
    for row in rows:
        if len(row.runs) == 1:
            name = f"{named(row)}, " if len(rows) > 1 else ""
            yield from (f"{name}{line}" for line in gain_statement(row.runs[0], section.judges))
    if any(len(row.runs) > 1 for row in rows):
        yield f"Rows of several seeds are not tested against the encoder before training.{known}"


def _in_detail(found: _Sorted) -> str:
    parts = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        if some:
            parts.append(f"{word} {'is' if len(some) == 1 else 'are'} {_differences(some)}")
    if found.open:
        parts.append(f"no difference is shown for {named_together(found.open)}")
    return f"{'; '.join(parts)}."


def _batch_sizes(section: Section) -> Iterator[Statement]:
    """Compare a method with itself at other batch sizes."""
    rows = _trained(section.main_rows)
    pairs = [(a, b) for a, b in combinations(rows, 2) if a.method == b.method and a.batch_size != b.batch_size]
    lines = []
    for name in section.judges:
        tested = [(a, b, found) for a, b in pairs if (found := section.between(a, b, name))]
        words = [_batch_words(a, b, found, better=section.is_gain(found)) for a, b, found in tested if found.shown]
        if words:
            rest = " Otherwise no difference is shown." if len(words) < len(tested) else ""
            lines.append(f"{name}: {listed(words)}.{rest}")
        elif tested:
            lines.append(f"{name}: no difference is shown between batch sizes of one method.")
    if lines:
        yield Statement(question="Does the batch size matter?", lines=tuple(lines))


def _batch_words(first: Row, second: Row, found: Comparison, *, better: bool) -> str:
    """Say which of two batch sizes of a method is better; ``found`` is how the first differs from the second."""
    word = "better" if better else "worse"
    return f"{first.method} is {word} at {first.batch_size} than at {second.batch_size}, {_tested(found)}"


def _few_labels(section: Section) -> Iterator[Statement]:
    """Say at which shares of the labels some row is better than a baseline, of those that have several shares."""
    several = _with_several_shares(section.rows)
    lines = []
    for method in dict.fromkeys(row.method for row in _baselines(several)):
        for name in section.judges:
            by_verdict: dict[str, list[str]] = {}
            for share in section.fractions:
                rows = [row for row in several if row.label_fraction == share]
                other = next((row for row in rows if row.baseline and row.method == method), None)
                found = _sorted_out(section, _trained(rows), other, name) if other else None
                if found and found.total:
                    by_verdict.setdefault(_verdict(found), []).append(f"{100 * share:g} %")
            if by_verdict:
                text = "; ".join(f"{verdict} at {listed(shares)}" for verdict, shares in by_verdict.items())
                lines.append(f"{name}, against {method}: {text} of the labels.")
    if lines:
        yield Statement(question="With fewer labels?", lines=tuple(lines))


def _with_several_shares(rows: Sequence[Row]) -> list[Row]:
    counts = Counter(row.label_without("label_fraction") for row in rows)
    return [row for row in rows if counts[row.label_without("label_fraction")] > 1]


def _verdict(found: _Sorted) -> str:
    """Say which rows are better, and which worse: by method and variant, the rest of their names being shared."""
    words = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        names = [row.variant or row.method for row, _ in some]
        if len(some) == found.total:
            words.append(f"{'all ' * (found.total > 1)}{word}")
        elif some:
            words.append(f"{listed(names) if len(names) <= _FEW else f'{len(names)} of {found.total}'} {word}")
    return " and ".join(words) or "no difference shown"


def _trained(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.baseline]


def _baselines(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.baseline]


def _described(row: Row, words: Mapping[str, str]) -> str:
    """Name a baseline with what it is: ``random (the untrained encoder)``."""
    meaning = words.get(row.method)
    aside = "; ".join(part for part in (", ".join(fact.text for fact in row.facts), meaning) if part)
    return f"{row.method} ({aside})" if aside else row.method
