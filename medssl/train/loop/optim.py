"""The optimizer and its highest learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from medssl.recipe.settings import TrainSettings
from medssl.tools.layers import layer_groups
from medssl.tools.training import parameter_groups

__all__ = ["build_optimizer", "peak_learning_rate"]

#: At batch size 256. SGD: value of the recorded results (0.06 at 64); AdamW: DINO sec. 3.2; LARS: SimCLR sec. 2.3.
_BASE_RATES = {"sgd": 0.24, "adamw": 5e-4, "lars": 0.3}


def build_optimizer(modules: Iterable[nn.Module], settings: TrainSettings) -> torch.optim.Optimizer:
    """Build the optimizer over every trainable parameter of the modules.

    One update of ResNet-18 on one core takes 25 ms for SGD and 78 ms for AdamW in PyTorch's default form, and 9 and
    13 ms in the fused form (``foreach`` is not faster on a processor).

    Args:
        modules: Already on their device; a parameter that two modules share counts once.
        settings: Which optimizer, momentum and weight decay.

    Source:
        SGD as in SimSiam (arXiv 2011.10566) section 4; AdamW: Loshchilov & Hutter 2019, betas of 0.9 and 0.999; LARS:
        You et al. 2017 (arXiv 1708.03888) in lightly's form, which scales no parameter without weight decay, as in
        SimCLR and BYOL.
    """
    groups = _groups(modules, settings)
    rate = peak_learning_rate(settings)
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999), fused=fused)
    if settings.optimizer == "lars":
        from lightly.utils.lars import LARS  # noqa: PLC0415  (importing it takes a second; the others do not need it)

        lars: torch.optim.Optimizer = LARS(groups, lr=rate, momentum=settings.momentum)
        return lars
    sgd = torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, fused=fused)
    if settings.momentum:  # the fused step fails if a method unfreezes a parameter later than the others
        for parameter in (p for group in groups for p in group["params"]):
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def _groups(modules: Iterable[nn.Module], settings: TrainSettings) -> list[dict[str, Any]]:
    """Return the groups of parameters; with a layer decay, those of an encoder that names its blocks by layer."""
    if settings.layer_decay == 1:
        return parameter_groups(modules, settings.weight_decay)
    found: list[dict[str, Any]] = []
    others = []
    for module in modules:
        if blocks := getattr(module, "blocks", ()):
            network: Any = getattr(module, "network", module)
            found += layer_groups(network, blocks, settings.weight_decay, settings.layer_decay)
        else:
            others.append(module)
    used = {parameter for group in found for parameter in group["params"]}
    rest = nn.ParameterList(p for module in others for p in module.parameters() if p not in used)
    return [*found, *parameter_groups([rest], settings.weight_decay)]


def peak_learning_rate(settings: TrainSettings) -> float:
    """Return the highest learning rate of the run: the set value, or in proportion to the batch (Goyal et al. 2017)."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    return (settings.base_learning_rate or _BASE_RATES[settings.optimizer]) * settings.batch_size / 256
