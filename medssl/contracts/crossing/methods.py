"""What methods hand over: their loss, their views and their state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medssl.contracts.crossing.values import word
from medssl.contracts.views import ViewGroup, ViewSpec

__all__ = ["loss_problems", "state_problems", "views_problems"]

_MOST_VIEWS = 1000
_LARGEST_SCALE = 16.0  # of a view's side to the recipe's


def loss_problems(loss: object, device: torch.device) -> list[str]:
    """Check the result of ``loss``: one real number with a gradient, on the device.

    Whether it is finite is another question: a loss that explodes is no fault of the plugin's code.
    """
    if not isinstance(loss, Tensor):
        return [f"the result must be one number as a tensor with a gradient, but is {word(loss)}"]
    found = []
    if loss.numel() != 1:
        found.append(f"the result must be one number, but is a tensor of shape {tuple(loss.shape)}; return the mean")
    if not loss.is_floating_point():
        found.append(f"the result must be floating point, but is {str(loss.dtype).removeprefix('torch.')}")
    elif not loss.requires_grad:
        found.append("the result must have a gradient, but is a tensor without a gradient; do not detach it")
    if loss.device.type != device.type:
        found.append(f"the result must be on {device}, but is on {loss.device}")
    return found


def views_problems(views: object) -> list[str]:
    """Check ``views`` of a method: a ViewSpec with groups of views."""
    if not isinstance(views, ViewSpec):
        return [f"views must be a ViewSpec, but is {word(views)}"]
    groups: object = views.groups
    if not isinstance(groups, tuple | list) or not groups:
        return [f"the groups of views must be a tuple of ViewGroup, but are {word(groups)}"]
    found = []
    for group in groups:
        if not isinstance(group, ViewGroup):
            found.append(f"a group of views must be a ViewGroup, but is {word(group)}")
            continue
        count: object = group.count
        scale: object = group.scale
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST_VIEWS:
            found.append(f"the count of a group of views must be from 1 to {_MOST_VIEWS}, but is {count!r:.40}")
        if not isinstance(scale, int | float) or not 0 < scale <= _LARGEST_SCALE:
            found.append(f"the scale of a group of views must be above 0, up to {_LARGEST_SCALE:g}, not {scale!r:.40}")
        if not isinstance(group.augment, Mapping):
            found.append(f"augment of a group of views must be a mapping, but is {word(group.augment)}")
    if not isinstance(views.geometry, bool):
        found.append(f"geometry of views must be True or False, but is {word(views.geometry)}")
    return found


def state_problems(state: object, name: str = "state_dict()", depth: int = 0) -> list[str]:
    """Check what a method stores: only tensors, numbers, texts, and lists and mappings of them can be read back."""
    if state is None or isinstance(state, Tensor | bool | int | float | str | bytes) or depth > 10:
        return []
    if isinstance(state, Mapping | list | tuple):
        inside = state.items() if isinstance(state, Mapping) else enumerate(state)
        return [each for key, value in inside for each in state_problems(value, f"{name}[{key!r:.60}]", depth + 1)]
    return [f"{name} must be tensors, numbers, texts, or lists and mappings of them, but has {word(state)}"]
