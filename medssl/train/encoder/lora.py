"""Low-rank adapters beside frozen weights (LoRA): adds them to a network, merges them, and reads them from a file.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, arXiv 2106.09685, equation 3. The package peft
adds the adapters. Merged into the weights, they leave an ordinary network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medssl.errors import CheckpointError, PluginError
from medssl.io.limits import WEIGHT_BYTES
from medssl.io.reading import parse_json, read_content
from medssl.tools.weights import parse_weights

__all__ = ["LORA", "Adapter", "apply_adapter", "layers_to_adapt", "read_adapter"]

LORA = "lora"
"""Entry of a header: the facts of adapters."""

_ATTENTION = ("attn", "attention")  # parts of the names of attention layers in timm, open_clip and transformers


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Low-rank adapters of a network.

    Attributes:
        rank: Rank of each.
        alpha: They are scaled by ``alpha / rank``.
        layers: Names of the layers that have one.
        base: Checksum of the weights beside which they were trained.
        tensors: Their weights by name.
    """

    rank: int
    alpha: float
    layers: tuple[str, ...]
    base: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict, compare=False)

    def to_text(self) -> str:
        """Return the entry of a header."""
        facts = {"rank": self.rank, "alpha": self.alpha, "layers": self.layers, "base": self.base}
        return json.dumps(facts, sort_keys=True)

    def add_to(self, network: nn.Module) -> None:
        """Add adapters to a network, in place; the initial weights are drawn from torch's global generator.

        Raises:
            PluginError: The package peft is not installed.
        """
        peft = _package()
        named = "|".join(map(re.escape, self.layers))
        configuration = peft.LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=0.0, bias="none", target_modules=f"({named})"
        )
        peft.inject_adapter_in_model(configuration, network)

    def merge_into(self, network: nn.Module) -> Adapter:
        """Add the adapters in a network to the weights beside them, in place; return them with their own weights."""
        kept = {name: value.detach().cpu().clone() for name, value in _tensors(network).items()}
        _merge(network)
        return replace(self, tensors=kept)


def read_adapter(path: Path) -> Adapter:
    """Read the adapters that a run kept.

    Raises:
        CheckpointError: The file is missing or damaged, or it holds no adapters.
    """
    try:
        tensors, header = parse_weights(read_content(path, WEIGHT_BYTES))
        facts = dict(parse_json(header[LORA]))
        return Adapter(**{**facts, "layers": tuple(facts["layers"])}, tensors=tensors)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} holds no adapters that can be read. {_cause(error)}. Give the adapter.safetensors of a run with "
            "train.lora_rank."
        ) from error


def apply_adapter(network: nn.Module, path: Path, base: str | None) -> None:
    """Add the adapters of a file to a network with given weights, and merge them, in place.

    Args:
        network: The network.
        path: The file.
        base: Checksum of its weights; ``None``: they are random.

    Raises:
        CheckpointError: They were trained beside other weights, or do not fit the network.
        PluginError: The package peft is not installed.
    """
    adapter = read_adapter(path)
    if base != adapter.base:
        had = "these are random" if base is None else f"these have {base[:12]}"
        raise CheckpointError(
            f"the adapters of {path} belong to other weights. They need weights with the checksum {adapter.base[:12]}, "
            f"and {had}. Give these weights with --init FILE, or put the file beside the adapters."
        )
    try:
        with torch.random.fork_rng(devices=[]):
            adapter.add_to(network)
        own = _tensors(network)
        if own.keys() != adapter.tensors.keys():
            raise ValueError("their names differ")
        network.load_state_dict(dict(adapter.tensors), strict=False)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the adapters of {path} do not fit this network. {_cause(error)}. Use the encoder that they were trained "
            "with."
        ) from error
    _merge(network)
    network.requires_grad_(True)


def layers_to_adapt(network: nn.Module, blocks: Sequence[str], *, everything: bool) -> Iterable[str]:
    """Yield the layers of the blocks that get an adapter, in the network's order."""
    inside = [(name, module) for name, module in network.named_modules() if _is_inside(name, blocks)]
    whole = [name for name, module in inside if isinstance(module, nn.MultiheadAttention)]
    for name, module in inside:
        if any(name.startswith(f"{outer}.") for outer in whole):
            continue
        plain = isinstance(module, nn.Linear | nn.MultiheadAttention)
        convolution = isinstance(module, nn.Conv2d) and module.groups == 1  # peft needs a rank that groups divide
        attention = any(part in name for part in _ATTENTION)
        if (plain and (everything or attention)) or (everything and convolution):
            yield name


def _is_inside(name: str, blocks: Sequence[str]) -> bool:
    return any(name.startswith(f"{block}.") for block in blocks)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if ".lora_" in name}


def _merge(network: nn.Module) -> None:
    """Add each adapter to the weights beside it, and put the plain layer in its place."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: PLC0415  (an extra)

    for name, module in list(network.named_modules()):
        if isinstance(module, BaseTunerLayer):
            place, _, last = name.rpartition(".")
            setattr(network.get_submodule(place), last, _merged(module))


def _merged(layer: Any) -> nn.Module:
    found: nn.Module
    if hasattr(layer, "unload_and_optionally_merge_module"):  # an attention of torch, whose weights are one tensor
        found = layer.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
    else:
        layer.merge()
        found = layer.get_base_layer()
    return found


def _package() -> Any:
    try:
        import peft  # noqa: PLC0415  (an extra, and seconds to import)
    except ImportError as error:
        raise PluginError(
            'adapters need the package peft, which is not installed. Run pip install "medssl[lora]".'
        ) from error
    return peft


def _cause(error: Exception) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"{text:.200}"
