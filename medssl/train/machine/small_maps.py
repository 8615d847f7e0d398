"""Runs convolutions whose feature maps are smaller than their stride in float32, even if the encoder uses bfloat16.

On processors with bfloat16 instructions oneDNN computes a wrong weight gradient for a bfloat16 convolution whose input
is narrower than its stride: with stride 2, a map of one pixel. The values are NaN, huge, or plausible but wrong.
``benchmarks/small_maps.py`` checks a processor. With AVX-512 and with AMX instructions (PyTorch 2.14) such gradients
were wrong in most trials. Outputs, gradients of inputs, kernels of one pixel, and maps at least as wide as the stride
were correct in all trials.

A ResNet with the standard stem gets such maps from views of up to 16 px. Methods with small views use such views on
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

REASON = "their feature maps are smaller than their stride; on a CPU, bfloat16 gradients are then wrong"


def protect(network: nn.Module) -> None:
    """Make each strided convolution run in float32 if its input has a side below its stride, in place.

    This applies only on a CPU and under autocast to bfloat16. The output is rounded to bfloat16, so the next layers get
    the same type as before. In all other cases the layer's own forward runs unchanged. Copies and pickles of the
    network are protected too. Calling this function again changes nothing.
    """
    for _, layer in _strided(network):
        if "forward" not in vars(layer):
            vars(layer)["forward"] = partial(_forward, layer)


def find_small_maps(
    network: nn.Module, sides: Iterable[int], precision: Precision, channels: int = 3
) -> tuple[str, ...]:
    """Return the names of the convolutions that run in float32 for some of these images, in the network's order.

    It encodes one empty image of each size, and does not change parameters, buffers, modes or random states.

    Args:
        network: Takes ``(1, C, S, S)``, on its device.
        sides: S, the side lengths of all images that the network will get, in pixels.
        precision: Precision of the run; unless it is bfloat16 on a CPU, the result is empty.
        channels: C.
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
                network(torch.zeros(1, channels, side, side))
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
    """Whether a side is below the stride. Only a small width caused errors; the rule includes the height to be safe."""
    return any(side < stride for side, stride in zip(x.shape[-len(layer.stride) :], layer.stride, strict=True))


def _casts_to_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
