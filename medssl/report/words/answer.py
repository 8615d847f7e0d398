"""The answer in words. It claims only what the confidence intervals and the corrected tests support.

"Better", "worse", "higher" and "lower" are used for significant differences only. "Highest" is the row with the largest
value; "lowest" replaces it for metrics where low values are better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medssl.errors import counted
from medssl.report.missing import Missing
from medssl.report.sections import Section
from medssl.report.words.headline import best_sentence, next_sentence, verdicts
from medssl.report.words.question import question
from medssl.report.words.statements import Statement, statements
from medssl.report.words.trust import sample_text, too_few_units, trust_text

__all__ = ["Answer", "answer"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a section.

    Attributes:
        question: What the runs were made to find out.
        sample: The size of the test part, the number of seeds and the length of training.
        headline: A few sentences: the best value, how far it is from the next, the differences from the baselines.
        limits: What limits the answer, a sentence or two each.
        statements: The answer in more detail.
    """

    question: str
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
    hopeless = list(too_few_units(section))
    headline = " ".join([best_sentence(section), *(hopeless or [*next_sentence(section), *verdicts(section)])])
    limits = (*_left_out(section, missing), *trust_text(section))
    return Answer(
        question=question(section, baselines),
        sample=sample_text(section),
        headline=headline,
        limits=limits,
        statements=tuple(statements(section, baselines)),
    )


def _left_out(section: Section, missing: Sequence[Missing]) -> Iterator[str]:
    """Say how many runs on this dataset failed or are not finished."""
    own = [run for run in missing if run.dataset in (None, section.rows[0].dataset)]
    failed, unfinished = [m for m in own if m.failure], [m for m in own if not m.failure]
    for some, one, several in (
        (failed, "failed and is", "failed and are"),
        (unfinished, "is not finished and is", "are not finished and are"),
    ):
        if some:
            yield f"{counted(len(some), 'run')} {one if len(some) == 1 else several} not included."
