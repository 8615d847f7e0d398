"""What readers of image files hand over: suffixes, numbers of frames, facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import StringConstraints

from medssl.contracts.crossing.values import dataclass_problems, plain_problem, type_problems, word
from medssl.contracts.readers import Agreement, FileFacts

__all__ = ["chosen_problems", "facts_problems", "suffixes_problems"]

_FileSuffix = Annotated[str, StringConstraints(pattern=r"^(\.[a-z0-9_+-]+){1,2}$")]


def suffixes_problems(suffixes: object) -> list[str]:
    """Check ``suffixes`` of a reader: a set of texts in lower case, each with its dot."""
    return type_problems(suffixes, frozenset[_FileSuffix], "a frozenset of texts such as '.png'", "suffixes")


def chosen_problems(chosen: object, count: int) -> list[str]:
    """Check the result of ``chosen``: numbers of frames below the count, each once."""
    frames = list(chosen) if isinstance(chosen, Sequence) else [chosen]
    right = all(isinstance(each, int) and 0 <= each < count for each in frames) and len(set(frames)) == len(frames)
    return [] if right else [f"the result must be numbers of frames below {count}, each once, but is {word(chosen)}"]


def facts_problems(facts: object) -> list[str]:
    """Check the result of ``facts`` of a reader: a FileFacts."""
    if (found := dataclass_problems(facts, FileFacts)) or not isinstance(facts, FileFacts):
        return found
    found = [each for agreement in facts.agree for each in dataclass_problems(agreement, Agreement)]
    plain = not any(map(plain_problem, facts.values.values()))
    return found if plain else [*found, "values must be plain, finite values by name"]
