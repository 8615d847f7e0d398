"""The probe as in the code of the ICIP 2023 study: the "frozen" backbone stays in training mode.

Its weights do not change, but its BatchNorm layers normalise each batch with the batch's own statistics, and their
running ones drift towards the probe's images (``linear.py:89`` of the study's code). The result depends on the probe's
batch size and order. A comparison with ``mlp``, the same probe on features that are computed once, shows the effect of
this error. Do not use it for results: the scored encoder is not the pre-trained one.

Every learning rate of the grid is trained on the same batches, so the backbone encodes each batch only once.

N images, F features, K classes, L learning rates, S side of an image in pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from medssl.contracts import Evaluator, Images, Positive, PositiveInt, Predictor
from medssl.tools import halving, seeded, train
from medssl_evaluators._choice import ChooseBy, ConstantPredictor, Rule, choose, only_class
from medssl_evaluators._scores import Score, score

__all__ = ["MLPTrainMode"]

_PREDICTED = 256  # images in a forward pass without gradients
_HALVED_EVERY = 25  # epochs; section 3.1 of the study


class MLPTrainMode(Evaluator):
    """Two-layer probe on a backbone whose BatchNorm adapts to the probe's batches, as in the ICIP 2023 study's code."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options, as in ``mlp``.

        Attributes:
            hidden: Width of the hidden layer.
            epochs: Passes over the training part; each encodes every image again.
            batch_size: Images per step; it also affects the backbone's statistics.
            learning_rates: Grid for Adam's learning rate.
            hold_epochs: Epochs before the schedule starts, which halves the rate every 25 epochs.
            choose_by: Score on the validation part that chooses the learning rate: ``log_loss``; ``auroc``, which uses
                only the order of the images, for rare classes; ``balanced_accuracy``, which uses the predicted class.
        """

        hidden: PositiveInt = 512  # the study's code
        epochs: PositiveInt = 100  # ICIP 2023 study, sec. 3.1
        batch_size: Annotated[int, Ge(2)] = 64  # Table 1 has 16 and 64
        learning_rates: tuple[Positive, ...] = (0.005, 0.01, 0.1, 0.5)  # every value of Table 1
        hold_epochs: Annotated[int, Ge(0)] = 25  # the study's code, linear.py:143
        choose_by: ChooseBy = "log_loss"  # a strictly proper score: Gneiting & Raftery 2007, sec. 4.1

    needs: ClassVar[Literal["features", "images"]] = "images"
    config: Config

    def fit(self, train: Images, val: Images) -> Predictor:
        """Train every learning rate on ``train``; choose one on ``val``, the lower one in a tie.

        Raises:
            DataError: There are several learning rates to choose from, and the validation part is empty.
        """
        if (label := only_class(train)) is not None:
            return ConstantPredictor(label, train.target.outputs)
        rates = sorted(set(self.config.learning_rates))
        encoder = copy.deepcopy(train.encoder).requires_grad_(requires_grad=False)
        device = train.plain(torch.arange(1)).device
        with seeded(self.seed, device):  # for equal initial weights, and dropout
            heads = [copy.deepcopy(head) for head in [self._head(train).to(device)] for _ in rates]
            self._train(encoder, heads, rates, train)
        encoder.eval()
        found = [_Probe(encoder, head.eval(), train, rate) for head, rate in zip(heads, rates, strict=True)]
        features = list(_features(encoder, val))
        proba = [torch.cat([head(x).softmax(dim=1).cpu() for x in features]) for head in heads] if features else []
        stacked = torch.stack(proba) if proba else torch.empty(len(rates), 0, train.target.outputs)
        scores = dict(zip(rates, score(stacked, val.y), strict=True))

        def measure(some: Sequence[float]) -> list[Score]:
            return [scores[rate] for rate in some]

        rule = Rule(self.config.choose_by, val.y)
        choice = choose(rates, measure, rule=rule, val=val, name="learning rate", option="learning_rates")
        probe = found[rates.index(choice.value)]
        probe.selected = {**probe.selected, **choice.selected, **scores[choice.value].selected()}
        probe.notes = choice.notes
        return probe

    def _head(self, images: Images) -> nn.Sequential:
        hidden = self.config.hidden
        return nn.Sequential(
            nn.Linear(images.feature_dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(),
            nn.Linear(hidden, images.target.outputs),
        )

    def _train(self, encoder: nn.Module, heads: list[nn.Sequential], rates: list[float], images: Images) -> None:
        config = self.config
        steps = len(images) // min(config.batch_size, len(images))

        def loss(_epoch: int, rows: Tensor) -> Tensor:
            with torch.no_grad(), images.autocast():
                x = encoder(images.plain(rows)).float()
            label = images.y[rows].to(x.device)
            return torch.stack([F.cross_entropy(head(x), label) for head in heads]).sum()  # gradients do not mix

        train(
            nn.ModuleList([encoder, *heads]),  # the error: the encoder is also in training mode
            [{"params": list(head.parameters()), "lr": rate} for head, rate in zip(heads, rates, strict=True)],
            loss,
            samples=len(images),
            batch_size=config.batch_size,
            epochs=config.epochs,
            factor=lambda step: halving(step // steps, _HALVED_EVERY, config.hold_epochs),
            seed=self.seed,
            optimizer=torch.optim.Adam,
        )


@torch.no_grad()
def _features(encoder: nn.Module, images: Images) -> Iterator[Tensor]:
    """Encode a part in evaluation mode, with the statistics after training: tensors ``(n, F)`` float32."""
    for rows in torch.split(torch.arange(len(images)), _PREDICTED):
        if len(rows):
            with images.autocast():
                x: Tensor = encoder(images.plain(rows))
            yield x.float()


class _Probe(Predictor):
    """The adapted backbone with one head."""

    def __init__(self, encoder: nn.Module, head: nn.Module, images: Images, rate: float) -> None:
        self.encoder, self.head, self.autocast = encoder, head, images.autocast
        self.selected: dict[str, Any] = {"learning_rate": rate}

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, S, S)`` to class probabilities ``(N, K)``."""
        with self.autocast():
            features = self.encoder(x)
        proba: Tensor = self.head(features.float()).softmax(dim=1)
        return proba
