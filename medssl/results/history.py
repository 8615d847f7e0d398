"""One epoch of a run's pre-training, as in ``history.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

__all__ = ["EpochRecord"]


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch; a line of ``history.jsonl``.

    Attributes:
        epoch: Number of the epoch, from 0.
        loss: Mean over the epoch's steps.
        learning_rate: Learning rate of its last step.
        images: Number of images trained on; each counts once per view.
        seconds: Wall time of the training alone.
        images_per_second: ``images`` divided by ``seconds``.
        feature_std: Spread of the last batch's features: 1 healthy, 0 collapsed; ``None`` if the method did not encode
            any view.
        effective_rank: Number of dimensions that the last batch's features use; ``None`` in the same case.
        validation: Scores of the validation; empty if there was none.
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
