"""Choosing one of several settings on the validation part, and the predictor for a training part of one class.

**By a proper score.** Settings are ranked by log loss unless the evaluator's option ``choose_by`` says otherwise. The
log loss asks for good probabilities (Gneiting & Raftery, Journal of the American Statistical Association 102, 2007),
and everything else that a result holds is computed from them. Balanced accuracy looks only at the predicted class.
With rare classes it favours few neighbours and weak regularisation, because only noisy probabilities ever exceed those
of a frequent class; AUROC, calibration and accuracy then suffer. ``auroc`` asks for a good order of the images only;
it suits rare classes, where the log loss is mostly that of the frequent class. ``balanced_accuracy`` is the rule of
earlier versions.

**The class is decided apart.** The predicted class is the one of the largest probability. Nothing here chooses a
threshold.

**Ties go to the simpler model.** Two settings tie when their scores differ by no more than the numerical noise, see
``_NOISE``. Simpler is: more neighbours; stronger regularisation; fewer epochs; a lower learning rate. Every evaluator
lists its settings from the simplest on, so that the first of several equals is taken.

**At the edge of a list** the best setting may lie beyond. The result says so. Where a setting costs little (k of
``knn``, C of ``linear``), the evaluator's own default list is then extended step by step, until the best lies inside
or a bound is reached. A list that the user gives is never extended: these values were asked for, often to repeat a
published search, and a list of one value is no search at all. (A given list that equals the default one counts as the
default: the two cannot be told apart.)

S settings, n validation samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from medssl.contracts import Features, Images, Predictor
from medssl.errors import DataError
from medssl_evaluators._scores import Score, has_auroc

__all__ = ["Choice", "ChooseBy", "ConstantPredictor", "Rule", "choose", "one_class_note", "only_class", "steps"]

ChooseBy = Literal["log_loss", "auroc", "balanced_accuracy"]

# log losses come from float32 probabilities: one C solved alone or among others differs by up to 5e-8 on real features;
# the other two count samples, and are exact but for rounding in float64
_NOISE = {"log_loss": 1e-6, "auroc": 1e-9, "balanced_accuracy": 1e-9, "squared_error": 1e-9}


class Rule:
    """Ranks settings by one score.

    Attributes:
        by: The score in use.
        notes: What the reader must know of it.

    Args:
        by: The score that the user wants.
        y: Of the validation part. With a single class in it, or without a finding that has both outcomes, there is no
            AUROC, and the log loss takes its place. A quantity has the squared error alone.
    """

    def __init__(self, by: ChooseBy, y: Tensor) -> None:
        self.by: str = by
        self.notes: tuple[str, ...] = ()
        if y.ndim == 1 and y.is_floating_point():
            self.by = "squared_error"
        elif by == "auroc" and len(y) and not has_auroc(y):
            self.by = "log_loss"
            self.notes = ("The validation part holds one class only and has no AUROC, so the log loss chose.",)

    def better(self, one: Score, other: Score) -> bool:
        """Return whether ``one`` is better by more than the numerical noise."""
        return self._merit(one) > self._merit(other) + _NOISE[self.by]

    def best(self, scores: Sequence[Score]) -> int:
        """Return the first setting that ties with the best; settings are ordered from the simplest on."""
        top = max(scores, key=self._merit)
        return next(i for i, each in enumerate(scores) if not self.better(top, each))

    def _merit(self, score: Score) -> float:
        value = float(getattr(score, self.by))
        return -value if self.by in ("log_loss", "squared_error") else value


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        value: The setting.
        selected: For ``Predictor.selected``: ``chosen_by`` and ``tried``, all settings in ascending order; nothing
            where there was no choice.
        notes: For ``Predictor.notes``.
    """

    value: Any
    selected: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def choose(
    values: Sequence[Any],
    measure: Callable[[Sequence[Any]], Sequence[Score]],
    *,
    rule: Rule,
    val: Features | Images,
    name: str,
    option: str,
    beyond: Callable[[Any], Any | None] | None = None,
    ends: Sequence[Any] = (),
) -> Choice:
    """Choose one of several settings.

    Args:
        values: Different settings, the simplest first: all ascending or all descending.
        measure: Scores some of them.
        rule: How they are ranked.
        val: The validation part.
        name: What a setting is called in a note.
        option: The option that holds the list, for messages.
        beyond: Maps the smallest or largest value so far to the next one outside the list, or to ``None`` at a bound;
            without it the list is never extended.
        ends: Values beyond which there is nothing, so that no note is needed.

    Raises:
        DataError: There are several settings and no validation part to choose on.
    """
    if len(values) == 1:
        measure(values)
        return Choice(values[0])
    if not len(val):
        raise DataError(
            f"the validation part is empty, so none of the {len(values)} {option} can be chosen. Settings are never "
            f"chosen on the test part. Give the validation part images, or name one value in {option}."
        )
    ascending = values[0] < values[-1]
    tried = list(values)
    scores = list(measure(tried))
    while True:
        best = rule.best(scores)
        following = beyond(tried[best]) if beyond and best in (0, len(tried) - 1) else None
        if following is None:
            break
        at = 0 if best == 0 else len(tried)
        tried.insert(at, following)
        scores.insert(at, *measure([following]))
    notes = (*rule.notes, *_edge_notes(values, tried, best, name, option, ends))
    order = tried if ascending else tried[::-1]
    return Choice(tried[best], {"chosen_by": rule.by, "tried": order}, notes)


