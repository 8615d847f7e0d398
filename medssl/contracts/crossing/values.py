"""Checks of values of any kind: their types, their fields, what a result can hold; and the words about them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from medssl.errors import BreachError

__all__ = ["LONGEST_NOTE", "dataclass_problems", "plain_problem", "require_no_problems", "type_problems", "word"]

LONGEST_NOTE = 10_000  # characters
_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


def require_no_problems(plugin: object, function: str, problems: Sequence[str]) -> None:
    """Raise an error if there are problems.

    Args:
        plugin: An instance of the plugin's class.
        function: The function that returned the value, or the attribute that holds it.
        problems: From a function of this module.

    Raises:
        BreachError: There are problems.
    """
    if problems:
        raise BreachError(type(plugin), function, problems)


def _an(name: str) -> str:
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def word(value: object) -> str:
    """Describe a value by its type, and by its shape where it has one."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ in ("builtins", "torch") else f"{kind.__module__}.{kind.__name__}"
    if isinstance(value, Tensor | np.ndarray):
        return f"a {name} of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    return "None" if value is None else _an(name)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=_STRICT)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, localns={"nn": nn}, include_extras=True)


def type_problems(value: object, hint: Any, words: str, what: str = "the result") -> list[str]:
    """Check a value against an annotation, without conversion; numbers must be finite.

    A text is not shown, because it may name a patient.

    Args:
        value: The value.
        hint: The annotation: ``tuple[str, ...]``.
        words: The annotation in words.
        what: The value in words.
    """
    try:
        _adapter(hint).validate_python(value)
    except (ValidationError, RecursionError):
        return [f"{what} must be {words}, but is {repr(value) if isinstance(value, int | float) else word(value)}"]
    return []


def dataclass_problems(value: object, kind: type, what: str = "the result") -> list[str]:
    """Check every field of a dataclass against its annotation."""
    if not (isinstance(value, kind) and is_dataclass(kind)):
        return [f"{what} must be {_an(kind.__name__)}, but is {word(value)}"]
    found: list[str] = []
    for name, words in ((field.name, str(field.type)) for field in fields(kind)):
        hint, inside = _hints(kind)[name], getattr(value, name)
        nested = isinstance(hint, type) and is_dataclass(hint)
        found += dataclass_problems(inside, hint, name) if nested else type_problems(inside, hint, words, name)
    return found


def plain_problem(value: object) -> str | None:
    """Describe what JSON cannot hold; ``None`` for a number, a text, or lists and mappings of them."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return f"{float(value)}"
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return word(value)
    return None if len(text) <= LONGEST_NOTE else f"a value of {len(text):,} characters"
