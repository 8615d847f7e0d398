"""Correction of probabilities for another mix of classes than in training.

A model learns how frequent each class is in the training part. Where the frequencies are known to differ, its
probabilities are multiplied by their ratio and divided by the sum (Saerens, Latinne & Decaestecker 2002, Neural Comput.
14, 21-41, equation 2.4). This is right if the images of each class look the same in both places.

n samples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medssl.contracts.targets import Classes, Target
from medssl.errors import OptionError
from medssl.evaluation.metrics.metric import Array

__all__ = ["class_mix", "correct_prior", "describe_mix", "require_prior"]


def require_prior(target: Target, prior: Sequence[float]) -> None:
    """Check the expected frequencies of a target's classes.

    Raises:
        OptionError: The target has no classes, or these are not K positive numbers that sum to one.
    """
    if not isinstance(target, Classes):
        raise OptionError(f"evaluate.prior is for classes and grades, but the target is {target.kind}. Leave it out.")
    if len(prior) != target.outputs or min(prior) <= 0 or abs(sum(prior) - 1) > 1e-6:
        raise OptionError(
            f"evaluate.prior must have a positive frequency for each of {', '.join(target.names)}, in this order, that "
            f"sum to 1, but is {list(prior)}. For instance: --set 'evaluate.prior="
            f"{[round(1 / target.outputs, 3)] * target.outputs}'."
        )


def class_mix(y: Array, classes: int) -> Array:
    """Return the frequency of each class among the known values ``(N,)``: ``(K,)``."""
    known = y[y >= 0]
    return np.asarray(np.bincount(known, minlength=classes) / max(1, len(known)))


def correct_prior(prediction: Array, training: Array, expected: Sequence[float]) -> Array:
    """Correct probabilities ``(n, K)``.

    Args:
        prediction: Probabilities of a model.
        training: ``(K,)``: frequencies that it learnt; a class without training images keeps its probability of zero.
        expected: ``(K,)``: frequencies where it is used.

    Returns:
        ``(n, K)`` float64, rows sum to one; a row is unchanged if all its probability is on classes without images.
    """
    ratio = np.divide(np.asarray(expected), training, out=np.zeros(len(training)), where=training > 0)
    weighted = np.asarray(prediction, dtype=np.float64) * ratio
    total = weighted.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, weighted / np.where(total > 0, total, 1), prediction))


def describe_mix(target: Target, mix: Sequence[Any]) -> dict[str, float]:
    """Return frequencies by class."""
    return {name: float(share) for name, share in zip(target.output_names, mix, strict=True)}
