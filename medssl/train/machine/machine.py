"""The device of a run and its numerical precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medssl.train.machine.device import Precision, choose_device, choose_layout, choose_precision

__all__ = ["Machine"]


@dataclass(frozen=True)
class Machine:
    """The device and the precision of a run."""

    device: torch.device
    precision: Precision

    @classmethod
    def choose(cls, device: str, precision: str) -> Machine:
        """Choose what the user asks for, or the best that is available for ``auto``."""
        chosen = choose_device(device)
        return cls(chosen, choose_precision(precision, chosen))

    @property
    def reasons(self) -> str:
        """Device, precision and the reason for it, in one line for the user."""
        return f"{self.device} in {self.precision.name}: {self.precision.reason}"

    def describe(self) -> dict[str, str]:
        """Return the entries for ``result.json``."""
        return {
            "device": str(self.device),
            "precision": self.precision.name,
            "precision_reason": self.precision.reason,
            "layout": choose_layout(self.device).name,
            "layout_reason": choose_layout(self.device).reason,
        }
