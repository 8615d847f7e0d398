"""Adapts given weights: which blocks are trained, and low-rank adapters beside frozen weights.

After training, adapters are merged into the weights, so the rest of a run sees an ordinary network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medssl.errors import OptionError
from medssl.recipe.settings import TrainSettings
from medssl.tools.layers import freeze_before
from medssl.train.encoder.building import Encoder
from medssl.train.encoder.lora import Adapter, layers_to_adapt

__all__ = ["adapt", "describe_adaptation", "finish_adapting"]


def adapt(encoder: Encoder, settings: TrainSettings) -> None:
    """Prepare an encoder for training as the settings say: freeze what is not trained, and add adapters.

    Adapters are drawn from torch's global generator.

    Raises:
        OptionError: The encoder has no blocks, or no layers of this kind, or it has random weights.
        PluginError: The package peft is not installed.
    """
    if settings.last_blocks is None and not settings.lora_rank:
        return
    blocks = _trained_blocks(encoder, settings)
    if settings.lora_rank:
        encoder.adapter = _choose_adapter(encoder, blocks, settings)
        device = next(encoder.network.parameters()).device
        encoder.adapter.add_to(encoder.network)  # it freezes all other weights
        encoder.network.to(device)
        encoder.frozen = ("",)
        return
    encoder.frozen = freeze_before(encoder.network, encoder.blocks, len(blocks))


def finish_adapting(encoder: Encoder) -> None:
    """Merge adapters into the weights, and thaw all weights for what follows; the adapters are kept apart."""
    if encoder.adapter is not None:
        encoder.adapter = encoder.adapter.merge_into(encoder.network)
    encoder.frozen = ()
    encoder.network.requires_grad_(True)


def describe_adaptation(encoder: Encoder, settings: TrainSettings) -> dict[str, Any] | None:
    """Return the entry ``adaptation`` of a result; ``None`` if all weights are trained at one rate.

    It is called while the encoder is adapted.
    """
    if settings.last_blocks is None and not settings.lora_rank and settings.layer_decay == 1:
        return None
    counts = [(value.numel(), value.requires_grad) for value in encoder.network.parameters()]
    adapter = encoder.adapter
    return {
        "trained_parameters": sum(count for count, trained in counts if trained),
        "parameters": sum(count for count, _ in counts),
        "last_blocks": settings.last_blocks,
        "layer_decay": settings.layer_decay,
        "lora": None
        if adapter is None
        else {"rank": adapter.rank, "alpha": adapter.alpha, "layers": len(adapter.layers), "base": adapter.base},
    }


# ------------------------------------------------------------------------------------------------------------- details


def _trained_blocks(encoder: Encoder, settings: TrainSettings) -> Sequence[str]:
    wanted, blocks = settings.last_blocks, encoder.blocks
    if not blocks:
        raise OptionError(
            f"the encoder '{encoder.backbone_name}' names no blocks, so a part of it cannot be trained. Leave out "
            "train.last_blocks and train.lora_rank, or use another encoder."
        )
    if wanted is not None and wanted > len(blocks):
        raise OptionError(
            f"train.last_blocks is {wanted}, but the encoder '{encoder.backbone_name}' has {len(blocks)} blocks. Give "
            "a smaller number, or leave it out to train all."
        )
    return blocks if wanted is None else blocks[-wanted:]


def _choose_adapter(encoder: Encoder, blocks: Sequence[str], settings: TrainSettings) -> Adapter:
    base = encoder.origin.get("sha256")
    if "adapter" in encoder.origin:
        raise OptionError(
            "this encoder has adapters already, and new ones would need both files. Start from the encoder.safetensors "
            "of that run, in which they are merged."
        )
    if base is None:
        raise OptionError(
            "train.lora_rank trains adapters beside given weights, but this encoder has random ones. Give --encoder "
            "NAME or --init FILE."
        )
    layers = tuple(layers_to_adapt(encoder.network, blocks, everything=settings.lora_layers == "all"))
    if not layers:
        raise OptionError(
            f"the encoder '{encoder.backbone_name}' has no attention layers for adapters. Set train.lora_layers=all "
            "to adapt all linear layers and convolutions."
        )
    rank = settings.lora_rank
    alpha = float(rank) if settings.lora_alpha is None else settings.lora_alpha
    return Adapter(rank=rank, alpha=alpha, layers=layers, base=base)
