"""Records of a training step and of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

from medssl.results.history import EpochRecord

__all__ = ["EpochRecord", "StepRecord"]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One optimizer step, for a progress display.

    Attributes:
        epoch: Number of the epoch, from 0.
        step: Number of the step, from 0, over the whole run.
        total_steps: Number of steps of the whole run.
        loss: Loss of this step.
        learning_rate: Learning rate of this step.
    """

    epoch: int
    step: int
    total_steps: int
    loss: float
    learning_rate: float
