"""k nearest neighbours on frozen features: there is no training, so the result depends only on the features.

One matrix product and one top-k with the largest k are enough for all k; the neighbours are exact. There are two votes:

* ``softmax``: a neighbour of cosine similarity s votes with weight ``exp(s / temperature)``: Wu et al., Unsupervised
  Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, arXiv 1805.01978, section 3.4; DINO's
  evaluation.
* ``uniform``: every neighbour has one vote. With ``distance=euclidean`` and ``ks=[200]`` that is the classifier of the
  ICIP 2023 study, scikit-learn's default on raw features.

k = 200 comes from the 1.28 million images of ImageNet. In a dataset of some hundred images, it is larger than the small
classes. So k is chosen on the validation part, and k = 200 is also reported. The choice is by log loss, see
``_choice.py``. A class without a vote among k neighbours would make it infinite. So, only for the choice, each vote is
mixed with the class frequencies in training (``_scores.smooth``). Predictions use the plain vote.

For findings, the vote is the weighted mean of the neighbours' known values, finding by finding. If a finding is not
known for any neighbour, it is the prevalence in training. For a quantity, it is the weighted mean, and k is chosen by
the squared error.

N queries, M training samples, F features, K classes or findings, O outputs of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from medssl.contracts import TARGETS, Evaluator, Features, Kept, Positive, PositiveInt, Predictor, RestoreContext
from medssl.errors import OptionError
from medssl_evaluators._bank import Bank
from medssl_evaluators._choice import ChooseBy, Rule, choose, one_class_note, only_class, steps
from medssl_evaluators._keeping import restore_form
from medssl_evaluators._scores import Score, score, smooth

__all__ = ["KNN"]

_LARGEST_K = 5000  # ours: limit for extending the default list, because more neighbours are slow to sort


class KNN(Evaluator):
    """Exact k nearest neighbours for several k at once; k is chosen on the validation part."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            distance: ``cosine``: features scaled to unit length; ``euclidean``: features as they are.
            weights: ``softmax`` or ``uniform``, see above. Under ``euclidean`` the similarity is minus half the squared
                distance, which is the cosine minus one on unit vectors and gives the same weights. For raw features,
                set the temperature to their scale.
            temperature: Temperature of the softmax; smaller values give more weight to the nearest neighbours.
            ks: Candidates. Those larger than the training part are left out, and the result says so. If the best one is
                the largest of the default list, 500, 1000, 2000 and 5000 are tried in turn, up to the size of the
                training part, and finally this size. Your own list is never extended.
            choose_by: Score on the validation part that chooses k: ``log_loss``; ``auroc``, which uses only the order
                of the images, for rare classes; ``balanced_accuracy``, which uses the predicted class.
            report: Values of k that are always scored on the test part, in addition to the chosen one.
        """

        distance: Literal["cosine", "euclidean"] = "cosine"  # Wu et al. sec. 3.4
        weights: Literal["softmax", "uniform"] = "softmax"  # Wu et al. sec. 3.4
        temperature: Positive = 0.07  # Wu et al. sec. 4.1; DINO's evaluation
        ks: tuple[PositiveInt, ...] = (1, 5, 10, 20, 50, 100, 200)  # DINO's and lightly's 10, 20, 100, 200, and smaller
        choose_by: ChooseBy = "log_loss"  # a strictly proper score: Gneiting & Raftery 2007, sec. 4.1
        report: tuple[PositiveInt, ...] = (200,)  # usual in the literature; ICIP 2023 study sec. 3.2

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    config: Config
    online: ClassVar[bool] = True

    def fit(self, train: Features, val: Features) -> Predictor:
        """Keep the training part; choose k on ``val``, the larger one in a tie.

        Raises:
            OptionError: Every k is larger than the training part.
            DataError: There are several k and the validation part is empty.
        """
        candidates = sorted({k for k in self.config.ks if k <= len(train)})
        reported = {k for k in self.config.report if k <= len(train)}
        if not candidates:
            raise OptionError(
                f"no k of ks={list(self.config.ks)} fits the training part. It has {len(train)} samples. "
                f"Add a value up to {len(train)} to ks."
            )
        config = self.config
        bank = Bank(train, distance=config.distance, weights=config.weights, temperature=config.temperature)
        scores: dict[int, Score] = {}

        def measure(ks: Sequence[int]) -> list[Score]:
            if missing := sorted(set(ks).difference(scores)):
                proba = bank.vote(val.x, missing)
                smoothed = smooth(proba, bank.frequency, bank.known)
                scores.update(zip(missing, score(proba, val.y, smoothed), strict=True))
            return [scores[k] for k in ks]

        measure([*candidates, *reported])  # one search serves all of them
        choice = choose(
            candidates[::-1],
            measure,
            rule=Rule(self.config.choose_by, val.y),
            val=val,
            name="k",
            option="ks",
            beyond=self._beyond(candidates, len(train)),
            ends=(1, len(train)),
        )
        result = _Neighbours(
            bank, choice.value, {"k": choice.value, **choice.selected, **scores[choice.value].selected()}
        )
        result.also = {f"k{k}": _Neighbours(bank, k, {"k": k, **scores[k].selected()}) for k in sorted(reported)}
        result.notes = (*self._notes(train), *choice.notes)
        return result

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the vote again."""
        return restore_form(kept, context, _Neighbours)

    def _beyond(self, candidates: Sequence[int], count: int) -> Callable[[int], int | None] | None:
        """Return the function that extends the list of k; ``None`` for a list from the user."""
        if self.config.ks != KNN.Config.ks:
            return None
        following = steps(candidates, (1, 2, 5), 1, min(count, _LARGEST_K))
        return lambda k: None if (more := following(k)) is None else int(more)

    def _notes(self, train: Features) -> tuple[str, ...]:
        notes = []
        if large := sorted({k for k in (*self.config.ks, *self.config.report) if k > len(train)}):
            names = ", ".join(f"k={k}" for k in large)
            notes.append(f"Left out because larger than the training part of {len(train)} samples: {names}.")
        if (label := only_class(train)) is not None:
            notes.append(one_class_note(label))
        return tuple(notes)


class _Neighbours(Predictor):
    """The vote of k neighbours."""

    form: ClassVar[str] = "neighbours"

    def __init__(self, bank: Bank, k: int, selected: dict[str, Any]) -> None:
        self.bank = bank
        self.k = k
        self.selected = selected

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to predictions ``(N, O)``."""
        return self.bank.vote(x, [self.k])[0]

    def keep(self) -> Kept:
        """Return the bank and k."""
        bank = self.bank.keep()
        return Kept(tensors=bank.tensors, settings={"form": self.form, "k": self.k, **bank.settings})

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:
        """Build the vote that :meth:`keep` described."""
        return cls(Bank.rebuild(kept, context.target), int(kept.settings["k"]), {})
