"""Calls evaluators: gives each its own copy of the data, and checks what comes back.

A copy costs little: 3 ms for the features of 7,000 images, 512 numbers each. Without it, an evaluator that works in
place would change the features that the next one gets.

N samples of a part, F features, O outputs of the target.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from medssl.contracts import Evaluator, Features, Images, Observation, Observer, Outcome, Predictor, Ranker, Target
from medssl.contracts.crossing.evaluators import (
    observation_problems,
    outcome_problems,
    prediction_problems,
    ranking_problems,
)
from medssl.discovery.blame import breach_of
from medssl.discovery.guarding import settings_kept
from medssl.recipe import Choice

__all__ = ["Called"]


class Called:
    """One evaluator of a run.

    Attributes:
        choice: The evaluator.

    Args:
        choice: The evaluator.
        seed: Of the run.
        target: What is predicted.
    """

    def __init__(self, choice: Choice, seed: int, target: Target) -> None:
        self.choice, self._target = choice, target
        self._who = f"the {choice.kind} '{choice.name}'"
        with settings_kept(self._who):
            self._evaluator: Evaluator = choice.plugin(copy.deepcopy(choice.config), seed)

    def fit(self, train: Features | Images, val: Features | Images) -> Outcome:
        """Fit it on copies of the two parts, and check the outcome.

        Raises:
            PluginError: It breaks its contract.
        """
        with settings_kept(self._who):
            outcome = self._evaluator.fit(_own(train), _own(val))
        self._require("fit()", outcome_problems(outcome))
        return outcome

    def predict(self, predictor: Predictor, x: Tensor) -> Tensor:
        """Predict from a copy of features ``(N, F)`` or images ``(N, 3, S, S)``, and check ``(N, O)``.

        Raises:
            PluginError: It breaks its contract.
        """
        with settings_kept(self._who):
            prediction = predictor.predict(x.clone())
        if x.device.type != "cpu" and isinstance(prediction, Tensor):  # images are on the device of the run
            prediction = prediction.cpu()
        self._require("predict()", prediction_problems(prediction, self._target, len(x)))
        return prediction.clone()

    def predict_groups(self, predictor: Predictor, x: Tensor, groups: Tensor) -> Tensor | None:
        """Predict groups from copies of features ``(N, F)`` and of their groups ``(N,)``, and check ``(G, O)``.

        Returns:
            ``None`` if it does not predict groups.

        Raises:
            PluginError: It breaks its contract.
        """
        with settings_kept(self._who):
            prediction = predictor.predict_groups(x.clone(), groups.clone())
        if prediction is None:
            return None
        self._require("predict_groups()", prediction_problems(prediction, self._target, len(groups.unique())))
        return prediction.clone()

    def ranker(self, ranker: Ranker, ranked: int) -> Callable[[Tensor], Tensor]:
        """Return a function that ranks from a copy of features ``(N, F)``, and checks ``(N, ranked)``."""

        def rank(x: Tensor) -> Tensor:
            with settings_kept(self._who):
                found = ranker.rank(x.clone())
            self._require("rank()", ranking_problems(found, len(x), ranked))
            return found

        return rank

    def observe(self, observer: Observer, x: Tensor) -> Observation:
        """Observe a copy of features ``(N, F)``, and check the observation.

        Raises:
            PluginError: It breaks its contract.
        """
        with settings_kept(self._who):
            seen = observer.observe(x.clone())
        self._require("observe()", observation_problems(seen, len(x)))
        return seen

    def _require(self, function: str, problems: list[str]) -> None:
        if problems:
            raise breach_of(self.choice, self.choice.plugin, function, problems)


def _own(part: Features | Images) -> Features | Images:
    """Copy what an evaluator could change: the features and the true values. Images are made anew for each call."""
    y = part.y.clone()
    if isinstance(part, Features):
        groups = None if part.groups is None else part.groups.clone()
        return Features(x=part.x.clone(), y=y, target=part.target, groups=groups)
    return replace(part, y=y)
