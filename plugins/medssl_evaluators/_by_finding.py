"""Treats findings one by one: each is a two-class problem on the samples for which it is known.

K findings, N samples of a part, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from medssl.contracts import Classes, Features, Kept, Predictor, RestoreContext
from medssl.errors import shorten
from medssl_evaluators._keeping import Form, affine, inner, nested, restore_form

__all__ = ["EachFinding", "fit_each_finding", "known_of"]

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
    return EachFinding(heads, train.target.output_names)


def _why(own: Features) -> str:
    if not len(own):
        return "is not known for any training image"
    return f"is {_OUTCOMES.names[int(own.y[0])]} in every training image for which it is known"


class _Constant(Predictor):
    """Predicts the same probability of a finding for all features."""

    form: ClassVar[str] = "one probability"

    def __init__(self, present: float, why: str = "") -> None:
        self.present = present
        self.notes = (f"It {why}, so it gets one probability for every image.",)

    def predict(self, x: Tensor) -> Tensor:
        """Map ``(N, F)`` to the probabilities of absence and presence ``(N, 2)``."""
        return torch.tensor([1 - self.present, self.present], device=x.device).repeat(len(x), 1)

    def keep(self) -> Kept:
        """Return the probability."""
        return Kept(settings={"form": self.form, "present": self.present})

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:  # noqa: ARG003  (of a single finding)
        """Build the predictor that :meth:`keep` described."""
        return cls(float(kept.settings["present"]))


class EachFinding(Predictor):
    """K predictors of two classes."""

    form: ClassVar[str] = "one head for each finding"
    heads_of: ClassVar[tuple[type[Form], ...]] = ()

    def __init__(self, heads: Sequence[Predictor], names: Sequence[str]) -> None:
        self.heads = heads
        self.selected = _by_setting(heads, names)
        self.notes = tuple(_joined(heads, names))
        suffixes = dict.fromkeys(suffix for head in heads for suffix in head.also)
        self.also = {suffix: EachFinding([_other(head, suffix) for head in heads], names) for suffix in suffixes}

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to the probability of each finding ``(N, K)``."""
        return torch.stack([head.predict(x)[:, 1] for head in self.heads], dim=1)

    @classmethod
    def of(cls, *heads: type[Form]) -> type[Self]:
        """Return this class for heads of these forms, to restore them."""
        return type(cls.__name__, (cls,), {"heads_of": (*heads, _Constant)})

    def keep(self) -> Kept | None:
        """Return what the heads keep; ``None`` if one of them cannot be kept."""
        kept = {str(k): head.keep() for k, head in enumerate(self.heads)}
        return nested(self.form, {name: each for name, each in kept.items() if each}) if all(kept.values()) else None

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:
        """Build the heads that :meth:`keep` described."""
        heads = [restore_form(each, context, *cls.heads_of) for each in inner(kept).values()]
        return cls(heads, context.target.output_names)

    def module(self) -> nn.Module | None:
        """Return a linear layer and a sigmoid, if every head is linear or constant; else ``None``."""
        layers = [_difference(head) for head in self.heads]
        width = next((row.numel() for row, _ in filter(None, layers) if row.numel()), 0)
        if not width or None in layers:
            return None
        rows = [row if row.numel() else row.new_zeros(width) for row, _ in filter(None, layers)]
        biases = [bias for _, bias in filter(None, layers)]
        return nn.Sequential(affine(torch.stack(rows), torch.stack(biases)), nn.Sigmoid())


def _difference(head: Predictor) -> tuple[Tensor, Tensor] | None:
    """Return weights ``(F,)`` and bias of the logit of presence: the difference of a softmax's two logits.

    A constant head has no weights: ``(0,)``. ``None``: the head is not linear.
    """
    if isinstance(head, _Constant):
        return torch.empty(0), torch.tensor(head.present).logit()
    module = head.module()
    if not (isinstance(module, nn.Sequential) and isinstance(linear := module[0], nn.Linear) and len(module) == 2):
        return None
    return linear.weight[1] - linear.weight[0], linear.bias[1] - linear.bias[0]


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
    return [f"{shorten(those)}: {note}" for note, those in about.items()]
