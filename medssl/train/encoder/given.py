"""Other encoders that a method uses, for instance a teacher: frozen, with their own weights, size and normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.catalog import load_catalog
from medssl.contracts import EncoderCard, EncoderPlugin, Preprocessing
from medssl.contracts.kinds import ENCODER
from medssl.errors import OptionError
from medssl.recipe import Recipe, choose
from medssl.train.encoder.building import Encoder, build_encoder
from medssl.train.machine.device import choose_layout

__all__ = ["GivenEncoder", "Loader", "named_encoders"]


class GivenEncoder(nn.Module):
    """A frozen encoder that takes the views of a run: ``(N, C, H, W)`` to ``(N, F)``; it stays in evaluation mode.

    Views are normalised anew, and resized if the encoder takes images of one size only.

    Attributes:
        feature_dim: F.

    Args:
        encoder: The encoder.
        card: How it expects images.
        run: How the views of the run are normalised.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: Encoder, card: EncoderCard, run: Preprocessing) -> None:
        super().__init__()
        own = card.preprocessing
        mean, std = (torch.tensor(value, dtype=torch.float64) for value in (own.mean, own.std))
        run_mean, run_std = (torch.tensor(value, dtype=torch.float64) for value in (run.mean, run.std))
        self.register_buffer("scale", (run_std / std).float()[:, None, None])
        self.register_buffer("shift", ((run_mean - mean) / std).float()[:, None, None])
        self.feature_dim = encoder.feature_dim
        self._encoder = encoder
        self._size = card.image_size
        self._mode = own.interpolation
        self.requires_grad_(False)
        self.eval()

    def forward(self, views: Tensor) -> Tensor:
        """Encode views of the run."""
        x = views * self.scale + self.shift
        if self._size is not None and self._size != x.shape[2]:
            x = F.interpolate(x, size=(self._size, self._size), mode=self._mode, antialias=True)
        features: Tensor = self._encoder(x)
        return features

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002  (it is never trained)
        """Stay in evaluation mode."""
        return super().train(False)


@dataclass
class Loader:
    """Loads other encoders for a method, and remembers which.

    Attributes:
        recipe: The recipe of the run.
        like: The encoder in training; the others get its device.
        loaded: Facts of those that were loaded, for the result.
    """

    recipe: Recipe
    like: Encoder
    loaded: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, name: str) -> GivenEncoder:
        """Load an encoder by a name as ``--encoder`` takes it.

        Raises:
            OptionError: It has random weights, or the images have other channels than three.
            MedsslError: See :func:`build_encoder`.
        """
        source, card = _open(name)
        if source.weights is None:
            raise OptionError(
                f"the encoder '{name}' has random weights, so there is nothing to learn from it. Name one with weights."
            )
        if self.like.in_channels != 3:
            raise OptionError(
                f"the encoder '{name}' takes images of three channels, and these have {self.like.in_channels}. Use a "
                "method without a second encoder."
            )
        encoder = build_encoder(source, card.image_size or self.recipe.views.image_size, 0)
        given = GivenEncoder(encoder, card, self.recipe.card.preprocessing)
        device = next(self.like.parameters()).device
        choose_layout(device).apply(given, device)
        about = {"architecture": encoder.backbone_name, "licence": card.licence, "forbids": list(card.forbids)}
        self.loaded.append({**encoder.origin, **about})
        return given


def named_encoders(recipe: Recipe) -> Iterator[tuple[str, Path | str | None, EncoderCard]]:
    """Yield the encoders that the options of the method name: name, weights and card."""
    for option in recipe.method.plugin.encoders:
        name = str(getattr(recipe.method.config, option))
        source, card = _open(name)
        yield name, source.weights, card


def _open(name: str) -> tuple[EncoderPlugin, EncoderCard]:
    choice = choose(ENCODER.name, name, {}, load_catalog())
    source: EncoderPlugin = choice.plugin(choice.config, choice.facts)
    return source, source.card
