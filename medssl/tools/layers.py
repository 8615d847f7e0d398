"""Numbers the layers of a network, so that given weights can be trained in part, or more slowly near the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from medssl.errors import OptionError
from medssl.tools.training import parameter_groups

__all__ = ["freeze_before", "layer_groups", "number_layers"]


def number_layers(network: nn.Module, blocks: Sequence[str]) -> dict[str, int]:
    """Number the layers of a network with B blocks by the names of its parameters.

    Layer 0 is everything before the first block (patch or stem convolution, class token, positions), layer i the i-th
    block with what prepares its input, and layer B + 1 what follows the last block. This is the numbering of BEiT (Bao
    et al. 2022, arXiv 2106.08254).

    Args:
        network: The network.
        blocks: Names of its blocks, from the input to the output, as :meth:`EncoderPlugin.blocks` returns them.

    Returns:
        The layer of each parameter, in the order of ``network.named_parameters()``.
    """
    names = [name for name, _ in network.named_parameters()]
    inside = {name: i for name in names for i, block in enumerate(blocks, start=1) if name.startswith(f"{block}.")}
    first = next((position for position, name in enumerate(names) if name in inside), len(names))
    layer = len(blocks) + 1
    found = {}
    for position in reversed(range(len(names))):
        name = names[position]
        layer = inside.get(name, layer if position > first else 0)
        found[name] = layer
    return {name: found[name] for name in names}


def freeze_before(network: nn.Module, blocks: Sequence[str], last: int) -> tuple[str, ...]:
    """Freeze everything before the last blocks, in place; these and what follows them can be trained.

    Args:
        network: The network.
        blocks: Names of its blocks.
        last: Number of blocks that are trained.

    Returns:
        Names of the modules whose own weights are all frozen. Keep them in evaluation mode, so that BatchNorm keeps its
        statistics.

    Raises:
        OptionError: The network has no blocks, or fewer than ``last``.
    """
    if last > len(blocks):
        known = f"it has {len(blocks)} blocks" if blocks else "its blocks are not known"
        raise OptionError(
            f"the last {last} blocks of the encoder cannot be trained alone, because {known}. Give a smaller number, "
            "or leave it out to train all."
        )
    layers = number_layers(network, blocks)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(layers[name] > len(blocks) - last)
    found = []
    for name, module in network.named_modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            found.append(name)
    return tuple(found)


def layer_groups(
    network: nn.Module, blocks: Sequence[str], weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Sort trainable parameters as :func:`parameter_groups`, in groups with a ``scale`` for each layer.

    Args:
        network: The network.
        blocks: Names of its B blocks.
        weight_decay: Weight decay for parameters with two or more dimensions.
        layer_decay: The scale of layer l is ``layer_decay ** (B + 1 - l)``, so the last layer has 1 (Clark et al. 2020,
            ELECTRA, arXiv 2003.10555, sec. 3.1; BEiT).

    Returns:
        Groups for an optimizer; multiply the learning rate of each by its ``scale``.
    """
    layers = number_layers(network, blocks)
    parameters = dict(network.named_parameters())
    found = []
    for layer in sorted(set(layers.values())):
        members = nn.ParameterList([parameters[name] for name, own in layers.items() if own == layer])
        scale = layer_decay ** (len(blocks) + 1 - layer)
        found += [{**group, "scale": scale} for group in parameter_groups([members], weight_decay)]
    return found
