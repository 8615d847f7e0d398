"""Calibration: are the confidences of the linear probe right, and does temperature scaling correct them?

Temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2): the logits of the probe ``linear`` are divided by
a temperature that minimises the log loss on the validation part. The predicted class stays the same; only confidences
change. For findings, each has its own probe and temperature. The original probe is also reported, as
``calibration_uncalibrated``. The core computes the expected calibration error and the bins of a reliability diagram for
both.

The regularisation of the probe was already chosen on the validation part, so the probe looks slightly better there than
on new patients. The log loss is convex in the inverse temperature; its minimum is found by bisection, without settings
to tune.

N samples, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from medssl.contracts import Evaluator, Features, Kept, Predictor, RestoreContext
from medssl.errors import DataError
from medssl_evaluators._by_finding import EachFinding, fit_each_finding
from medssl_evaluators._choice import ConstantPredictor
from medssl_evaluators._keeping import inner, nested, restore_form
from medssl_evaluators._linear_heads import LinearHead
from medssl_evaluators.linear import Linear

__all__ = ["Calibration", "fit_temperature"]

_LIMITS = (0.05, 20.0)  # without errors in the validation part, the temperature would fall to zero


def fit_temperature(log_proba: Tensor, label: Tensor) -> float:
    """Return the temperature of the lowest log loss, between 0.05 and 20.

    Args:
        log_proba: ``(N, K)`` log probabilities or logits; minus infinity for a class that cannot occur.
        label: ``(N,)`` int64; samples of such a class are left out.
    """
    own = log_proba.double().gather(1, label[:, None])[:, 0]
    known = own.isfinite()
    logits, own = log_proba[known].double(), own[known]
    finite = logits.clamp_min(torch.finfo(torch.float64).min)  # 0 * -inf is NaN

    def slope(inverse: float) -> float:
        """Derivative of the mean log loss by the inverse temperature; it increases monotonically."""
        mean = ((inverse * logits).softmax(dim=1) * finite).sum(dim=1)
        return float((mean - own).mean())

    low, high = 1 / _LIMITS[1], 1 / _LIMITS[0]
    if slope(low) >= 0:
        return _LIMITS[1]
    if slope(high) <= 0:
        return _LIMITS[0]
    for _ in range(60):  # halves the interval of the logarithm, of length 6, until float64 cannot resolve it
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / high


class Calibration(Evaluator):
    """Linear probe with a temperature fitted on the validation part, and the original probe."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Linear.Config):
        """Options: those of the probe.

        Attributes:
            c_values: Grid of ``C``, as in the evaluator ``linear``.
            choose_by: Score on the validation part that chooses C, as in the evaluator ``linear``.
        """

    targets: ClassVar[tuple[str, ...]] = ("classes", "grades", "findings")
    config: Config

    def fit(self, train: Features, val: Features) -> Predictor:
        """Fit the probe on ``train``; choose its strength and its temperature on ``val``.

        Raises:
            DataError: The validation part is empty.
        """
        if not len(val):
            raise DataError(
                "the validation part is empty, so no temperature can be fitted. The test part must not be used. "
                "Add images to the validation part, or leave out the evaluator 'calibration'."
            )
        if train.target.kind == "findings":
            return fit_each_finding(self._fit, train, val)
        return self._fit(train, val)

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the probe again."""
        heads = _Scaled, LinearHead
        return restore_form(kept, context, *heads, ConstantPredictor, EachFinding.of(*heads))

    def _fit(self, train: Features, val: Features) -> Predictor:
        probe = Linear(self.config, self.seed).fit(train, val)
        if not isinstance(probe, LinearHead):
            return probe  # one class in training: no confidence to scale
        return _Scaled(probe, fit_temperature(probe.log_proba(val.x), val.y))


class _Scaled(Predictor):
    """A probe whose logits are divided by a temperature."""

    form: ClassVar[str] = "scaled logistic regression"

    def __init__(self, probe: LinearHead, temperature: float) -> None:
        self.probe = probe
        self.temperature = temperature
        self.selected = {"temperature": temperature, **getattr(probe, "selected", {})}
        self.also = {"uncalibrated": probe}
        if temperature in _LIMITS:
            self.notes = ("The temperature is at its limit: the validation part is too small or too easy to fit it.",)

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to class probabilities ``(N, K)``."""
        return (self.probe.log_proba(x) / self.temperature).softmax(dim=1).to(x.device)

    def keep(self) -> Kept:
        """Return the probe and the temperature."""
        return nested(self.form, {"probe": self.probe.keep()}, temperature=self.temperature)

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:
        """Build the probe that :meth:`keep` described."""
        return cls(LinearHead.rebuild(inner(kept)["probe"], context), float(kept.settings["temperature"]))

    def module(self) -> nn.Module:
        """Return a linear layer that includes standardisation and temperature, and a softmax."""
        return nn.Sequential(self.probe.logits(self.temperature), nn.Softmax(dim=1))
