"""Fitted heads as plain data, and back; and heads as modules of standard layers.

Each kind of head has a name, its form, which is written beside its tensors. An evaluator restores the forms that its
``fit`` may return: a linear probe, for instance, or one probability for every image.

N samples, F features, O outputs of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from medssl.contracts import Kept, Predictor, RestoreContext

__all__ = ["Form", "affine", "inner", "nested", "restore_form"]


class Form(Protocol):
    """A class of predictors that can be restored.

    Attributes:
        form: Its name, in ``settings`` of what ``keep`` returns.
    """

    form: ClassVar[str]

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:
        """Build the predictor that ``keep`` described."""


def restore_form(kept: Kept, context: RestoreContext, *forms: type[Form]) -> Predictor:
    """Build a predictor of one of several forms.

    Raises:
        ValueError: The form is none of these.
    """
    named = kept.settings.get("form")
    for each in forms:
        if each.form == named:
            rebuilt: Any = each.rebuild(kept, context)
            return rebuilt  # type: ignore[no-any-return]  # every form is a predictor
    raise ValueError(f"the kept form is '{named}', and this evaluator has {', '.join(each.form for each in forms)}")


def nested(form: str, parts: Mapping[str, Kept], **settings: Any) -> Kept:
    """Join what several heads keep; see :func:`inner`."""
    tensors = {f"{name}.{key}": value for name, kept in parts.items() for key, value in kept.tensors.items()}
    return Kept(
        tensors=tensors,
        settings={"form": form, **settings, "parts": {name: dict(kept.settings) for name, kept in parts.items()}},
    )


def inner(kept: Kept) -> dict[str, Kept]:
    """Return the parts that :func:`nested` joined, by name."""
    return {
        name: Kept(
            tensors={
                key.removeprefix(f"{name}."): value for key, value in kept.tensors.items() if key.startswith(f"{name}.")
            },
            settings=settings,
        )
        for name, settings in kept.settings["parts"].items()
    }


def affine(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer with these weights ``(O, F)`` and this bias ``(O,)``, in float32."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer.requires_grad_(requires_grad=False)
