"""Linear probe: one multinomial logistic regression on frozen, standardised features.

This is the standard test of a representation: are the classes linearly separable? The whole grid of regularisation
strengths is solved at once, exactly (``_logistic.py``), and one is chosen on the validation part, as in CLIP (Radford
et al. 2021, arXiv 2103.00020, appendix A.3), here by log loss (``_choice.py``). The optimum is unique: no learning
rate, no epochs, no seed. It equals ``sklearn.linear_model.LogisticRegression`` behind a ``StandardScaler``.

Features are standardised with the training part's mean and deviation, so that one grid fits encoders of any scale.
The "linear" probe of the ICIP 2023 study has a hidden layer: that is the evaluator ``mlp``.

Each finding has its own regression, with its own strength, on the samples for which it is known; these samples also
define the standardisation. A quantity has a ridge regression of the standardised number, whose strength is chosen by
the squared error.

N samples, F features, S strengths, K classes, P of them in the training part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from medssl.contracts import TARGETS, Evaluator, Features, Kept, Positive, Predictor, RestoreContext
from medssl.tools import balanced_weights
from medssl_evaluators._by_finding import EachFinding, fit_each_finding
from medssl_evaluators._choice import ChooseBy, ConstantPredictor, Rule, choose, steps
from medssl_evaluators._keeping import restore_form
from medssl_evaluators._linear_heads import LinearHead, RidgeHead
from medssl_evaluators._regressions import Logistic, Ridge
from medssl_evaluators._scores import Score, score

__all__ = ["Linear"]

_SMALLEST_C, _LARGEST_C = 1e-8, 1e4  # ours: how far the default grid is extended


class Linear(Evaluator):
    """L2-regularised logistic or ridge regression; its strength is chosen on the validation part."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            c_values: Grid of ``C`` as scikit-learn counts it: the weight of the summed cross-entropy against half the
                squared weights. Larger values mean less regularisation. If the best one is at the edge of the default
                grid, the grid is extended in half decades, down to 1e-8 and up to 1e4. Your own grid is never extended.
            choose_by: Score on the validation part that chooses C: ``log_loss``; ``auroc``, which uses only the order
                of the images, for rare classes; ``balanced_accuracy``, which uses the predicted class.
            class_weight: ``balanced``: each class, or both values of a finding, has the same weight in training, as in
                scikit-learn. The probabilities are then those of an equal mix of classes, and ``choose_by`` should be
                ``auroc`` or ``balanced_accuracy``. A quantity has no classes and ignores it.
        """

        LATER: ClassVar[frozenset[str]] = frozenset({"class_weight"})

        # ours: from almost no weight to almost no penalty on 500 to 10,000 samples; two per decade, CLIP has eight
        c_values: tuple[Positive, ...] = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
        choose_by: ChooseBy = "log_loss"  # a strictly proper score: Gneiting & Raftery 2007, sec. 4.1
        class_weight: Literal["none", "balanced"] = "none"  # scikit-learn's default; the classes as they are

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    regression: ClassVar[type[Logistic]] = Logistic
    config: Config

    def fit(self, train: Features, val: Features) -> Predictor:
        """Solve for every strength on ``train``; choose one on ``val``, the smaller C in a tie.

        Raises:
            DataError: There are several strengths and the validation part is empty.
        """
        if train.target.kind == "findings":
            return fit_each_finding(self._fit_classes, train, val)
        if train.target.kind == "quantity":
            return self._choose(Ridge(train), val)
        return self._fit_classes(train, val)

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the probe again."""
        return restore_form(kept, context, LinearHead, RidgeHead, ConstantPredictor, EachFinding.of(LinearHead))

    def _fit_classes(self, train: Features, val: Features) -> Predictor:
        present, label = torch.unique(train.y, return_inverse=True)  # (P,), (N,)
        if len(present) == 1:
            return ConstantPredictor(int(present), train.target.outputs)
        weights = balanced_weights(train.y) if self.config.class_weight == "balanced" else None
        return self._choose(self.regression(train, present, label, weights), val)

    def _choose(self, problem: Logistic | Ridge, val: Features) -> Predictor:
        """Solve a problem for every strength, and choose one on the validation part."""
        heads: dict[float, Predictor] = {}
        scores: dict[float, Score] = {}

        def measure(strengths: Sequence[float]) -> list[Score]:
            solved = problem.solve(strengths)
            found = score(torch.stack([head.predict(val.x) for head in solved]), val.y)
            heads.update(zip(strengths, solved, strict=True))
            scores.update(zip(strengths, found, strict=True))
            return found

        c_values = sorted(set(self.config.c_values))
        default = self.config.c_values == Linear.Config.c_values
        choice = choose(
            c_values,
            measure,
            rule=Rule(self.config.choose_by, val.y),
            val=val,
            name="C",
            option="c_values",
            beyond=steps(c_values, (1, 3), _SMALLEST_C, _LARGEST_C) if default else None,
        )
        head = heads[choice.value]
        head.selected = {"c": choice.value, **choice.selected, **scores[choice.value].selected()}
        head.notes = choice.notes
        return head
