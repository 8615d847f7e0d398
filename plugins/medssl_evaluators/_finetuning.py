"""Trains an encoder with a linear head on labelled images.

N images, F features, K classes, S side of an image in pixels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from medssl.contracts import Images, RestoreContext
from medssl.tools import (
    activation,
    balanced_chances,
    balanced_weights,
    freeze_before,
    layer_groups,
    loss_scaler,
    number_scale,
    parameter_groups,
    seeded,
    target_loss,
    train,
    warmup_cosine,
)
from medssl_evaluators._keeping import affine

__all__ = ["Network", "Plan", "train_network"]

_PREDICTED = 256  # images in a forward pass without gradients


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of the training of a network.

    Attributes:
        encoder_rate: Peak learning rate of the encoder.
        head_rate: Peak learning rate of the head.
        epochs: Minimum number of passes over the images.
        min_steps: Minimum number of steps; with few images, there are more passes.
        batch_size: Maximum number of images per step.
        weight_decay: Weight decay, except for biases and normalisation layers.
        warmup_epochs: Epochs of the linear warm-up from zero.
        seed: Seed of the order of images and of dropout.
        last_blocks: Number of the encoder's last blocks that are trained; ``None``: all.
        layer_decay: Factor of the learning rate from one block to the block before it.
        weighted: Whether each class, or both values of a finding, has the same weight in the loss.
        sampled: Whether images are drawn so that classes are equally frequent.
    """

    encoder_rate: float
    head_rate: float
    epochs: int
    min_steps: int
    batch_size: int
    weight_decay: float
    warmup_epochs: float
    seed: int
    last_blocks: int | None = None
    layer_decay: float = 1.0
    weighted: bool = False
    sampled: bool = False

    def passes(self, n: int) -> int:
        """Return the number of passes over n images."""
        return max(self.epochs, math.ceil(self.min_steps / self.steps(n)))

    def steps(self, n: int) -> int:
        """Return the steps of one pass."""
        return n // min(self.batch_size, n)


class Network(nn.Module):
    """A copy of the encoder with a linear head that starts at zero: ``(N, 3, S, S)`` to logits ``(N, O)`` float32.

    A quantity is predicted in its unit: the head gives standardised numbers, ``scale`` has their mean and deviation.
    """

    scale: Tensor

    def __init__(self, images: Images | RestoreContext) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(images.encoder)
        self._autocast = images.autocast
        self.device = next(iter(self.encoder.parameters())).device
        head = nn.Linear(images.feature_dim, images.target.outputs, device="meta")  # so that no random number is drawn
        self.head = head.to_empty(device=self.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._frozen: tuple[str, ...] = ()
        self.number = images.target.kind == "quantity"
        if self.number:  # for other targets, files of earlier versions have no such entry
            y = images.y if isinstance(images, Images) else torch.zeros(1)
            self.register_buffer("scale", torch.stack(number_scale(y)).to(self.device))

    def freeze(self, last_blocks: int) -> None:
        """Train only the last blocks of the encoder, what follows them, and the head."""
        self._frozen = freeze_before(self._inner, self._blocks, last_blocks)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen:
            self._inner.get_submodule(name).eval()
        return self

    def groups(self, plan: Plan) -> list[dict[str, Any]]:
        """Return the optimizer's groups of parameters, with the peak learning rate of each."""
        if plan.layer_decay == 1:
            own = [{**group, "scale": 1.0} for group in parameter_groups([self.encoder], plan.weight_decay)]
        else:
            own = layer_groups(self._inner, self._blocks, plan.weight_decay, plan.layer_decay)
        encoder = [{**group, "lr": plan.encoder_rate * group.pop("scale")} for group in own]
        return [*encoder, *({**g, "lr": plan.head_rate} for g in parameter_groups([self.head], plan.weight_decay))]

    @property
    def _inner(self) -> nn.Module:
        network: nn.Module = getattr(self.encoder, "network", self.encoder)
        return network

    @property
    def _blocks(self) -> Sequence[str]:
        return getattr(self.encoder, "blocks", ())

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits with the encoder in the run's precision and the head in float32."""
        with self._autocast():
            features = self.encoder(images)
        with torch.autocast(self.device.type, enabled=False):
            logits: Tensor = self.head(features.float())
        return logits * self.scale[1] + self.scale[0] if self.number else logits

    def layers(self) -> nn.Linear:
        """Return the head; for a quantity with its scale."""
        if not self.number:
            return self.head
        return affine(self.head.weight * self.scale[1], self.head.bias * self.scale[1] + self.scale[0])

    @torch.no_grad()
    def predict_part(self, images: Images) -> Tensor:
        """Return predictions ``(N, O)`` for a whole part without augmentation, on the CPU; sets evaluation mode."""
        self.eval()
        batches = torch.split(torch.arange(len(images)), _PREDICTED)
        parts = [activation(images.target, self(images.plain(rows))).cpu() for rows in batches]
        return torch.cat(parts) if len(images) else torch.empty(0, images.target.outputs)


def train_network(images: Images, plan: Plan, after_epoch: Callable[[int, Network], None]) -> None:
    """Train a new network on augmented images with AdamW.

    Args:
        images: The training part, at least two images.
        plan: Settings of the training.
        after_epoch: Called with the number of each epoch, from 0, and the network; it may leave it in evaluation mode.
    """
    network = Network(images)
    if plan.last_blocks is not None:
        network.freeze(plan.last_blocks)
    n, steps, passes = len(images), plan.steps(len(images)), plan.passes(len(images))
    warmup = round(plan.warmup_epochs * steps)

    weights = balanced_weights(images.y) if plan.weighted and not network.number else None
    # the loss is that of standardised numbers
    variance: Tensor | float = network.scale[1].square() if network.number else 1.0

    def loss(epoch: int, rows: Tensor) -> Tensor:
        y, own = images.y[rows].to(network.device), None if weights is None else weights[rows].to(network.device)
        return target_loss(images.target, network(images.augmented(epoch, rows)), y, own) / variance

    with seeded(plan.seed, network.device):  # for dropout
        train(
            network,
            network.groups(plan),
            loss,
            samples=n,
            batch_size=plan.batch_size,
            epochs=passes,
            factor=lambda step: warmup_cosine(step, passes * steps, warmup),
            seed=plan.seed,
            optimizer=torch.optim.AdamW,
            scaler=loss_scaler(images.autocast, network.device),
            after_epoch=lambda epoch: after_epoch(epoch, network),
            chances=balanced_chances(images.y) if plan.sampled and not network.number else None,
        )
