"""Linear probe: one multinomial logistic regression on frozen, standardised features.

The standard question to a representation: are the classes linearly separable in it? The whole grid of regularisation
strengths is solved at once, exactly (``_logistic.py``), and one is chosen on the validation part, as in CLIP (Radford
et al. 2021, arXiv 2103.00020, appendix A.3). The optimum is unique: no learning rate, no epochs, no seed. It equals
``sklearn.linear_model.LogisticRegression`` behind a ``StandardScaler``.

Features are standardised with the training part's mean and deviation, so that one grid fits encoders of any scale.
The "linear" probe of the ICIP 2023 study has a hidden layer: that is the evaluator ``mlp``.

N samples, F features, S strengths, K classes, P of them in the training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medssl.contracts import Evaluator, Features, Positive, Predictor
from medssl_evaluators._choice import ConstantPredictor, best, score
from medssl_evaluators._logistic import fit_logistic

__all__ = ["Linear", "LinearHead"]


class Linear(Evaluator):
    """L2-regularised multinomial logistic regression; its strength is chosen on the validation part."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            c_values: Grid of ``C`` as scikit-learn counts it: the weight of the summed cross-entropy against half the
                squared weights. Larger is less regularised.
        """

        # ours: from almost no weight to almost no penalty on 500 to 10,000 samples; two per decade, CLIP has eight
        c_values: tuple[Positive, ...] = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

    config: Config

    def fit(self, train: Features, val: Features) -> Predictor:
        """Solve for every strength on ``train``; choose one on ``val``, the lower log loss among equals.

        Raises:
            DataError: There are several strengths and the validation part is empty.
        """
        present, label = torch.unique(train.label, return_inverse=True)  # (P,), (N,)
        if len(present) == 1:
            return ConstantPredictor(int(present), train.num_classes)
        x = train.x.float()
        mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0)
        deviation[deviation == 0] = 1  # a constant feature stays zero
        strengths = torch.tensor(sorted(set(self.config.c_values)), dtype=x.dtype, device=x.device)
        penalty = 1 / (strengths * len(train))
        if len(present) == 2:
            penalty = 2 * penalty  # for two classes scikit-learn has one weight vector, the difference of our two
        weight, intercept = fit_logistic((x - mean) / deviation, label, len(present), penalty)  # (S, P, F), (S, P)

        heads = [
            LinearHead(mean, deviation, w, b, present, train.num_classes)
            for w, b in zip(weight, intercept, strict=True)
        ]
        scores = score(torch.stack([head.predict_proba(val.x) for head in heads]), val.label)
        chosen = best(scores.balanced_accuracy, -scores.log_loss, "c_values")
        head = heads[chosen]
        head.selected = {"c": sorted(set(self.config.c_values))[chosen], **scores.selected(chosen)}
        head.notes = _notes(chosen, len(heads))
        return head


def _notes(chosen: int, count: int) -> tuple[str, ...]:
    if count == 1 or 0 < chosen < count - 1:
        return ()
    edge = "largest" if chosen else "smallest"
    return (f"The chosen C is the {edge} of c_values; the best one may lie beyond.",)


class LinearHead(Predictor):
    """One solved regression: ``weight`` (P, F) and ``intercept`` (P,) on standardised features."""

    selected: dict[str, Any]

    def __init__(
        self, mean: Tensor, deviation: Tensor, weight: Tensor, intercept: Tensor, present: Tensor, num_classes: int
    ) -> None:
        self.mean, self.deviation, self.weight, self.intercept = mean, deviation, weight, intercept
        self.present = present
        self.num_classes = num_classes

    def predict_proba(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to class probabilities ``(N, K)``; zero for a class without a training sample."""
        return self.log_proba(x).exp()

    def log_proba(self, x: Tensor) -> Tensor:
        """Return their logarithms, which keep apart what is too small for a probability; minus infinity for zero."""
        z = (x.to(self.mean) - self.mean) / self.deviation
        found = z.new_full((len(z), self.num_classes), -torch.inf)
        found[:, self.present] = (z @ self.weight.T + self.intercept).log_softmax(dim=1)
        return found.to(x.device)
