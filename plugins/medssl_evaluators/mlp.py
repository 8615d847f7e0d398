"""The two-layer probe of the ICIP 2023 study on frozen features.

Linear layer to 512, BatchNorm, LeakyReLU, linear layer to the classes; 100 epochs of Adam, the learning rate halved
every 25 (section 3.1). The study calls it linear evaluation; with its hidden layer it can separate more than a linear
probe, so it is a separate evaluator here. Table 1 of the study lists the tuned learning rates and batch sizes, which
may have been tuned on the test part: so here every learning rate of the table is trained, together in one stacked batch
(in ``_stacked.py``), and one is chosen on the validation part, by log loss (``_choice.py``).

Where the study's code differs from its text, this follows the text: the learning rate is halved after epochs 25, 50 and
75 (the code: 50 and 75), and the backbone's BatchNorm is frozen like the rest (in the code it adapts to the probe).

A quantity is standardised, and its squared error is the loss; it has no classes to balance.

N samples, L learning rates, R seeds, S = L x R heads, K classes or findings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from annotated_types import Ge
from torch import Tensor, nn

from medssl.contracts import TARGETS, Evaluator, Features, Kept, Positive, PositiveInt, Predictor, RestoreContext
from medssl.errors import DataError
from medssl.tools import balanced_chances, balanced_weights, number_scale
from medssl_evaluators._choice import ChooseBy, ConstantPredictor, Rule, choose, only_class
from medssl_evaluators._keeping import restore_form
from medssl_evaluators._scores import Score, score
from medssl_evaluators._stacked import StackedHeads, train_heads

__all__ = ["MLP"]


class MLP(Evaluator):
    """Two-layer probe; its learning rate is chosen on the validation part."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            hidden: Width of the hidden layer.
            epochs: Passes over the training part.
            batch_size: Samples per step. An incomplete last batch of an epoch is left out; it has other samples in each
                epoch. A training part smaller than a batch is one batch.
            learning_rates: Grid for Adam's learning rate.
            hold_epochs: Epochs before the schedule starts, which halves the rate every 25 epochs.
            seeds: Initialisations and orders per learning rate. With several, a learning rate is chosen by its mean
                score, the first seed is the result, and the others are also scored (``mlp_seed2`` ...), to show the
                spread.
            select_epoch: ``last``: the weights after the last epoch, when by default the learning rate is one eighth.
                ``best``: those of the best epoch on the validation part, the earlier one in a tie; with few validation
                images, the best of 100 epochs is partly chance.
            choose_by: Score on the validation part that chooses learning rate and epoch: ``log_loss``; ``auroc``, which
                uses only the order of the images, for rare classes; ``balanced_accuracy``, which uses the predicted
                class.
            class_weight: ``balanced``: each class, or both values of a finding, has the same weight in training, as in
                scikit-learn. The probabilities are then those of an equal mix of classes.
            sampling: ``balanced``: each epoch draws as many samples, with replacement, so that classes are equally
                frequent; a sample with several findings is drawn by its rarest one.
        """

        LATER: ClassVar[frozenset[str]] = frozenset({"class_weight", "sampling"})

        hidden: PositiveInt = 512  # the study's code; its text says "2-layered"
        epochs: PositiveInt = 100  # ICIP 2023 study, sec. 3.1
        batch_size: Annotated[int, Ge(2)] = 64  # Table 1 has 16 and 64; 64 takes a quarter of the steps
        learning_rates: tuple[Positive, ...] = (0.005, 0.01, 0.1, 0.5)  # every value of Table 1
        hold_epochs: Annotated[int, Ge(0)] = 0  # sec. 3.1; the study's code has 25
        seeds: PositiveInt = 1  # as in the study, which reports one
        select_epoch: Literal["last", "best"] = "last"  # what the study's code did; its "best" was never updated
        choose_by: ChooseBy = "log_loss"  # a strictly proper score: Gneiting & Raftery 2007, sec. 4.1
        class_weight: Literal["none", "balanced"] = "none"  # scikit-learn's default; the classes as they are
        sampling: Literal["none", "balanced"] = "none"  # as before

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    config: Config

    def fit(self, train: Features, val: Features) -> Predictor:
        """Train every learning rate and seed on ``train``; choose a rate on ``val``, the lower one in a tie.

        Raises:
            DataError: There are several learning rates or epochs to choose from, and the validation part is empty.
        """
        if (label := only_class(train)) is not None:
            return ConstantPredictor(label, train.target.outputs)
        config = self.config
        rates = sorted(set(config.learning_rates))
        rule = Rule(config.choose_by, val.y)
        number = train.target.kind == "quantity"
        middle, spread = number_scale(train.y) if number else (train.x.new_zeros(()), train.x.new_ones(()))

        def in_unit(some: StackedHeads) -> StackedHeads:
            return some.in_unit(middle, spread) if number else some

        keep = _KeepBest(val, rule, in_unit) if config.select_epoch == "best" else None
        heads = train_heads(
            train.x.float(),
            (train.y - middle) / spread if number else train.y,
            train.target.outputs,
            hidden=config.hidden,
            seeds=[1000 * self.seed + r for _ in rates for r in range(config.seeds)],
            learning_rates=[rate for rate in rates for _ in range(config.seeds)],
            batch_size=config.batch_size,
            epochs=config.epochs,
            hold=config.hold_epochs,
            after_epoch=keep,
            weights=balanced_weights(train.y) if config.class_weight == "balanced" and not number else None,
            chances=balanced_chances(train.y) if config.sampling == "balanced" and not number else None,
        )
        heads = keep.heads if keep and keep.heads else in_unit(heads)
        scores = score(heads.predict_proba(val.x), val.y)
        of_rate = {rate: scores[i * config.seeds : (i + 1) * config.seeds] for i, rate in enumerate(rates)}

        def measure(some: Sequence[float]) -> list[Score]:
            return [Score.mean(of_rate[rate]) for rate in some]

        choice = choose(rates, measure, rule=rule, val=val, name="learning rate", option="learning_rates")
        selected = {"learning_rate": choice.value, "batch_size": min(config.batch_size, len(train)), **choice.selected}

        def predictor(seed: int) -> _Head:
            head = heads.take([rates.index(choice.value) * config.seeds + seed])
            return _Head(head, {**selected, **of_rate[choice.value][seed].selected()})

        result = predictor(0)
        result.notes = choice.notes
        result.also = {f"seed{r + 1}": predictor(r) for r in range(1, config.seeds)}
        return result

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the probe again."""
        return restore_form(kept, context, _Head, ConstantPredictor)


