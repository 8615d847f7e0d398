"""From predicted probabilities to a decision, with the operating point of the run.

n images, O outputs of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medssl.contracts import Classes, Findings, Target

__all__ = ["Decision"]

_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A rule that decides for a class, or for findings.

    Attributes:
        target: What is predicted.
        words: The rule in a sentence.
        thresholds: By finding, or by the positive one of two classes, the probability from which on it is present;
            ``None``: there is no operating point, and no decision.
        divisors: By class, what probabilities are divided by before the largest is taken; empty: by nothing.
    """

    target: Target
    words: str
    thresholds: Mapping[str, float | None]
    divisors: Mapping[str, float]

    @classmethod
    def of(cls, target: Target, evaluation: Mapping[str, Any]) -> Self:
        """Read the rule of a run.

        Args:
            target: What is predicted.
            evaluation: The evaluator's entry in the result. Its ``operating_points`` were chosen on the validation
                part. Without them, the decision is the class with the largest probability, and a finding is present
                from one half on.
        """
        found = evaluation.get("operating_points")
        if found is None:
            thresholds = dict.fromkeys(target.output_names, _HALF) if isinstance(target, Findings) else {}
            return cls(target=target, words=_default(target), thresholds=thresholds, divisors={})
        thresholds = {name: point["threshold"] for name, point in found["points"].items()}
        return cls(
            target=target, words=str(found["decision"]), thresholds=thresholds, divisors=found.get("priors") or {}
        )

    def decide(self, values: NDArray[np.float32]) -> list[str]:
        """Decide for each image.

        Args:
            values: ``(n, O)``.

        Returns:
            n texts: the name of a class, the names of the findings that are present, or an empty text for a quantity
            and where there is no operating point.
        """
        names = self.target.output_names
        if isinstance(self.target, Findings):
            if any(self.thresholds.get(name) is None for name in names):
                return [""] * len(values)
            present = values >= np.array([self.thresholds[name] for name in names], np.float64)
            return ["; ".join(name for name, here in zip(names, row, strict=True) if here) or "none" for row in present]
        if not isinstance(self.target, Classes):
            return [""] * len(values)
        if len(names) == 2 and self.thresholds:
            place = self.target.positive_index
            threshold = self.thresholds.get(names[place])
            if threshold is None:
                return [""] * len(values)
            return [names[place if value >= threshold else 1 - place] for value in values[:, place]]
        divisors = np.array([self.divisors.get(name, 1.0) for name in names])
        return [names[i] for i in (values / divisors).argmax(axis=1)]


def _default(target: Target) -> str:
    if isinstance(target, Findings):
        return "A finding is called present from a probability of 0.5 on; the run has no operating point."
    if isinstance(target, Classes):
        return "The class with the largest probability; the run has no operating point."
    return "The predicted number."
