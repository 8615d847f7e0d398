"""Conditions that choose rows of a table: ``modality == X-ray``, ``age >= 18``, ``view in PA|AP``.

A condition is a column, an operator and a value. Nothing is evaluated as code.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medssl.errors import OptionError
from medssl_datasets.shared.words import folded, is_missing

__all__ = ["Condition", "parse_condition"]

_OPERATORS = re.compile(r"\s*(==|!=|<=|>=|<|>|=|\bnot in\b|\bin\b)\s*")
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Condition:
    """One condition on a row.

    Attributes:
        column: Name of the column.
        sign: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in`` or ``not in``.
        values: What the cell is compared with; several for ``in`` and ``not in``.
    """

    column: str
    sign: str
    values: tuple[str, ...]

    def holds(self, cell: str) -> bool:
        """Whether it holds for a cell; an order never holds for a cell that is not a number."""
        if self.sign in _ORDER:
            value = _number(cell)
            return value is not None and _ORDER[self.sign](value, float(self.values[0]))
        same = any(_equal(cell, value) for value in self.values)
        return same != (self.sign in ("!=", "not in"))

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {'|'.join(self.values)}"


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        OptionError: It has another form, or an order is asked for with a value that is not a number.
    """
    match = _OPERATORS.search(text)
    column = text[: match.start()].strip().strip("\"'`") if match else ""
    if match is None or not column:
        raise OptionError(
            f"'{text}' is not a condition. Write a column, one of ==, !=, <, <=, >, >=, in, not in, and a value, for "
            "instance 'modality == X-ray', 'age >= 18' or 'view in PA|AP'."
        )
    sign = "==" if match[1] == "=" else match[1]
    rest = text[match.end() :].strip()
    values = [rest] if "in" not in sign.split() else re.split(r"\s*\|\s*", rest.strip("[]"))
    values = [value.strip("\"'") for value in values]
    if sign in _ORDER and _number(values[0]) is None:
        raise OptionError(f"the condition '{text}' asks for an order, but '{values[0]}' is not a number.")
    return Condition(column, sign, tuple(values))


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ".") if re.fullmatch(r"[+-]?\d+,\d+", text.strip()) else text)
    except ValueError:
        return None


def _equal(cell: str, value: str) -> bool:
    """Whether a cell is a value: letter case, spaces and number format do not matter, and missing is missing."""
    if is_missing(cell) or is_missing(value):
        return is_missing(cell) and is_missing(value)
    number, other = _number(cell), _number(value)
    return number == other if number is not None and other is not None else folded(cell) == folded(value)
