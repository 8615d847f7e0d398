"""Confidence intervals and tests over groups, seeds and tables.

All functions treat the group (patient, slide) as the unit, because two images of one patient are not independent. If no
groups are known, each image is a unit.

Notation: n samples, U units, R seeds, B resamples, M comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import betainc

__all__ = [
    "draw_seeds",
    "holm",
    "implied_interval",
    "sign_flip_exact",
    "sign_flip_sampled",
    "spread",
    "sum_by_unit",
    "t_test",
]

FLIPS = 20_000  # smallest p-value 5e-5: sufficient for Holm's correction over a thousand comparisons at 0.05

_CHUNK = 2**21  # signs held at a time, 16 MiB
_TIES = 1e-9  # sums that differ only by rounding count as equal

Array = np.ndarray[Any, np.dtype[Any]]


def implied_interval(accuracy: float, test_size: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of a published accuracy that follows from the size of its test part.

    Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212). It treats the test images as independent; if
    several images are of one patient, the true interval is wider.

    Args:
        accuracy: Accuracy, 0 to 1.
        test_size: Number of test images.
        confidence: Level of the confidence interval.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z**2 / test_size
    centre = (accuracy + z**2 / (2 * test_size)) / shrink
    half = z / shrink * math.sqrt(accuracy * (1 - accuracy) / test_size + z**2 / (4 * test_size**2))
    return centre - half, centre + half


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation with denominator n - 1; ``None`` for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def draw_seeds(draws: Array, seed: int) -> Array:
    """Average over seeds that are drawn with replacement, one set of seeds for each resample of the test part.

    With resamples of test units that all seeds share, this is the pigeonhole bootstrap of a table whose rows are seeds
    and whose columns are test units (Owen 2007, Ann. Appl. Stat. 1(2), 386-411): rows and columns are drawn
    independently. It covers the randomness of training and of the choice of patients. It is conservative for the part
    that both share. With two or three seeds, no method can say much about other seeds.

    Args:
        draws: ``(R, B)``, the metric of each seed in each resample of the test units.
        seed: Seed of the draw.

    Returns:
        ``(B,)``.
    """
    count, resamples = draws.shape
    chosen = np.random.default_rng(seed).integers(0, count, size=(count, resamples))
    return np.asarray(np.take_along_axis(draws, chosen, axis=0).mean(axis=0))


def sum_by_unit(values: Array, units: Array) -> Array:
    """Sum values ``(n, M)`` over the samples of each unit: ``(U, M)``; ``units`` is ``(n,)`` in ``0 .. U - 1``."""
    sums = np.zeros((int(units.max()) + 1, values.shape[1]), dtype=values.dtype)
    np.add.at(sums, units, values)
    return sums


def sign_flip_exact(differences: Array) -> float:
    """Test whether two methods are equally often right, by swapping them unit by unit in all possible ways.

    If they are equally often right, the difference of each unit could have had the other sign. The p-value is the share
    of the 2^U assignments of signs whose sum is at least as far from zero as the observed sum (Fisher 1935, The Design
    of Experiments, sec. 21), counted exactly by convolution. For single runs on units of one image it is McNemar's
    exact test (McNemar 1947, Psychometrika 12, 153-157). The trained models are treated as given: the randomness of
    training is included only through the seeds over which the differences are summed.

    Args:
        differences: ``(U,)`` integers: how many more times the first method is right.

    Returns:
        The two-sided p-value; 1 if no unit differs.
    """
    sizes = np.abs(differences[differences != 0]).astype(np.int64)
    if not len(sizes):
        return 1.0
    sizes //= np.gcd.reduce(sizes)
    total = int(sizes.sum())
    chance = np.zeros(total + 1)  # of a sum s of the positive sizes; the signed sum is 2 s - total
    chance[0] = 1
    reached = 0
    for size in np.sort(sizes).tolist():
        reached += size
        chance[: reached + 1] /= 2
        chance[size : reached + 1] += chance[: reached + 1 - size].copy()
    seen = abs(int(differences.sum())) // int(np.gcd.reduce(np.abs(differences[differences != 0])))
    far = np.abs(2 * np.arange(total + 1) - total) >= seen
    return min(1.0, float(chance[far].sum()))


def sign_flip_sampled(differences: Array, seed: int = 0, flips: int = FLIPS) -> Array:
    """Do the same for differences that are not small integers, with random signs.

    All columns use the same signs. The p-value counts the observed signs among the drawn ones, so it is never zero
    (Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9(1), 39, sec. 2).

    Args:
        differences: ``(U, M)``; the sum over units is the difference of a metric.
        seed: Seed of the signs.
        flips: Number of sign assignments drawn.

    Returns:
        ``(M,)`` two-sided p-values.
    """
    seen = np.abs(differences.sum(axis=0)) - _TIES
    generator = np.random.default_rng(seed)
    far = np.zeros(differences.shape[1], dtype=np.int64)
    width = max(1, _CHUNK // len(differences))
    for start in range(0, flips, width):
        signs = generator.integers(0, 2, size=(min(width, flips - start), len(differences))) * 2.0 - 1
        far += (np.abs(signs @ differences) >= seen).sum(axis=0)
    return np.asarray((far + 1) / (flips + 1))


def t_test(difference: float, shares: Array, *, few: bool = False) -> float:
    """Test a difference whose error is the sum of many small parts, one for each unit.

    The parts of one unit are summed before they are squared, as in Obuchowski 1997 (Biometrics 53, 567-578) for AUROCs
    of clustered data, because images of one patient are not independent. The variance is that of a sum of U units with
    U - 1 in the denominator, and the reference is Student's t with U - 1 degrees of freedom (Mancl & DeRouen 2001,
    Biometrics 57, 126-134, section 3): with 60 groups a normal reference rejects too often. The p-value is never below
    2^(1 - U), the smallest p-value of a sign-flip test with U units.

    Args:
        difference: The observed difference.
        shares: ``(U,)``, the part of each unit in its error.
        few: Whether a few units may make most of the error, for instance the positives of a rare finding. The degrees
            of freedom are then those of the estimated variance of the variance (Satterthwaite 1946, Biometrics Bull. 2,
            110-114), between 1 and U - 1.

    Returns:
        The two-sided p-value; 1 if nothing differs, or if a part is not a finite number, so that the error is unknown.
    """
    if not (np.isfinite(shares).all() and np.isfinite(difference)):
        return 1.0
    squares, units = np.square(shares), len(shares)
    variance = float(squares.sum())
    if variance <= 0 or units < 2:
        return 1.0
    freedom = float(units - 1)
    if few:
        of_variance = float(np.square(squares).sum()) - variance**2 / units
        freedom = min(freedom, max(1.0, 2 * variance**2 / of_variance)) if of_variance > 0 else freedom
    t_squared = difference**2 / (variance * units / (units - 1))
    p = float(betainc(freedom / 2, 0.5, freedom / (freedom + t_squared)))  # both tails of Student's t
    return max(p, 2.0 ** (1 - units))


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple comparisons by Holm's step-down method (Holm 1979, Scand. J. Stat. 6, 65-70).

    If adjusted values are compared with alpha, the probability of any false rejection is at most alpha, for any
    dependence between the tests.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    adjusted = np.empty_like(stepped)
    adjusted[order] = stepped
    return [float(value) for value in adjusted]