def _edge_notes(
    given: Sequence[Any], tried: Sequence[Any], best: int, name: str, option: str, ends: Sequence[Any]
) -> tuple[str, ...]:
    """Say that the best lay at the edge of the list, and what was done about it."""
    notes = []
    if len(tried) > len(given):
        added = sorted(set(tried).difference(given))
        notes.append(
            f"The best {name} lay at the edge of {option}, so the list was extended by "
            f"{', '.join(f'{value:g}' for value in added)}."
        )
    if best in (0, len(tried) - 1) and tried[best] not in ends:
        edge = "largest" if tried[best] == max(tried) else "smallest"
        notes.append(f"The chosen {name} is the {edge} that was tried; the best one may lie beyond.")
    return tuple(notes)


def steps(values: Sequence[float], mantissas: Sequence[int], smallest: float, largest: float) -> Callable[[Any], Any]:
    """Return the function ``beyond`` of a list that goes on in even steps.

    Args:
        values: The list.
        mantissas: Steps within a decade, from 1: ``(1, 3)`` makes ..., 0.3, 1, 3, 10, ...
        smallest: Bound. Tried itself where a step would pass it.
        largest: Bound, likewise.
    """
    high = max(values)

    def beyond(value: float) -> float | None:
        """Return the next step below the smallest or above the largest value so far."""
        up = value >= high
        end = largest if up else smallest
        if value >= end if up else value <= end:
            return None
        decade = math.floor(math.log10(value))
        grid = [float(f"{m}e{d}") for d in range(decade - 1, decade + 2) for m in mantissas]
        return min(end, *(g for g in grid if g > value)) if up else max(end, *(g for g in grid if g < value))

    return beyond


def only_class(train: Features | Images) -> int | None:
    """Return the class of a training part that has one only; ``None`` where there are no classes."""
    if train.y.is_floating_point():
        return None
    first = int(train.y[0])
    return first if bool((train.y == first).all()) else None


class ConstantPredictor(Predictor):
    """Predicts the one class that there is in training, whatever the features."""

    def __init__(self, label: int, num_classes: int) -> None:
        self.label = label
        self.num_classes = num_classes
        self.notes = (one_class_note(label),)

    def predict(self, x: Tensor) -> Tensor:
        """Map ``(N, F)`` to ``(N, K)``."""
        return F.one_hot(torch.full((len(x),), self.label, device=x.device), self.num_classes).float()


def one_class_note(label: int) -> str:
    """Return the sentence that goes with a training part of one class."""
    return f"The training part holds one class only (number {label}); every prediction is that class."
