"""Metrics of a predicted number.

Notation: n samples, B resamples at a time.
"""

from __future__ import annotations

import numpy as np

from medssl.contracts.targets import Target
from medssl.evaluation.metrics.metric import Array, PairedTest, PredictionMetric, Resampled, Scored

__all__ = ["MAE", "RMSE", "Concordance", "RSquared"]


def _truth(scored: Scored) -> Array:
    """Return ``(n,)``: the truth minus its mean, which avoids cancellation in squares of large numbers."""
    y = scored.y.astype(np.float64)
    return np.asarray(y - y.mean())


def _guess(scored: Scored) -> Array:
    """Return ``(n,)``: the prediction minus the mean of the truth."""
    return np.asarray(scored.prediction[:, 0] - scored.y.astype(np.float64).mean())


def _errors(scored: Scored) -> Array:
    return np.asarray(scored.once(_guess) - scored.once(_truth))


def _squared_error(drawn: Resampled) -> Array:
    """Return the mean squared error, ``(B,)``."""
    return drawn.mean(np.square(drawn.scored.once(_errors)))


def _variance(drawn: Resampled) -> Array:
    """Return the variance of the truth, ``(B,)``; exactly 0 if all values are equal."""
    return _spread(drawn, drawn.scored.once(_truth))


def _spread(drawn: Resampled, values: Array) -> Array:
    variance = drawn.mean(np.square(values)) - np.square(drawn.mean(values))
    scale = np.square(values).max(initial=0.0)
    clear: Array = np.where(variance > 1e-12 * scale, variance, 0.0)  # smaller values are rounding errors
    return clear


class _OfQuantity(PredictionMetric):
    targets = ("quantity",)


class _InItsUnit(_OfQuantity):
    def unit(self, target: Target) -> str:
        """Return the target's unit."""
        return target.output_names[0]


class MAE(_InItsUnit):
    """Mean absolute difference of prediction and truth."""

    name = "mean_absolute_error"
    title = "mean abs. error"
    higher_is_better = False
    source = "Willmott & Matsuura 2005, Clim. Res. 30, 79-82; scikit-learn `mean_absolute_error`"
    test = PairedTest.SAMPLED

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``."""
        return drawn.mean(np.abs(drawn.scored.once(_errors)))

    def contributions(self, scored: Scored) -> Array:
        """Return the absolute errors divided by n."""
        return np.asarray(np.abs(scored.once(_errors)) / scored.n)


class RMSE(_InItsUnit):
    """Root of the mean squared difference of prediction and truth.

    Its paired test is that of the mean squared error: both are equal for two models at the same time.
    """

    name = "rmse"
    title = "RMSE"
    higher_is_better = False
    source = "Willmott & Matsuura 2005, Clim. Res. 30, 79-82; scikit-learn `root_mean_squared_error`"
    test = PairedTest.SAMPLED

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``."""
        return np.asarray(np.sqrt(drawn.once(_squared_error)))

    def contributions(self, scored: Scored) -> Array:
        """Return the squared errors divided by n."""
        return np.asarray(np.square(scored.once(_errors)) / scored.n)


class RSquared(_OfQuantity):
    """Share of the truth's variance that the prediction explains; below 0 if its mean predicts better.

    Not defined if all true values are equal.
    """

    name = "r2"
    title = "R²"
    source = "1 - sum of (predicted - true)² over sum of (true - mean)²; scikit-learn `r2_score`"
    test = PairedTest.SAMPLED

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``, at most 1."""
        errors, variance = drawn.once(_squared_error), drawn.once(_variance)
        explained: Array = np.full(len(errors), np.nan)
        np.divide(variance - errors, variance, out=explained, where=variance > 0)
        return explained

    def contributions(self, scored: Scored) -> Array:
        """Return the squared errors divided by the sum of the truth's squared deviations, times -1."""
        return np.asarray(-np.square(scored.once(_errors)) / np.square(scored.once(_truth)).sum())


class Concordance(_OfQuantity):
    """Lin's concordance correlation: agreement of prediction and truth with the line of identity.

    Not defined if all values of both are the same number.
    """

    name = "concordance"
    title = "concordance"
    source = "Lin 1989, Biometrics 45, 255-268, equation 2, variances with n in the denominator"

    def values(self, drawn: Resampled) -> Array:
        """Return ``(B,)``, from -1 to 1."""
        truth, guess = drawn.scored.once(_truth), drawn.scored.once(_guess)
        means = drawn.mean(truth), drawn.mean(guess)
        covariance = drawn.mean(truth * guess) - means[0] * means[1]
        apart = drawn.once(_variance) + _spread(drawn, guess) + np.square(means[0] - means[1])
        agreement: Array = np.full(len(apart), np.nan)
        np.divide(2 * covariance, apart, out=agreement, where=apart > 0)
        return agreement
