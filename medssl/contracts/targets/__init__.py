"""What is to be predicted: the four kinds of targets, and none.

A target converts a table's cell to a value, and values to the array ``y`` from which evaluators and methods learn. It
has the width of a prediction, checks predictions, and has the strata that a split balances. No other code depends on
the kind of a target.

==========  ============================  ===========================  =================================
kind        value of one sample           ``y`` of N samples           prediction
==========  ============================  ===========================  =================================
classes     ``int``                       ``(N,)`` int64, -1 unknown   ``(N, K)``, rows sum to one
grades      ``int``                       ``(N,)`` int64, -1 unknown   ``(N, K)``, rows sum to one
findings    ``K`` of ``0, 1, None``       ``(N, K)`` float32, NaN      ``(N, K)``, each from 0 to 1
quantity    ``float``                     ``(N,)`` float32, NaN        ``(N, 1)``, in the unit
==========  ============================  ===========================  =================================

:class:`Unlabelled` is the target of a dataset in which no image has a label; nothing is scored then.

Unknown is a separate value everywhere and never counts as negative: ``None`` for a sample, -1 or NaN in ``y``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medssl.contracts.targets.classes import Classes, Grades
from medssl.contracts.targets.findings import Findings
from medssl.contracts.targets.quantity import Quantity
from medssl.contracts.targets.target import Target, Value
from medssl.contracts.targets.unlabelled import Unlabelled

__all__ = ["TARGETS", "Classes", "Findings", "Grades", "Quantity", "Target", "Unlabelled", "Value", "target_from_dict"]

TARGETS: Mapping[str, type[Target]] = {each.kind: each for each in (Classes, Grades, Findings, Quantity)}
"""The kinds of targets by name, without :class:`Unlabelled`."""


def target_from_dict(values: Mapping[str, Any]) -> Target:
    """Build the target that :meth:`Target.to_dict` described.

    Raises:
        ValueError: The kind is unknown, or a value is missing.
    """
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    kind = str(given.pop("kind", None))
    if kind == Unlabelled.kind:
        return Unlabelled()
    if kind not in TARGETS:
        raise ValueError(f"a target must be one of {', '.join(TARGETS)}, not '{kind}'")
    try:
        return TARGETS[kind](**given)
    except TypeError as error:
        raise ValueError(f"a target of kind '{kind}' cannot be built from {values}: {error}") from error
