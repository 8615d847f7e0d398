"""The answers of a section to single questions, below its headline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from medssl.errors import counted
from medssl.report.sections import Section
from medssl.report.words.compared import (
    FEW,
    RANKS,
    Sorted,
    baselines_of,
    described,
    differences,
    most_word,
    sorted_out,
    tested_text,
    trained,
)
from medssl.report.words.gains import gain_statement, has_gains
from medssl.report.words.trust import majority_text
from medssl.report.words.wording import estimate_text, listed, named, named_together, same_lines
from medssl.study.results.summary import Comparison, Row

__all__ = ["Statement", "statements"]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A reader's question with its answer.

    Attributes:
        question: In a few words.
        lines: The answer; evaluators with the same answer share a line.
    """

    question: str
    lines: tuple[str, ...]


def statements(section: Section, baselines: Mapping[str, str]) -> Iterator[Statement]:
    """Answer each question that the rows of a section allow.

    Args:
        section: Rows with their comparisons.
        baselines: What each known baseline is, in a few words, by the name of its method.
    """
    yield _highest(section)
    yield from _by_auroc(section)
    yield from _against_baselines(section, baselines)
    yield from _batch_sizes(section)
    yield from _few_labels(section)


def _highest(section: Section) -> Statement:
    """Say how the row with the best value compares with the others; the headline gives the values."""
    if len(section.main_rows) == 1:
        return Statement(question="What does guessing reach?", lines=tuple(majority_text(section)))
    lines, most = list(same_lines(_leaders(section, section.lead, value=False))), most_word(section, section.lead)
    if len(section.main_rows) > 2:
        rows = counted(len(section.main_rows), "row")
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
    if section.lead == RANKS or len(section.main_rows) == 1:
        return
    lines = tuple(same_lines(_leaders(section, RANKS, value=True)))
    if lines:
        yield Statement(question=f"Which row has the highest {section.title_of(RANKS)}?", lines=lines)


def _reverse(section: Section, row: Row, others: Sequence[Row], evaluator: str, metric: str) -> Sorted:
    """Sort the others by how ``row`` compares with them."""
    found = Sorted(better=[], worse=[], open=[])
    for other in others:
        comparison = section.between(row, other, evaluator, metric)
        if comparison is not None:
            shown = comparison.shown and section.is_gain(comparison)
            found.better.append((other, comparison)) if shown else found.open.append(other)
    return found


def _beyond(found: Sorted, word: str, subject: str) -> Iterator[str]:
    """Say which rows the subject is significantly beyond, and from which it does not differ."""
    if found.better:
        yield f"{subject} is significantly {word} than {differences(found.better)}."
    if found.open:
        name = "It" if found.better else subject
        yield f"{name} does not differ significantly from {named_together(found.open, last='or')}."


def _against_baselines(section: Section, words: Mapping[str, str]) -> Iterator[Statement]:
    rows, baselines = trained(section.main_rows), baselines_of(section.main_rows)
    known = f" Add --method {listed(sorted(words))}." if words else ""
    if rows and not baselines and any(has_gains(run) for row in rows for run in row.runs):
        yield Statement(question="What does pre-training add?", lines=tuple(_gains(section, rows, known)))
    elif rows and not baselines:
        yield Statement(
            question="Does pre-training help?",
            lines=(f"These runs include no baseline, so this cannot be answered.{known}",),
        )
    for baseline in baselines:
        found = {name: sorted_out(section, rows, baseline, name) for name in section.judges}
        lines = tuple(same_lines((name, _in_detail(one)) for name, one in found.items() if one.total))
        if lines:
            yield Statement(question=f"Better than {described(baseline, words)}?", lines=lines)


def _gains(section: Section, rows: Sequence[Row], known: str) -> Iterator[str]:
    """Compare each row of one run with its encoder before training."""
    for row in rows:
        if len(row.runs) == 1:
            name = f"{named(row)}, " if len(rows) > 1 else ""
            yield from (f"{name}{line}" for line in gain_statement(row.runs[0], section.judges))
    if any(len(row.runs) > 1 for row in rows):
        yield f"Rows of several seeds are not compared with the encoder before training.{known}"


def _in_detail(found: Sorted) -> str:
    parts = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        if some:
            parts.append(f"significantly {word}: {differences(some)}")
    if found.open:
        parts.append(f"no significant difference: {named_together(found.open)}")
    return f"{'; '.join(parts)}."


def _batch_sizes(section: Section) -> Iterator[Statement]:
    """Compare a method with itself at other batch sizes."""
    rows = trained(section.main_rows)
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
    return f"{first.method} is significantly {word} {sizes}, {tested_text(found)}"


def _few_labels(section: Section) -> Iterator[Statement]:
    """Compare rows with baselines at each share of the labels, where there are several shares."""
    several = _with_several_shares(section.rows)
    lines: list[tuple[str, str]] = []
    kinds = {_without_share(row): row.method_shown for row in baselines_of(several)}
    for kind, method in kinds.items():
        shown = method if list(kinds.values()).count(method) == 1 else kind
        for name in section.judges:
            by_verdict: dict[str, list[str]] = {}
            for share in section.fractions:
                rows = [row for row in several if row.label_fraction == share]
                other = next((row for row in rows if row.baseline and _without_share(row) == kind), None)
                found = sorted_out(section, trained(rows), other, name) if other else None
                if found and found.total:
                    by_verdict.setdefault(_verdict(found), []).append(f"{100 * share:g} %")
            if by_verdict:
                text = "; ".join(f"{verdict} at {listed(shares)}" for verdict, shares in by_verdict.items())
                lines.append((name, f"compared with {shown}, {text} of the labels."))
    if lines:
        yield Statement(question="With fewer labels?", lines=tuple(same_lines(lines)))


def _with_several_shares(rows: Sequence[Row]) -> list[Row]:
    counts = Counter(_without_share(row) for row in rows)
    return [row for row in rows if counts[_without_share(row)] > 1]


def _without_share(row: Row) -> str:
    return row.label_without("label_fraction")


def _verdict(found: Sorted) -> str:
    """Say which rows are significantly better and worse, by method and variant."""
    words = []
    for some, word in ((found.better, "better"), (found.worse, "worse")):
        names = [row.variant or row.method_shown for row, _ in some]
        if len(some) == found.total:
            words.append(f"{'all ' * (found.total > 1)}significantly {word}")
        elif some:
            words.append(
                f"{listed(names) if len(names) <= FEW else f'{len(names)} of {found.total}'} significantly {word}"
            )
    return " and ".join(words) or "no significant difference"
