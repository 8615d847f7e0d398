"""Chooses settings on the validation part; also has the predictor for a training part with a single class.

**By a proper score.** Settings are ranked by log loss unless the evaluator's option ``choose_by`` says otherwise. The
log loss rewards good probabilities (Gneiting & Raftery, Journal of the American Statistical Association 102, 2007), and
all metrics of a result are computed from them. Balanced accuracy only uses the predicted class. With rare classes it
favours few neighbours and weak regularisation, because only noisy probabilities exceed those of a frequent class;
AUROC, calibration and accuracy then become worse. ``auroc`` only needs a good order of the images. It suits rare
classes, for which the log loss mostly measures the frequent class. ``balanced_accuracy`` is the rule of earlier
versions.

**The predicted class is a separate decision.** It is the class with the largest probability. This module does not
choose a threshold.

**Ties go to the simpler model.** Two settings tie when their scores differ by no more than the numerical noise, see
``_NOISE``. Simpler means more neighbours, stronger regularisation, fewer epochs or a lower learning rate. Every
evaluator lists its settings from simple to complex, so the first of several tied settings is chosen.

**If the best setting is at the edge of a list**, a better one may be outside. The result says so. If a setting is cheap
(k of ``knn``, C of ``linear``), the default list of the evaluator is extended step by step, until the best setting is
inside or a bound is reached. A list from the user is never extended: the user requested these values, often to repeat a
published search, and a list with one value is not a search. (A list from the user that equals the default counts as the
default, because the two cannot be distinguished.)

S settings, n validation samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from medssl.contracts import Features, Images, Kept, Predictor, RestoreContext
from medssl.errors import DataError
from medssl_evaluators._scores import Score, has_auroc

__all__ = ["Choice", "ChooseBy", "ConstantPredictor", "Rule", "choose", "one_class_note", "only_class", "steps"]

ChooseBy = Literal["log_loss", "auroc", "balanced_accuracy"]

# log losses come from float32 probabilities: solving one C alone or with others differs by up to 5e-8 on real features;
# the other two count samples, and are exact except for rounding in float64
_NOISE = {"log_loss": 1e-6, "auroc": 1e-9, "balanced_accuracy": 1e-9, "squared_error": 1e-9}


class Rule:
    """Ranks settings by a score.

    Attributes:
        by: The score in use.
        notes: Notes on the score for the reader.

    Args:
        by: The score that the user requests.
        y: Values of the validation part. With a single class, or without a finding that has both outcomes, there is no
            AUROC, and the log loss replaces it. A quantity only has the squared error.
    """

    def __init__(self, by: ChooseBy, y: Tensor) -> None:
        self.by: str = by
        self.notes: tuple[str, ...] = ()
        if y.ndim == 1 and y.is_floating_point():
            self.by = "squared_error"
        elif by == "auroc" and len(y) and not has_auroc(y):
            self.by = "log_loss"
            self.notes = ("The validation part has only one class and no AUROC, so the choice used the log loss.",)

    def better(self, one: Score, other: Score) -> bool:
        """Return whether ``one`` is better by more than the numerical noise."""
        return self._merit(one) > self._merit(other) + _NOISE[self.by]

    def best(self, scores: Sequence[Score]) -> int:
        """Return the first setting that ties with the best; settings are ordered from simple to complex."""
        top = max(scores, key=self._merit)
        return next(i for i, each in enumerate(scores) if not self.better(top, each))

    def _merit(self, score: Score) -> float:
        value = float(getattr(score, self.by))
        return -value if self.by in ("log_loss", "squared_error") else value


@dataclass(frozen=True)
class Choice:
    """The chosen setting.

    Attributes:
        value: The setting.
        selected: For ``Predictor.selected``: ``chosen_by`` and ``tried``, all settings in ascending order; empty if
            there was no choice.
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
        values: Different settings, the simplest first, in ascending or descending order.
        measure: Function that scores some of them.
        rule: Rule that ranks them.
        val: The validation part.
        name: Name of a setting in a note.
        option: The option with the list, for messages.
        beyond: Maps the smallest or largest value so far to the next one outside the list, or to ``None`` at a bound;
            without it the list is never extended.
        ends: Values that cannot be exceeded, so no note is needed.

    Raises:
        DataError: There are several settings and no validation part to choose on.
    """
    if len(values) == 1:
        measure(values)
        return Choice(values[0])
    if not len(val):
        raise DataError(
            f"the validation part is empty, so none of the {len(values)} {option} can be chosen. Settings are never "
            f"chosen on the test part. Add images to the validation part, or give only one value in {option}."
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
    """Return notes if the best setting was at the edge of the list, and whether the list was extended."""
    notes = []
    if len(tried) > len(given):
        added = sorted(set(tried).difference(given))
        notes.append(
            f"The best {name} was at the edge of {option}, so the list was extended by "
            f"{', '.join(f'{value:g}' for value in added)}."
        )
    if best in (0, len(tried) - 1) and tried[best] not in ends:
        edge = "largest" if tried[best] == max(tried) else "smallest"
        notes.append(f"The chosen {name} is the {edge} that was tried; a better one may be outside the list.")
    return tuple(notes)


def steps(values: Sequence[float], mantissas: Sequence[int], smallest: float, largest: float) -> Callable[[Any], Any]:
    """Return the function ``beyond`` for a list that continues in even steps.

    Args:
        values: The list.
        mantissas: Steps within a decade, from 1: ``(1, 3)`` makes ..., 0.3, 1, 3, 10, ...
        smallest: Lower bound; it is tried if a step would pass it.
        largest: Upper bound, in the same way.
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
    """Return the class of a training part with a single class; ``None`` otherwise."""
    if train.y.is_floating_point():
        return None
    first = int(train.y[0])
    return first if bool((train.y == first).all()) else None


class ConstantPredictor(Predictor):
    """Predicts the only class in the training part for all features."""

    form: ClassVar[str] = "one class"

    def __init__(self, label: int, num_classes: int) -> None:
        self.label = label
        self.num_classes = num_classes
        self.notes = (one_class_note(label),)

    def predict(self, x: Tensor) -> Tensor:
        """Map ``(N, F)`` to ``(N, K)``."""
        return F.one_hot(torch.full((len(x),), self.label, device=x.device), self.num_classes).float()

    def keep(self) -> Kept:
        """Return the class."""
        return Kept(settings={"form": self.form, "label": self.label})

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:
        """Build the predictor that :meth:`keep` described."""
        return cls(int(kept.settings["label"]), context.target.outputs)


def one_class_note(label: int) -> str:
    """Return the note for a training part with a single class."""
    return f"The training part has only one class (number {label}); every prediction is this class."