class _KeepBest:
    """Callback after each epoch: keeps every head at its best epoch."""

    def __init__(self, val: Features, rule: Rule, in_unit: Callable[[StackedHeads], StackedHeads]) -> None:
        if not len(val):
            raise DataError(
                "the validation part is empty, so select_epoch=best is not possible. "
                "Epochs must not be chosen on the test part. Add validation images, or set select_epoch=last."
            )
        self.val, self.rule, self.in_unit = val, rule, in_unit
        self.heads: StackedHeads | None = None

    def __call__(self, heads: StackedHeads) -> None:
        heads = self.in_unit(heads)
        reached = score(heads.predict_proba(self.val.x), self.val.y)
        if self.heads is None:
            self.heads, self.reached = heads.take(range(len(heads))), reached
            return
        better = [self.rule.better(new, old) for new, old in zip(reached, self.reached, strict=True)]
        self.heads.copy_where(torch.tensor(better, device=self.val.x.device), heads)
        self.reached = [new if won else old for new, old, won in zip(reached, self.reached, better, strict=True)]


class _Head(Predictor):
    """One trained probe."""

    form: ClassVar[str] = "two layers"

    def __init__(self, heads: StackedHeads, selected: dict[str, Any]) -> None:
        self.heads = heads
        self.selected = selected

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to the probabilities of classes or findings ``(N, K)``, or to numbers ``(N, 1)``."""
        return self.heads.predict_proba(x)[0]

    def keep(self) -> Kept:
        """Return the weights and the running statistics."""
        kind = {"independent": self.heads.independent, **({"number": True} if self.heads.number else {})}
        return Kept(tensors=self.heads.tensors(), settings={"form": self.form, **kind})

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:  # noqa: ARG003  (the tensors have every size)
        """Build the probe that :meth:`keep` described."""
        kind = {name: bool(kept.settings.get(name)) for name in ("independent", "number")}
        return cls(StackedHeads.of(kept.tensors, **kind), {})

    def module(self) -> nn.Module:
        """Return two linear layers, the first of which includes the batch normalisation."""
        return self.heads.layers()
