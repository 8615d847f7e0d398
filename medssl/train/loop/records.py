"""What the trainer tells of a step and of an epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

__all__ = ["EpochRecord", "StepRecord"]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One optimizer step, for a progress display.

    Attributes:
        epoch: From 0.
        step: From 0, over the whole run.
        total_steps: Of the whole run.
        loss: Of this step.
        learning_rate: Of this step.
    """

    epoch: int
    step: int
    total_steps: int
    loss: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch; a line of ``history.jsonl``.

    Attributes:
        epoch: From 0.
        loss: Mean over the epoch's steps.
        learning_rate: Of its last step.
        images: Images trained on; each counts once per view.
        seconds: Wall time of the training alone.
        images_per_second: Their ratio.
        feature_std: Spread of the last batch's features: 1 healthy, 0 collapsed; ``None`` where the method never asked
            for features.
        effective_rank: Dimensions that the last batch's features use; ``None`` likewise.
        validation: What validation returned; empty when there was none.
    """

    epoch: int
    loss: float
    learning_rate: float
    images: int
    seconds: float
    images_per_second: float
    feature_std: float | None
    effective_rank: float | None
    validation: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the record as a line of ``history.jsonl``."""
        return json.dumps(asdict(self)) + "\n"
