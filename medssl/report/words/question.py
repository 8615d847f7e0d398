"""The question that a section answers, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medssl.contracts.targets import Classes, Findings, Grades, Quantity, Target
from medssl.errors import counted
from medssl.report.sections import Section
from medssl.report.words.compared import baselines_of, described, trained
from medssl.report.words.gains import has_gains
from medssl.report.words.wording import listed
from medssl.study.results.summary import Row

__all__ = ["question"]


def question(section: Section, words: Mapping[str, str]) -> str:
    """Write the question of a section.

    Args:
        section: Rows with their comparisons.
        words: What each known baseline is, in a few words, by the name of its method.
    """
    rows, baselines = trained(section.main_rows), baselines_of(section.main_rows)
    task = _task(section.data.target)
    if not section.evaluators:
        return f"What do the features of {_methods(section.main_rows)} look like? No label says what is right."
    if rows and baselines:
        others = listed([described(row, words) for row in baselines])
        return f"Does pre-training with {_methods(rows, 'or')} help to {task}, compared with {others}?"
    if len(section.main_rows) > 1:
        return (
            f"Which of {counted(len(section.main_rows), 'row')} is best to {task}: {_methods(section.main_rows, 'or')}?"
        )
    row = section.main_rows[0]
    if section.single and has_gains(section.single):
        return f"Does pre-training with {row.method} help to {task}?"
    named = described(row, words) if row.baseline else f"an encoder from {row.method}"
    return f"How well does {named} {task}?"


def _methods(rows: Sequence[Row], last: str = "and") -> str:
    """Name the methods of rows without their settings."""
    return listed(list(dict.fromkeys(row.method_shown for row in rows)), last)


def _task(target: Target) -> str:
    if isinstance(target, Quantity):
        return f"predict a number ({target.unit})"
    if isinstance(target, Findings):
        return f"detect {target.names[0] if target.outputs == 1 else counted(target.outputs, 'finding')}"
    if isinstance(target, Grades):
        return f"predict {counted(target.outputs, 'grade')} ({target.names[0]} to {target.names[-1]})"
    if isinstance(target, Classes) and target.outputs == 2:
        positive = target.positive_index
        return f"tell {target.names[positive]} from {target.names[1 - positive]}"
    return f"tell {target.outputs} classes apart"
