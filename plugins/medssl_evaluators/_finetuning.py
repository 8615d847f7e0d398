"""Trains an encoder with a linear head on labelled images.

N images, F features, K classes, S side of an image in pixels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medssl.contracts import Images
from medssl.tools import activation, loss_scaler, parameter_groups, seeded, target_loss, train, warmup_cosine

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
    """

    encoder_rate: float
    head_rate: float
    epochs: int
    min_steps: int
    batch_size: int
    weight_decay: float
    warmup_epochs: float
    seed: int

    def passes(self, n: int) -> int:
        """Return the number of passes over n images."""
        return max(self.epochs, math.ceil(self.min_steps / self.steps(n)))

    def steps(self, n: int) -> int:
        """Return the steps of one pass."""
        return n // min(self.batch_size, n)


class Network(nn.Module):
    """A copy of the encoder with a linear head that starts at zero: ``(N, 3, S, S)`` to logits ``(N, O)`` float32."""

    def __init__(self, images: Images) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(images.encoder)
        self._autocast = images.autocast
        self.device = next(iter(self.encoder.parameters())).device
        head = nn.Linear(images.feature_dim, images.target.outputs, device="meta")  # so that no random number is drawn
        self.head = head.to_empty(device=self.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits with the encoder in the run's precision and the head in float32."""
        with self._autocast():
            features = self.encoder(images)
        with torch.autocast(self.device.type, enabled=False):
            logits: Tensor = self.head(features.float())
        return logits

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
    n, steps, passes = len(images), plan.steps(len(images)), plan.passes(len(images))
    warmup = round(plan.warmup_epochs * steps)
    groups = [
        {**group, "lr": rate}
        for module, rate in ((network.encoder, plan.encoder_rate), (network.head, plan.head_rate))
        for group in parameter_groups([module], plan.weight_decay)
    ]

    def loss(epoch: int, rows: Tensor) -> Tensor:
        return target_loss(images.target, network(images.augmented(epoch, rows)), images.y[rows].to(network.device))

    with seeded(plan.seed, network.device):  # for dropout
        train(
            network,
            groups,
            loss,
            samples=n,
            batch_size=plan.batch_size,
            epochs=passes,
            factor=lambda step: warmup_cosine(step, passes * steps, warmup),
            seed=plan.seed,
            optimizer=torch.optim.AdamW,
            scaler=loss_scaler(images.autocast, network.device),
            after_epoch=lambda epoch: after_epoch(epoch, network),
        )
