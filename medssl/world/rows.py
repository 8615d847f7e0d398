"""Tensors of the global batch of which each rank holds its own rows, until something needs the others.

N rows of all ranks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from medssl.world.collectives import gather_plain, own_slice

__all__ = ["GlobalViews", "own_rows"]


class GlobalViews(Tensor):
    """Views ``(N, C, H, W)`` of the global batch.

    Shape, device and type are those of the whole. The first operation on it exchanges the pixels, on every rank,
    because all ranks compute the same loss. ``encode`` takes the rows of this rank without any exchange.
    """

    own: Tensor
    _whole: Tensor | None

    @staticmethod
    def __new__(cls: type[GlobalViews], own: Tensor, rows: int) -> GlobalViews:
        """Create it from the rows of this rank, as :func:`medssl.world.collectives.own_slice` divides them, and N."""
        found: GlobalViews = Tensor._make_wrapper_subclass(
            cls, (rows, *own.shape[1:]), strides=own.stride(), dtype=own.dtype, device=own.device
        )
        found.own, found._whole = own, None
        return found

    def whole(self) -> Tensor:
        """Return all rows."""
        if self._whole is None:
            self._whole = gather_plain(self.own, len(self))
        return self._whole

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # torch declares it for instances
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute with all rows."""

        def exchanged(value: Any) -> Any:
            return value.whole() if isinstance(value, GlobalViews) else value

        return func(*tree_map(exchanged, args), **tree_map(exchanged, kwargs or {}))

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment] # likewise


def own_rows(x: Tensor) -> Tensor:
    """Return this rank's rows of a tensor of the global batch."""
    return x.own if isinstance(x, GlobalViews) else x[own_slice(len(x))]
