"""What evaluators hand over: outcomes, predictions, rankings and observations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from medssl.contracts.crossing.values import LONGEST_NOTE, plain_problem, word
from medssl.contracts.evaluators import Observation, Observer, Outcome, Predictor, Ranker
from medssl.contracts.targets import Target

__all__ = ["observation_problems", "outcome_problems", "prediction_problems", "ranking_problems"]

_MOST_OUTCOMES = 1000  # of one evaluator
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=-]{0,99}")
_NUMBERS = (torch.float32, torch.float64)


def outcome_problems(outcome: object) -> list[str]:
    """Check what ``fit`` returned: its type, ``selected``, ``notes`` and every further outcome in ``also``.

    Args:
        outcome: Should be a Predictor, a Ranker or an Observer.
    """
    found: list[str] = []
    _check_outcome(outcome, "", (), found)
    return found


def _check_outcome(outcome: object, prefix: str, above: tuple[int, ...], found: list[str]) -> None:
    if not isinstance(outcome, Predictor | Ranker | Observer):
        found.append(f"{prefix or 'the result '}must be a Predictor, a Ranker or an Observer, but is {word(outcome)}")
        return
    found.extend(f"{prefix}{text}" for text in _remark_problems(outcome))
    also: object = outcome.also
    if not isinstance(also, Mapping):
        found.append(f"{prefix}also must be a mapping of outcomes by suffix, but is {word(also)}")
        return
    if id(outcome) in above or len(above) > 20 or len(also) > _MOST_OUTCOMES:
        found.append(f"{prefix}also contains itself, or has too many outcomes")
        return
    for suffix, other in also.items():
        if not isinstance(suffix, str) or not _SUFFIX.fullmatch(suffix):
            found.append(f"{prefix}the suffix {suffix!r:.60} in also must be letters, digits, _, -, +, = and dots")
        else:
            _check_outcome(other, f"{prefix}also['{suffix}']: ", (*above, id(outcome)), found)


def _remark_problems(outcome: Outcome) -> Iterator[str]:
    selected: object = outcome.selected
    if not isinstance(selected, Mapping):
        yield f"selected must be a mapping of plain values by name, but is {word(selected)}"
    else:
        for name, value in selected.items():
            if not isinstance(name, str):
                yield f"the name {name!r:.60} in selected must be a text"
            elif problem := plain_problem(value):
                yield f"selected['{name:.60}'] must be a plain, finite value, but is {problem}"
    notes: object = outcome.notes
    if isinstance(notes, str) or not isinstance(notes, Sequence):
        yield f"notes must be a list of sentences, but is {word(notes)}"
    elif strangers := [note for note in notes if not isinstance(note, str) or len(note) > LONGEST_NOTE]:
        yield f"notes must be sentences, but has {word(strangers[0])}"


def prediction_problems(prediction: object, target: Target, n: int) -> list[str]:
    """Check the result of ``predict`` for n samples.

    Args:
        prediction: Should be ``(n, O)`` float, finite, as :meth:`~medssl.contracts.targets.Target.prediction_error`
            demands.
        target: What is predicted.
        n: Number of samples.
    """
    found = list(_tensor_problems(prediction, "the result", (n, target.outputs), _NUMBERS))
    if not found and isinstance(prediction, Tensor) and (error := target.prediction_error(prediction.numpy())):
        found.append(error)
    return found


def ranking_problems(ranking: object, n: int, ranked: int) -> list[str]:
    """Check the result of ``rank`` for n samples: ``(n, M)`` int64, each row with all M training samples."""
    found = list(_tensor_problems(ranking, "the result", (n, ranked), (torch.int64,)))
    if not found and isinstance(ranking, Tensor):
        every = torch.arange(ranked).expand(n, ranked)
        if not torch.equal(ranking.sort(dim=1).values, every):
            found.append(f"each row must contain each of the {ranked} training samples once")
    return found


def observation_problems(seen: object, n: int) -> list[str]:
    """Check the result of ``observe`` for n samples: numbers by name, and arrays of n rows by name."""
    if not isinstance(seen, Observation):
        return [f"the result must be an Observation, but is {word(seen)}"]
    values: object = seen.values
    arrays: object = seen.arrays
    found = []
    if not isinstance(values, Mapping):
        found.append(f"values must be a mapping of numbers by name, but is {word(values)}")
    else:
        for name, value in values.items():
            number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
            if not isinstance(name, str) or not number:
                found.append(f"values[{name!r:.60}] must be a number under a name, but is {word(value)}")
    if not isinstance(arrays, Mapping):
        return [*found, f"arrays must be a mapping of arrays by name, but is {word(arrays)}"]
    for name, array in arrays.items():
        right = isinstance(array, np.ndarray) and array.dtype.kind in "biufU" and array.ndim > 0
        if not isinstance(name, str) or not _SUFFIX.fullmatch(name) or not right:
            found.append(f"arrays[{name!r:.60}] must be an array of numbers or texts, but is {word(array)}")
        elif len(array) != n:
            found.append(f"arrays['{name}'] must have one row for each of {n} test images, but has {len(array)}")
        elif array.dtype.kind == "f" and np.isinf(array).any():
            found.append(f"arrays['{name}'] must be finite")
    return found


def _tensor_problems(value: object, what: str, shape: tuple[int, ...], types: Sequence[torch.dtype]) -> Iterator[str]:
    if not isinstance(value, Tensor):
        yield f"{what} must be a tensor, but is {word(value)}"
        return
    if value.layout != torch.strided or value.is_nested or value.is_quantized:
        yield f"{what} must be a plain tensor, but is sparse, nested or quantised"
        return
    if tuple(value.shape) != shape:
        yield f"{what} must have the shape {shape}, but has {tuple(value.shape)}"
    if value.dtype not in types:
        wanted = " or ".join(str(each).removeprefix("torch.") for each in types)
        yield f"{what} must be {wanted}, but is {str(value.dtype).removeprefix('torch.')}"
    if value.device.type != "cpu":
        yield f"{what} must be on the processor, but is on {value.device}"
    elif value.requires_grad:
        yield f"{what} must have no gradient; detach it, or compute it under torch.no_grad()"
