"""The answer in words. It claims only what the confidence intervals and the corrected tests support.

"Better", "worse", "higher" and "lower" are used for significant differences only. "Highest" is the row with the largest
value; "lowest" replaces it for metrics where low values are better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from medssl.report.missing import Missing
from medssl.report.sections import Section
from medssl.report.words.gains import gain_statement, gain_verdict, has_gains
from medssl.report.words.trust import majority_text, sample_text, too_few_units, trust_text
from medssl.report.words.wording import (
    count,
    difference_text,
    estimate_text,
    listed,
    named,
    named_together,
    p_text,
    same_lines,
    signed,
)
from medssl.study.results.summary import Comparison, Row

__all__ = ["Answer", "Statement", "answer"]

_RANKS = "auroc"  # reported as well, because it does not depend on a decision threshold
_FEW = 3  # a headline names at most this many rows and counts more


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A reader's question with its answer.

    Attributes:
        question: In a few words.
        lines: The answer; evaluators with the same answer share a line.
    """

    question: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a section.

    Attributes:
        sample: The size of the test part, the number of seeds and the length of training.
        headline: Two or three sentences; the first begins with "On this data".
        limits: What limits the answer, a sentence or two each.
        statements: The answer in more detail.
    """

    sample: str
    headline: str
    limits: tuple[str, ...]
    statements: tuple[Statement, ...]


def answer(section: Section, baselines: Mapping[str, str], missing: Sequence[Missing] = ()) -> Answer:
    """Put a section's results into words.

    Args:
        section: Rows with their comparisons.
        baselines: What each known baseline is, in a few words, by the name of its method.
        missing: Runs that belong to the report and have no result.
    """
    statements = [
        _highest(section),
        *_by_auroc(section),
        *_against_baselines(section, baselines),
        *_batch_sizes(section),
        *_few_labels(section),
    ]
    hopeless = list(too_few_units(section))
    headline = " ".join([_best_sentence(section), *(hopeless or _verdicts(section, baselines))])
    limits = (*_left_out(section, missing), *trust_text(section))
    return Answer(sample=sample_text(section), headline=headline, limits=limits, statements=tuple(statements))


def _left_out(section: Section, missing: Sequence[Missing]) -> Iterator[str]:
    """Say how many runs on this dataset failed or are not finished."""
    own = [run for run in missing if run.dataset in (None, section.rows[0].dataset)]
    failed, unfinished = [m for m in own if m.failure], [m for m in own if not m.failure]
    for some, one, several in (
        (failed, "failed and is", "failed and are"),
        (unfinished, "is not finished and is", "are not finished and are"),
    ):
        if some:
            yield f"{count(len(some), 'run')} {one if len(some) == 1 else several} not included."


# ----------------------------------------------------------------------------------------------------------- headline


def _best_sentence(section: Section) -> str:
    highest = [(name, *ranked[0]) for name in section.judges if (ranked := section.ranked(name))]
    if not highest:
        return "On this data there is no result."
    rows = {row.key: row for _, row, _ in highest}
    most, title = _most(section, section.lead), section.lead_title
    if len(rows) > 1:
        parts = [f"{estimate_text(estimate)} by {name} ({row.label})" for name, row, estimate in highest]
        return f"On this data the {most} {title} is {listed(parts)}."
    row = highest[0][1]
    values = listed([f"{estimate_text(estimate)} by {name}" for name, _, estimate in highest])
    if len(section.main_rows) > 1:
        return f"On this data {_with_role(row)} has the {most} {title}: {values}."
    return f"On this data the {title} of {_with_role(row)} is {values}."


def _most(section: Section, metric: str) -> str:
    return "highest" if section.higher_is_better(metric) else "lowest"


def _with_role(row: Row) -> str:
    return f"the baseline {named(row)}" if row.baseline else named(row)


def _verdicts(section: Section, words: Mapping[str, str]) -> Iterator[str]:
    """Yield the significant differences from each baseline, over all rows: no row is picked by its test result."""
    rows = _trained(section.main_rows)
    if section.single:
        yield from gain_verdict(section.single, section.judges)
    for baseline in _baselines(section.main_rows):
        tested = {name: _sorted_out(section, rows, baseline, name) for name in section.judges}
        tested = {name: found for name, found in tested.items() if found.total}
        what, any_said = _described(baseline, words), False
        for word in ("better", "worse"):
            by_name = {name: _who(some, found) for name, found in tested.items() if (some := getattr(found, word))}
            if by_name:
                yield f"{_by_evaluator(by_name, f'significantly {word} than {what}')}."
                any_said = True
        if tested and not any_said:
            several = any(found.total > 1 for found in tested.values())
            differences = "The differences from {} are" if several else "The difference from {} is"
            yield f"{differences.format(what)} not significant ({', '.join(tested)})."
        yield from _verdicts_by_auroc(section, baseline, tested)


def _by_evaluator(who: Mapping[str, tuple[str, int]], what: str) -> str:
    """Write ``dcl is better than x by knn and linear; simclr by mlp`` from rows and their number by evaluator."""
    names: dict[tuple[str, int], list[str]] = {}
    for name, rows in who.items():
        names.setdefault(rows, []).append(name)
    ((first, number), its), *others = names.items()
    start = f"{first} {'is' if number == 1 else 'are'} {what} by {listed(its)}"
    return "; ".join([start, *(f"{rows} by {listed(by)}" for (rows, _), by in others)])


def _verdicts_by_auroc(section: Section, baseline: Row, by_accuracy: Mapping[str, _Sorted]) -> Iterator[str]:
    """Yield the significant differences in AUROC for evaluators without a significant difference in the lead metric."""
    if section.lead == _RANKS:
        return
    rows = _trained(section.main_rows)
    for word in ("better", "worse"):
        by_name = {}
        for name, found in by_accuracy.items():
            ranking = _sorted_out(section, rows, baseline, name, _RANKS)
            if (some := getattr(ranking, word)) and not getattr(found, word):
                by_name[name] = _who(some, ranking)
        if by_name:
            also = "also " if any(getattr(found, word) for found in by_accuracy.values()) else ""
            what = f"{also}significantly {word} than {baseline.method}"
            yield f"In {section.title_of(_RANKS)}, {_by_evaluator(by_name, what)}."


def _who(some: Sequence[tuple[Row, Comparison]], found: _Sorted) -> tuple[str, int]:
    """Name a few rows, count many; return their number too."""
    few = found.total <= _FEW
    return named_together([row for row, _ in some]) if few else f"{len(some)} of {found.total} rows", len(some)


@dataclass(frozen=True, kw_only=True)
class _Sorted:
    """The rows that one evaluator compared with another row; ``open``: no significant difference."""

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
    """Say how the row with the best value compares with the others; the headline gives the values."""
    if len(section.main_rows) == 1:
        return Statement(question="What does guessing reach?", lines=tuple(majority_text(section)))
    lines, most = list(same_lines(_leaders(section, section.lead, value=False))), _most(section, section.lead)
    if len(section.main_rows) > 2:
        rows = count(len(section.main_rows), "row")
        lines.append(f"The best of {rows} is partly chance. Rely on the tested differences.")
    return Statement(
        question=f"Which row has the {most} {section.lead_title}?", lines=(*lines, *majority_text(section))
    )


def _leaders(section: Section, metric: str, *, value: bool) -> Iterator[tuple[str, str]]:
    """Yield, by evaluator, the row with the best value and how it compares with the others."""
    word = "higher" if section.higher_is_better(metric) else "lower"
    for name in section.judges:
        ranked = section.ranked(name, metric)
        if ranked:
            row, estimate = ranked[0]
            found = _reverse(section, row, [other for other, _ in ranked[1:]], name, metric)
            if value:
                yield name, " ".join([f"{named(row)}, {estimate_text(estimate)}.", *_beyond(found, word, "It")])
            elif sentences := list(_beyond(found, word, named(row))):
                yield name, " ".join(sentences)


def _by_auroc(section: Section) -> Iterator[Statement]:
    """Name the row with the best AUROC: accuracy depends on a threshold, and the best one on the mix of classes."""
    if section.lead == _RANKS or len(section.main_rows) == 1:
        return
    lines = tuple(same_lines(_leaders(section, _RANKS, value=True)))
    if lines:
        yield Statement(question=f"Which row has the highest {section.title_of(_RANKS)}?", lines=lines)


def _reverse(section: Section, row: Row, others: Sequence[Row], evaluator: str, metric: str) -> _Sorted:
    """Sort the others by how ``row`` compares with them."""
    found = _Sorted(better=[], worse=[], open=[])
    for other in others:
        comparison = section.between(row, other, evaluator, metric)
        if comparison is not None:
            shown = comparison.shown and section.is_gain(comparison)
            found.better.append((other, comparison)) if shown else found.open.append(other)
    return found


def _beyond(found: _Sorted, word: str, subject: str) -> Iterator[str]:
    """Say which rows the subject is significantly beyond, and from which it does not differ."""
    if found.better:
        yield f"{subject} is significantly {word} than {_differences(found.better)}."
    if found.open:
        name = "It" if found.better else subject
        yield f"{name} does not differ significantly from {named_together(found.open, last='or')}."


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
        yield Statement(question="What does pre-training add?", lines=tuple(_gains(section, rows, known)))
    elif rows and not baselines:
        yield Statement(
            question="Does pre-training help?",
            lines=(f"These runs include no baseline, so this cannot be answered.{known}",),
        )
    for baseline in baselines:
        found = {name: _sorted_out(section, rows, baseline, name) for name in section.judges}
        lines = tuple(same_lines((name, _in_detail(one)) for name, one in found.items() if one.total))
        if lines:
            yield Statement(question=f"Better than {_described(baseline, words)}?", lines=lines)


def _gains(section: Section, rows: Sequence[Row], known: str) -> Iterator[str]:
    """Compare each row of one run with its encoder before training."""
    for row in rows:
        if len(row.runs) == 1:
            name = f"{named(row)}, " if len(rows) > 1 else ""
            yield from (f"{name}{line}" for line in gain_statement(row.runs[0], section.judges))
    if any(len(row.runs) > 1 for row in rows):
        yield f"Rows of several seeds are not compared with the encoder before training.{known}"


def _in_detail(found: _Sorted) -> str:
    parts = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        if some:
            parts.append(f"significantly {word}: {_differences(some)}")
    if found.open:
        parts.append(f"no significant difference: {named_together(found.open)}")
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
            rest = " The other differences are not significant." if len(words) < len(tested) else ""
            lines.append((name, f"{listed(words)}.{rest}"))
        elif tested:
            lines.append((name, "no method differs significantly between batch sizes."))
    if lines:
        yield Statement(question="Does the batch size matter?", lines=tuple(same_lines(lines)))


def _batch_words(first: Row, second: Row, found: Comparison, *, better: bool) -> str:
    """Say which of two batch sizes of a method is better; ``found`` is the first minus the second."""
    word = "better" if better else "worse"
    sizes = f"at batch size {first.batch_size} than at {second.batch_size}"
    return f"{first.method} is significantly {word} {sizes}, {_tested(found)}"


def _few_labels(section: Section) -> Iterator[Statement]:
    """Compare rows with baselines at each share of the labels, where there are several shares."""
    several = _with_several_shares(section.rows)
    lines: list[tuple[str, str]] = []
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
                lines.append((name, f"compared with {method}, {text} of the labels."))
    if lines:
        yield Statement(question="With fewer labels?", lines=tuple(same_lines(lines)))


def _with_several_shares(rows: Sequence[Row]) -> list[Row]:
    counts = Counter(row.label_without("label_fraction") for row in rows)
    return [row for row in rows if counts[row.label_without("label_fraction")] > 1]


def _verdict(found: _Sorted) -> str:
    """Say which rows are significantly better and worse, by method and variant."""
    words = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        names = [row.variant or row.method for row, _ in some]
        if len(some) == found.total:
            words.append(f"{'all ' * (found.total > 1)}significantly {word}")
        elif some:
            words.append(
                f"{listed(names) if len(names) <= _FEW else f'{len(names)} of {found.total}'} significantly {word}"
            )
    return " and ".join(words) or "no significant difference"


def _trained(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.baseline]


def _baselines(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.baseline]


def _described(row: Row, words: Mapping[str, str]) -> str:
    """Name a baseline with what it is: ``random (the untrained encoder)``."""
    meaning = words.get(row.method)
    aside = "; ".join(part for part in (", ".join(fact.text for fact in row.facts), meaning) if part)
    return f"{row.method} ({aside})" if aside else row.method
