"""What encoders hand over: a card, a network, features, names of blocks."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

import torch
from torch import Tensor

from medssl.contracts.crossing.values import dataclass_problems, type_problems, word
from medssl.contracts.encoders import Built, EncoderCard

__all__ = ["blocks_problems", "built_problems", "card_problems", "features_problems"]


def card_problems(card: object, weights: object) -> list[str]:
    """Check the result of ``read_card``, an EncoderCard, and ``weights``."""
    return dataclass_problems(card, EncoderCard) + type_problems(
        weights, Path | str | None, "Path | str | None", "weights"
    )


def built_problems(built: object) -> list[str]:
    """Check the result of ``build``: a Built whose network has finite float32 parameters and buffers."""
    if (found := dataclass_problems(built, Built)) or not isinstance(built, Built):
        return found
    numbers = {
        name: x for name, x in built.network.state_dict().items() if isinstance(x, Tensor) and x.is_floating_point()
    }
    wrong = {
        "float32": [name for name, x in numbers.items() if x.dtype != torch.float32],
        "finite": [name for name, x in numbers.items() if not (x.is_meta or x.isfinite().all())],
    }
    return [
        f"the weights of network must be {words}, but '{names[0]}' is not" for words, names in wrong.items() if names
    ]


def features_problems(features: object, *shape: int) -> list[str]:
    """Check the result of ``features`` or ``dense``: floating point, of this shape; -1 stands for any length.

    Whether it is finite is another question: weights that diverge are no fault of the plugin's code.
    """
    if not isinstance(features, Tensor):
        return [f"the result must be a tensor, but is {word(features)}"]
    found = []
    if features.ndim != len(shape) or any(n not in (-1, m) for n, m in zip(shape, features.shape, strict=True)):
        wanted = ", ".join("any" if n == -1 else str(n) for n in shape)
        found.append(f"the result must have the shape ({wanted}), but has {tuple(features.shape)}")
    if not features.is_floating_point():
        found.append(f"the result must be floating point, but is {str(features.dtype).removeprefix('torch.')}")
    return found


def blocks_problems(blocks: object, modules: Container[str]) -> list[str]:
    """Check the result of ``blocks``: names of modules of the network."""
    if found := type_problems(blocks, list[str] | tuple[str, ...], "names of modules"):
        return found
    names: Sequence[str] = blocks  # type: ignore[assignment]  # checked above
    return [f"the network has no module '{name}'" for name in names if name not in modules][:3]
