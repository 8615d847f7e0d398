"""Gated attention pooling: one prediction for all images of a patient, study or slide.

The features of a group's images are averaged with weights that a small network learns: ``a = softmax(w^T (tanh(V h) *
sigmoid(U h)))`` over the images h of the group, and ``z = sum(a h)`` (Ilse, Tomczak & Welling 2018, arXiv 1802.04712,
equations 8 and 9). A linear layer predicts the target from z. A group with one image has the weight one, so the scores
per image are those of the linear layer on single images, and the scores per group are those of the pooling.

It is trained on the groups of the training part; learning rate and epoch are chosen on those of the validation part, by
log loss. The value of a group follows the rule of the core: a finding is present if any image has it, absent if all
known images lack it; a grade is the highest, a quantity the mean; a group of several classes is left out. Unknown
values have no loss. A quantity is learned as a standardised number, and chosen by the squared error.

n images, G groups, F features, L hidden units, O outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medssl.contracts import (
    TARGETS,
    Evaluator,
    Features,
    Kept,
    NonNegative,
    Positive,
    PositiveInt,
    Predictor,
    RestoreContext,
    Target,
)
from medssl.errors import DataError
from medssl.tools import KeepBest, activation, batches, number_scale, target_loss
from medssl_evaluators._bags import Bags, Pooling
from medssl_evaluators._keeping import restore_form

__all__ = ["Attention"]


class Attention(Evaluator):
    """Learns how much each image of a group counts."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            hidden: Width L of the attention network.
            epochs: Minimum number of passes over the training groups; the best one on the validation part is kept.
            min_steps: Minimum number of steps; with few groups, there are more passes.
            batch_size: Groups per step.
            learning_rates: Grid for Adam's learning rate.
            weight_decay: Weight decay.
        """

        hidden: PositiveInt = 128  # Ilse et al. 2018, tables 8 to 10
        epochs: PositiveInt = 60  # ours: by then the validation loss rises on sets of hundreds of patients
        min_steps: PositiveInt = 500  # as in fine-tuning, after BiT (arXiv 1912.11370), sec. 3.3
        batch_size: PositiveInt = 16  # ours; the paper has 1
        learning_rates: tuple[Positive, ...] = (1e-4, 1e-3, 1e-2)  # the paper: 1e-4 and 5e-4, with batches of 1
        weight_decay: NonNegative = 1e-2  # ours: sets of hundreds of patients overfit with the 1e-4 of the paper

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    config: Config

    def fit(self, train: Features, val: Features) -> Predictor:
        """Train with every learning rate on the training groups; choose rate and epoch on the validation groups.

        Raises:
            DataError: The validation part is empty.
        """
        if not len(val):
            raise DataError(
                "the validation part is empty, so the learning rate and the epoch of attention pooling cannot be "
                "chosen. Add validation images."
            )
        bags, judged = Bags.of(train), Bags.of(val)
        number = train.target.kind == "quantity"
        middle, spread = number_scale(bags.y) if number else (torch.tensor(0.0), torch.tensor(1.0))
        if number:
            bags, judged = (replace(each, y=(each.y - middle) / spread) for each in (bags, judged))
        found: dict[float, KeepBest[float]] = {}
        for rate in sorted(set(self.config.learning_rates)):
            found[rate] = self._train(rate, train, bags, judged)
        rate = min(found, key=lambda each: found[each].score)
        network = Pooling(train.x.shape[1], self.config.hidden, train.target.outputs)
        network.load_state_dict(found[rate].weights)
        network.rescale(middle, spread)
        loss = "val_group_squared_error" if number else "val_group_log_loss"
        selected = {"learning_rate": rate, "epoch": found[rate].epoch + 1, loss: found[rate].score * float(spread) ** 2}
        alone = train.groups is None or len(bags.y) == len(train)
        notes = ("No group has several images, so every image is a group of its own.",) if alone else ()
        return _Pooled(network.eval(), train.target, selected, notes)

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the network again."""
        return restore_form(kept, context, _Pooled)

    def _train(self, rate: float, train: Features, bags: Bags, judged: Bags) -> KeepBest[float]:
        config, kept = self.config, KeepBest[float](lambda one, other: one < other - 1e-6)
        generator = torch.Generator().manual_seed(self.seed)
        network = Pooling(train.x.shape[1], config.hidden, train.target.outputs).drawn(generator)
        network.standardise(bags.x)
        optimizer = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=config.weight_decay)
        steps = len(bags.y) // min(config.batch_size, len(bags.y))
        for epoch in range(max(config.epochs, math.ceil(config.min_steps / steps))):
            for some in batches(len(bags.y), config.batch_size, generator):
                x, place = bags.take(some)
                loss = target_loss(train.target, network(x, place, len(some)), bags.y[some])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                output = network(judged.x, judged.place, len(judged.y))
                kept.see(epoch, float(target_loss(train.target, output, judged.y)), network)
        return kept


class _Pooled(Predictor):
    """The chosen network."""

    form: ClassVar[str] = "gated attention"

    def __init__(self, network: Pooling, target: Target, selected: dict[str, Any], notes: tuple[str, ...]) -> None:
        self.network, self.target, self.selected, self.notes = network, target, selected, notes

    def predict(self, x: Tensor) -> Tensor:
        """Predict each image as a group of its own: ``(N, O)``."""
        return self._predict(x, torch.arange(len(x)))

    def predict_groups(self, x: Tensor, groups: Tensor) -> Tensor:
        """Predict each group from all of its images: ``(G, O)``, in the order of the groups' numbers."""
        return self._predict(x, torch.unique(groups, return_inverse=True)[1])

    @torch.no_grad()
    def _predict(self, x: Tensor, place: Tensor) -> Tensor:
        count = int(place.max()) + 1 if len(place) else 0
        own = self.network.mean
        return activation(self.target, self.network(x.to(own), place.to(own.device), count)).to(x)

    def keep(self) -> Kept:
        """Return the weights and the standardisation."""
        return Kept(tensors=self.network.state_dict(), settings={"form": self.form})

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:
        """Build the network that :meth:`keep` described."""
        hidden, features = kept.tensors["tangent.weight"].shape
        network = Pooling(features, hidden, context.target.outputs)
        network.load_state_dict(dict(kept.tensors))
        return cls(network.eval(), context.target, {}, ())
