"""Fine-tuning: the encoder and a linear head are trained together on the labels, from the pre-trained weights.

This is the usual way to apply an encoder. It uses AdamW with a short warm-up and half a cosine. The head starts at
zero, so the first step does not change the encoder (ViT, Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.2), and
it has a higher learning rate than the encoder.

Two things are chosen on the validation part: the encoder's learning rate from a grid, with one training per value, and
the epoch, both by log loss (``_choice.py``). With one view per image and two learning rates, it takes about as long as
pre-training for the same number of epochs.

In training, images are augmented with the recipe's augmentation; otherwise they are not. An untrained encoder
(``--method random``) gives supervised training from scratch, and one trained on ImageNet (``--method imagenet``) gives
the usual transfer learning.

N images, K classes, S side of an image in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from medssl.contracts import (
    TARGETS,
    Evaluator,
    Images,
    Kept,
    NonNegative,
    Positive,
    PositiveInt,
    Predictor,
    RestoreContext,
    Target,
)
from medssl.errors import DataError
from medssl.tools import KeepBest, activation
from medssl_evaluators._choice import ChooseBy, ConstantPredictor, Rule, choose, only_class
from medssl_evaluators._finetuning import Network, Plan, train_network
from medssl_evaluators._keeping import restore_form
from medssl_evaluators._scores import Score, score

__all__ = ["Finetune"]


class Finetune(Evaluator):
    """Trains encoder and linear head on augmented images; learning rate and epoch are chosen on the validation part."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            learning_rates: Grid of the encoder's peak learning rate.
            head_factor: The head's learning rate over the encoder's.
            epochs: Minimum number of passes over the training part.
            min_steps: Minimum number of optimizer steps; with few images, there are more passes.
            batch_size: Images per step; an incomplete last batch of an epoch is left out; it has other images in each
                epoch.
            weight_decay: Weight decay, except for biases and normalisation layers.
            warmup_epochs: Epochs of the linear warm-up from zero.
            select_epoch: ``best``: the weights of the best epoch on the validation part, the earlier one in a tie;
                ``last``: the final weights.
            choose_by: Score on the validation part that chooses learning rate and epoch: ``log_loss``; ``auroc``, which
                uses only the order of the images, for rare classes; ``balanced_accuracy``, which uses the predicted
                class.
            last_blocks: Train only the last blocks of the encoder, this many, with what follows them and the head;
                ``None``: train all.
            layer_decay: Factor of the learning rate from one block to the block before it; 1: all have the same.
            class_weight: ``balanced``: each class, or both values of a finding, has the same weight in training, as in
                scikit-learn. The probabilities are then those of an equal mix of classes.
            sampling: ``balanced``: each epoch draws as many samples, with replacement, so that classes are equally
                frequent; a sample with several findings is drawn by its rarest one.
        """

        LATER: ClassVar[frozenset[str]] = frozenset({"class_weight", "sampling"})

        learning_rates: tuple[Positive, ...] = (1e-4, 1e-3)  # ours: for good and for almost untrained weights
        head_factor: Positive = 10.0  # Caffe's fine-tuning example (2014): new layers learn ten times as fast
        epochs: PositiveInt = 30  # SimCLR v2 (arXiv 2006.10029), sec. 3, for a tenth of ImageNet's labels
        min_steps: Annotated[int, Ge(0)] = 500  # BiT (arXiv 1912.11370), sec. 3.3, for less than 20,000 images
        batch_size: Annotated[int, Ge(2)] = 32  # ours: with 30 epochs, 530 or more images need at least 500 steps
        weight_decay: NonNegative = 0.05  # DeiT (arXiv 2012.12877), table 9
        warmup_epochs: NonNegative = 1.0  # ours: 1/30 of the training; DeiT has 1/60
        select_epoch: Literal["best", "last"] = "best"  # small datasets overfit before the last epoch
        choose_by: ChooseBy = "log_loss"  # a strictly proper score: Gneiting & Raftery 2007, sec. 4.1
        last_blocks: PositiveInt | None = None  # fine-tuning in the usual sense trains all
        layer_decay: Annotated[float, Gt(0), Le(1)] = 1.0  # BEiT and MAE use 0.65 to 0.75 on large transformers
        class_weight: Literal["none", "balanced"] = "none"  # scikit-learn's default; the classes as they are
        sampling: Literal["none", "balanced"] = "none"  # as before

    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    needs: ClassVar[Literal["features", "images"]] = "images"
    config: Config

    def fit(self, train: Images, val: Images) -> Predictor:
        """Train with every learning rate on ``train``; choose rate and epoch on ``val``.

        Raises:
            DataError: A choice is necessary, but the validation part is empty.
        """
        if (label := only_class(train)) is not None:
            return ConstantPredictor(label, train.target.outputs)
        config = self.config
        if config.select_epoch == "best" and not len(val):
            raise DataError(
                "the validation part is empty, so select_epoch=best is not possible. "
                "Epochs must not be chosen on the test part. Add validation images, or set select_epoch=last."
            )
        rates = sorted(set(config.learning_rates))
        rule = Rule(config.choose_by, val.y)
        kept: dict[float, KeepBest[Score]] = {}

        def measure(some: Sequence[float]) -> list[Score]:
            kept.update({rate: self._train(rate, train, val, rule) for rate in some})
            return [kept[rate].score for rate in some]

        choice = choose(rates, measure, rule=rule, val=val, name="learning rate", option="learning_rates")
        best = kept[choice.value]
        network = Network(train)
        network.load_state_dict(best.weights)
        selected = {"learning_rate": choice.value, "epoch": best.epoch + 1, **choice.selected, **best.score.selected()}
        return _Tuned(network.eval(), train.target, selected, choice.notes)

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the network again."""
        return restore_form(kept, context, _Tuned, ConstantPredictor)

    def _train(self, rate: float, train: Images, val: Images, rule: Rule) -> KeepBest[Score]:
        config = self.config
        plan = Plan(
            encoder_rate=rate,
            head_rate=rate * config.head_factor,
            epochs=config.epochs,
            min_steps=config.min_steps,
            batch_size=config.batch_size,
            weight_decay=config.weight_decay,
            warmup_epochs=config.warmup_epochs,
            seed=self.seed,
            last_blocks=config.last_blocks,
            layer_decay=config.layer_decay,
            weighted=config.class_weight == "balanced",
            sampled=config.sampling == "balanced",
        )
        kept = KeepBest(rule.better)
        passes = plan.passes(len(train))

        def after_epoch(epoch: int, network: Network) -> None:
            if config.select_epoch == "last" and epoch + 1 < passes:
                return
            (reached,) = score(network.predict_part(val)[None], val.y)
            kept.see(epoch, reached, network)

        train_network(train, plan, after_epoch)
        return kept


class _Tuned(Predictor):
    """The chosen network."""

    form: ClassVar[str] = "network"

    def __init__(self, network: Network, target: Target, selected: dict[str, Any], notes: tuple[str, ...]) -> None:
        self.network = network
        self.target = target
        self.selected = selected
        self.notes = notes

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, S, S)`` to predictions ``(N, O)``."""
        return activation(self.target, self.network(x))

    def keep(self) -> Kept:
        """Return all weights of encoder and head."""
        return Kept(tensors=self.network.state_dict(), settings={"form": self.form})

    @classmethod
    def rebuild(cls, kept: Kept, context: RestoreContext) -> Self:
        """Build the network that :meth:`keep` described."""
        network = Network(context)
        network.load_state_dict(dict(kept.tensors))
        return cls(network.eval(), context.target, {}, ())

    def module(self) -> nn.Module:
        """Return encoder, head and softmax or sigmoid (for a quantity neither), for images ``(N, 3, S, S)``."""
        parts = [self.network.encoder, self.network.layers()]
        if self.target.kind != "quantity":
            parts.append(nn.Sigmoid() if self.target.kind == "findings" else nn.Softmax(dim=1))
        return nn.Sequential(*parts)
