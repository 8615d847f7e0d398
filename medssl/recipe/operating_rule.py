"""The rule by which a decision threshold is chosen on the validation part, as a text: ``youden``, ``cost=5:1``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

__all__ = ["OperatingRule"]

_FORMS = "youden, sensitivity>=0.95, specificity>=0.9 or cost=5:1 (the cost of a miss : the cost of a false alarm)"
_BOUND = re.compile(r"(sensitivity|specificity)\s*>=\s*([0-9.]+)")
_COST = re.compile(r"cost\s*=\s*([0-9.]+)\s*:\s*([0-9.]+)")


@dataclass(frozen=True)
class OperatingRule:
    """What a threshold must reach on the validation part.

    Attributes:
        kind: ``youden``: the largest sum of sensitivity and specificity (Youden 1950, Cancer 3, 32-35);
            ``sensitivity``: at least ``bound``, with the largest specificity; ``specificity``: the reverse; ``cost``:
            the smallest total cost of misses and false alarms.
        bound: The least sensitivity or specificity, above 0 and up to 1; 0 for other kinds.
        miss: Cost of a positive image that is called negative.
        alarm: Cost of a negative image that is called positive.
    """

    kind: Literal["youden", "sensitivity", "specificity", "cost"]
    bound: float = 0.0
    miss: float = 1.0
    alarm: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rule.

        Raises:
            ValueError: The text is not a rule.
        """
        words = text.strip().lower()
        if words == "youden":
            return cls("youden")
        if found := _BOUND.fullmatch(words):
            bound = _number(found[2])
            if 0 < bound <= 1:
                return cls("sensitivity" if found[1] == "sensitivity" else "specificity", bound=bound)
        if found := _COST.fullmatch(words):
            miss, alarm = _number(found[1]), _number(found[2])
            if miss > 0 and alarm > 0:
                return cls("cost", miss=miss, alarm=alarm)
        raise ValueError(f"operating_point: '{text}' is not a rule. Rules: {_FORMS}.")

    @property
    def costs(self) -> float:
        """The threshold probability at which a perfectly calibrated model has the smallest cost."""
        return self.alarm / (self.miss + self.alarm)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
