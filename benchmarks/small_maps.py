"""Check this processor's weight gradients of convolutions on small maps: ``python -m benchmarks.small_maps``.

The gradient of one convolution at a time, in bfloat16 under autocast, is compared with the gradient in float64 of the
same rounded numbers. If it differs by more than a twentieth of the largest value, it counts as wrong. The exit code is
1 if any gradient is wrong.
:mod:`medssl.train.machine.small_maps` computes such layers in float32.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import torch
from torch import nn
from torch.nn.grad import conv2d_weight

from medssl.train.machine.device import native_bfloat16

KERNELS, STRIDES = (1, 3, 7), (1, 2, 4)
SIDES = ((1, 1), (1, 4), (4, 1), (2, 2), (3, 3), (4, 4), (8, 8))
TOLERANCE = 0.05  # of the largest value; bfloat16 keeps 8 bits, a step of 0.004


def count_wrong(kernel: int, stride: int, sides: tuple[int, int], trials: int) -> int:
    """Count the trials in which the weight gradient is wrong.

    Args:
        kernel: Side of the kernel in pixels; the padding is half of it.
        stride: Stride in pixels.
        sides: Height and width of the map.
        trials: Number of trials, each with weights and images of its own.
    """
    wrong, padding = 0, kernel // 2
    for seed in range(trials):
        torch.manual_seed(seed)
        layer = nn.Conv2d(64, 128, kernel, stride=stride, padding=padding, bias=False).to(
            memory_format=torch.channels_last
        )
        x = torch.randn(32, 64, *sides).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        gradient = torch.randn_like(y)
        y.backward(gradient)
        rounded = x.bfloat16().double()
        exact = conv2d_weight(rounded, layer.weight.shape, gradient.double(), stride=stride, padding=padding)
        assert layer.weight.grad is not None
        error = (layer.weight.grad - exact).abs().max() / exact.abs().max()
        wrong += not bool(error < TOLERANCE)  # NaN is wrong too
    return wrong


def main() -> int:
    """Print one line for each shape that is wrong; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    trials = parser.parse_args().trials
    print(
        f"torch {torch.__version__}; {native_bfloat16() or 'no bfloat16 instructions'}; {trials} trials of each shape"
    )
    found = False
    for kernel, stride, sides in itertools.product(KERNELS, STRIDES, SIDES):
        if wrong := count_wrong(kernel, stride, sides, trials):
            found = True
            below = " (a side below the stride)" if min(sides) < stride else ""
            print(f"kernel {kernel}, stride {stride}, map {sides[0]} x {sides[1]}{below}: {wrong} of {trials} wrong")
    print("Some gradients are wrong." if found else "Every gradient is correct.")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
