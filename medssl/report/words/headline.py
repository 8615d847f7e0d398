"""The headline of a section: a few sentences; the first names the test images, the best row and its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from medssl.errors import counted
from medssl.report.sections import Section
from medssl.report.words.compared import (
    FEW,
    RANKS,
    Sorted,
    baselines_of,
    few_or_count,
    most_word,
    sorted_out,
    tested_aside,
    trained,
)
from medssl.report.words.gains import gain_verdict
from medssl.report.words.wording import difference_text, estimate_text, listed, named, signed
from medssl.study.results.summary import Comparison, Row

__all__ = ["best_sentence", "next_sentence", "tested_on", "verdicts"]

_SHOWN = 6  # differences in a sentence: with more, their intervals are left to the details, so that it fits a screen


def best_sentence(section: Section) -> str:
    """Name the row with the best value of the leading metric, by each evaluator."""
    highest = [(name, *ranked[0]) for name in section.judges if (ranked := section.ranked(name))]
    where = f"On these {tested_on(section)}"
    if not highest:
        return f"{where} there is no result."
    rows = {row.key: row for _, row, _ in highest}
    most, title = most_word(section, section.lead), section.lead_title
    if len(rows) > 1:
        parts = [f"{estimate_text(estimate)} by {name} ({row.label})" for name, row, estimate in highest]
        return f"{where}, the {most} {title} is {listed(parts)}."
    row = highest[0][1]
    values = listed([f"{estimate_text(estimate)} by {name}" for name, _, estimate in highest])
    if len(section.main_rows) > 1:
        return f"{where}, {_with_role(row)} has the {most} {title}: {values}."
    return f"{where}, the {title} of {_with_role(row)} is {values}."


def tested_on(section: Section) -> str:
    """Count what was tested, first what the scores are about: the images of patients, or the patients."""
    test = section.test
    images = counted(test.images, "test image")
    if section.by_group:
        return f"{counted(test.units, test.unit)} with {images}"
    return images + (f" of {counted(test.units, test.unit)}" if test.grouped else "")


def next_sentence(section: Section) -> Iterator[str]:
    """Say how the best row differs from the next, by each evaluator; nothing if the verdicts say the same."""
    by_pair: dict[tuple[str, str], dict[str, Comparison | None]] = {}
    rows = {row.key: row for row in section.main_rows}
    for name in section.judges:
        ranked = section.ranked(name)
        if len(ranked) > 1 and not _in_verdicts(section, ranked[0][0], ranked[1][0]):
            best, next_best = ranked[0][0], ranked[1][0]
            by_pair.setdefault((best.key, next_best.key), {})[name] = section.between(best, next_best, name)
    for (first_key, second_key), tested in by_pair.items():
        first, second = named(rows[first_key]), named(rows[second_key])
        by = "" if len(tested) == len(section.judges) else f"By {listed(list(tested))}, "
        known = {name: found for name, found in tested.items() if found is not None}
        if not known:
            text = f"{'the' if by else 'The'} difference between {first} and the next row, {second}, was not tested"
        elif not any(found.shown for found in known.values()):
            text = f"{first} is not significantly better than the next row, {second} ({_by_test(known)})"
        else:
            shown = {name: found for name, found in known.items() if found.shown}
            others = [name for name in known if name not in shown]
            rest = f", but not by {listed(others)}" if others else ""
            text = f"{first} is significantly better than the next row, {second} ({_by_test(shown)}){rest}"
        yield f"{by}{text}."


def _in_verdicts(section: Section, first: Row, second: Row) -> bool:
    """Whether the verdict on a baseline is about these two rows alone."""
    return len(trained(section.main_rows)) == 1 and first.baseline != second.baseline


def _by_test(tested: Mapping[str, Comparison]) -> str:
    return "; ".join(f"{name}: {tested_aside(found)}" for name, found in tested.items())


def _with_role(row: Row) -> str:
    return f"the baseline {named(row)}" if row.baseline else named(row)


def verdicts(section: Section) -> Iterator[str]:
    """Yield the significant differences from each baseline, over all rows: no row is picked by its test result."""
    rows = trained(section.main_rows)
    if section.single:
        yield from gain_verdict(section.single, section.judges)
    for baseline in baselines_of(section.main_rows):
        tested = {name: sorted_out(section, rows, baseline, name) for name in section.judges}
        tested = {name: found for name, found in tested.items() if found.total}
        what, any_said = named(baseline), False
        for word in ("better", "worse"):
            by_name = {name: (some, found) for name, found in tested.items() if (some := getattr(found, word))}
            if by_name:
                yield f"{_by_evaluator(by_name, f'significantly {word} than {what}')}."
                any_said = True
        if tested and not any_said:
            yield _not_significant(section, rows, baseline, tested, what)
        yield from _verdicts_by_auroc(section, baseline, tested)


def _not_significant(
    section: Section, rows: Sequence[Row], baseline: Row, tested: Mapping[str, Sorted], what: str
) -> str:
    if any(found.total > 1 for found in tested.values()):
        return f"The differences from {what} are not significant ({', '.join(tested)})."
    known = {name: found for name in tested for row in rows if (found := section.between(row, baseline, name))}
    compared = [named(row) for row in rows if any(section.between(row, baseline, name) for name in tested)]
    words = f"between {listed(compared)} and {what}" if len(rows) > 1 else f"from {what}"
    return f"The difference {words} is not significant ({_by_test(known)})."


def _by_evaluator(who: Mapping[str, tuple[Sequence[tuple[Row, Comparison]], Sorted]], what: str) -> str:
    """Write ``dcl is better than x by knn and linear; simclr by mlp`` from rows and their differences by evaluator."""
    names: dict[tuple[str, int], list[str]] = {}
    told = sum(len(some) for some, _ in who.values())
    for name, (some, found) in who.items():
        names.setdefault(few_or_count(some, found), []).append(f"{name} ({_sizes(some, intervals=told <= _SHOWN)})")
    ((first, number), its), *others = names.items()
    start = f"{first} {'is' if number == 1 else 'are'} {what} by {listed(its)}"
    return "; ".join([start, *(f"{rows} by {listed(by)}" for (rows, _), by in others)])


def _sizes(some: Sequence[tuple[Row, Comparison]], *, intervals: bool) -> str:
    """Write one tested difference, or a few with their rows, or the range of many."""
    if len(some) == 1:
        return tested_aside(some[0][1])
    if len(some) > FEW:
        sizes = sorted((found.difference for _, found in some), key=abs)
        return f"{signed(sizes[0])} to {signed(sizes[-1])}"
    return ", ".join(
        f"{named(row)} {difference_text(found) if intervals else signed(found.difference)}" for row, found in some
    )


def _verdicts_by_auroc(section: Section, baseline: Row, by_accuracy: Mapping[str, Sorted]) -> Iterator[str]:
    """Yield the significant differences in AUROC for evaluators without a significant difference in the lead metric."""
    if section.lead == RANKS:
        return
    rows = trained(section.main_rows)
    for word in ("better", "worse"):
        by_name = {}
        for name, found in by_accuracy.items():
            ranking = sorted_out(section, rows, baseline, name, RANKS)
            if (some := getattr(ranking, word)) and not getattr(found, word):
                by_name[name] = (some, ranking)
        if by_name:
            also = "also " if any(getattr(found, word) for found in by_accuracy.values()) else ""
            alone = sum(other.method == baseline.method for other in section.main_rows) == 1
            what = f"{also}significantly {word} than {baseline.method_shown if alone else named(baseline)}"
            yield f"In {section.title_of(RANKS)}, {_by_evaluator(by_name, what)}."
