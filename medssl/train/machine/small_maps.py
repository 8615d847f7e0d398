"""Convolutions whose maps are smaller than their stride: in float32 where the rest of an encoder is in bfloat16.

On processors with bfloat16 instructions oneDNN computes a wrong weight gradient for a convolution in bfloat16 whose
input is narrower than its stride: for a stride of 2, a map of one pixel. The values are not numbers, huge, or
plausible. ``benchmarks/small_maps.py`` checks a processor. With AVX-512 and with AMX instructions (PyTorch 2.14) such
gradients were wrong in most trials. Outputs, gradients of inputs, kernels of one pixel and maps as wide as the stride
were right in all.

A ResNet with its standard stem gets such maps from views of up to 16 px, and methods with small views draw those from
images of 32 px.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from medssl.tools.training import evaluation_mode
from medssl.train.machine.device import Precision

__all__ = ["REASON", "find_small_maps", "protect"]

REASON = "their maps are smaller than their stride, for which bfloat16 gradients are wrong on a processor"


def protect(network: nn.Module) -> None:
    """Let each strided convolution run in float32 whenever its input has a side below its stride, in place.

    Only on a processor and under autocast to bfloat16; its output is then rounded to bfloat16, so that the layers after
    it see what they saw before. Whatever else happens, the layer's own forward runs unchanged. Copies and pickles
    of the network are protected too. Calling it again changes nothing.
    """
    for _, layer in _strided(network):
        if "forward" not in vars(layer):
            vars(layer)["forward"] = partial(_forward, layer)


def find_small_maps(network: nn.Module, sides: Iterable[int], precision: Precision) -> tuple[str, ...]:
    """Name the convolutions that run in float32 for some of these images, in the network's order.

    Encodes one empty image of each side; leaves parameters, buffers, modes and random numbers alone.

    Args:
        network: Takes ``(1, 3, S, S)``, on its device.
        sides: S of every image that it will see, in pixels.
        precision: Of the run; none is named unless it is bfloat16 on a processor.
    """
    if precision.dtype != torch.bfloat16 or precision.device_type != "cpu":
        return ()
    found: set[str] = set()

    def look(name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if _is_small(layer, inputs[0]):
            found.add(name)

    layers = list(_strided(network))
    hooks = [layer.register_forward_pre_hook(partial(look, name)) for name, layer in layers]
    try:
        with evaluation_mode(network), torch.no_grad():
            for side in sorted(set(sides)):
                network(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(name for name, _ in layers if name in found)


def _strided(network: nn.Module) -> Iterator[tuple[str, _ConvNd]]:
    for name, layer in network.named_modules():
        if isinstance(layer, _ConvNd) and not isinstance(layer, _ConvTransposeNd) and max(layer.stride) > 1:
            yield name, layer


def _forward(layer: Any, x: Tensor) -> Tensor:
    forward = type(layer).forward
    if not (_is_small(layer, x) and x.device.type == "cpu" and _casts_to_bfloat16()):
        return forward(layer, x)  # type: ignore[no-any-return]
    with torch.autocast("cpu", enabled=False):
        return forward(layer, x.float()).to(torch.bfloat16)  # type: ignore[no-any-return]


def _is_small(layer: Any, x: Tensor) -> bool:
    """Whether some side is below the stride. Only the width was seen to do harm; the rule is on the safe side."""
    return any(side < stride for side, stride in zip(x.shape[-len(layer.stride) :], layer.stride, strict=True))


def _casts_to_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
