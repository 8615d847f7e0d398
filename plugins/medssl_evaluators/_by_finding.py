"""Treats findings one by one: each is a two-class problem on the samples for which it is known.

K findings, N samples of a part, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medssl.contracts import Classes, Features, Predictor

__all__ = ["fit_each_finding", "known_of"]

_OUTCOMES = Classes(("absent", "present"))


def known_of(part: Features, finding: int) -> Features:
    """Return the samples for which a finding is known, with the classes absent and present."""
    y = part.y[:, finding]
    known = ~y.isnan()
    return Features(x=part.x[known], y=y[known].long(), target=_OUTCOMES)


def fit_each_finding(fit: Callable[[Features, Features], Predictor], train: Features, val: Features) -> Predictor:
    """Fit every finding separately.

    A finding gets the same probability for every image if it has only one outcome in training, or if it is unknown in a
    validation part in which others are known. This probability follows Laplace's rule of succession: the counts, plus
    one present and one absent image.

    Args:
        fit: Fits two classes.
        train: Training part with findings.
        val: Validation part; empty only if ``fit`` works without one.
    """
    heads: list[Predictor] = []
    for finding in range(train.target.outputs):
        own, judged = known_of(train, finding), known_of(val, finding)
        unjudged = len(val) > 0 and not len(judged)
        if len(own.y.unique()) < 2 or unjudged:
            present = (float(own.y.sum()) + 1) / (len(own) + 2)
            heads.append(_Constant(present, "has no known validation image" if unjudged else _why(own)))
        else:
            heads.append(fit(own, judged))
    return _EachFinding(heads, train.target.output_names)


def _why(own: Features) -> str:
    if not len(own):
        return "is not known for any training image"
    return f"is {_OUTCOMES.names[int(own.y[0])]} in every training image for which it is known"


class _Constant(Predictor):
    """Predicts the same probability of a finding for all features."""

    def __init__(self, present: float, why: str) -> None:
        self.present = present
        self.notes = (f"It {why}, so it gets one probability for every image.",)

    def predict(self, x: Tensor) -> Tensor:
        """Map ``(N, F)`` to the probabilities of absence and presence ``(N, 2)``."""
        return torch.tensor([1 - self.present, self.present], device=x.device).repeat(len(x), 1)


class _EachFinding(Predictor):
    """K predictors of two classes."""

    def __init__(self, heads: Sequence[Predictor], names: Sequence[str]) -> None:
        self.heads = heads
        self.selected = _by_setting(heads, names)
        self.notes = tuple(_joined(heads, names))
        suffixes = dict.fromkeys(suffix for head in heads for suffix in head.also)
        self.also = {suffix: _EachFinding([_other(head, suffix) for head in heads], names) for suffix in suffixes}

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to the probability of each finding ``(N, K)``."""
        return torch.stack([head.predict(x)[:, 1] for head in self.heads], dim=1)


def _other(head: Predictor, suffix: str) -> Predictor:
    other = head.also.get(suffix)
    return other if isinstance(other, Predictor) else head


def _by_setting(heads: Sequence[Predictor], names: Sequence[str]) -> dict[str, Any]:
    """Return the chosen values by setting: by finding, or a single value if it is the same for all."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for head in heads for key in head.selected):
        values: Mapping[str, Any] = {
            name: head.selected[key] for name, head in zip(names, heads, strict=True) if key in head.selected
        }
        first = next(iter(values.values()))
        alike = not key.startswith("val_") and all(value == first for value in values.values())
        found[key] = first if alike else values
    return found


def _joined(heads: Sequence[Predictor], names: Sequence[str]) -> list[str]:
    """Return every note once, with the findings to which it applies."""
    about: dict[str, list[str]] = {}
    for name, head in zip(names, heads, strict=True):
        for note in head.notes:
            about.setdefault(note, []).append(name)
    return [f"{', '.join(those)}: {note}" for note, those in about.items()]
