"""Predictions for new images, and their tables.

n images, O outputs of the target, m nearest training images, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssl.contracts import Target
from medssl.evaluation.pooling import pool_groups
from medssl.export.decisions import Decision
from medssl.io.files import write_atomic
from medssl.io.plain_text import table_text

__all__ = ["NewPredictions"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NewPredictions:
    """Predictions for n images.

    Attributes:
        target: What is predicted.
        evaluator: Name of the predictor in the result.
        images: The images: paths, or numbers where there are no files.
        groups: The group of each; ``None`` for an image without one.
        values: ``(n, O)`` float32: probabilities of classes or findings, or a number.
        decision: How values become a class or findings.
        group_decision: Likewise for the pooled values of groups.
        distances: ``(n,)`` distance of each image to the training images, see :mod:`medssl.export.likeness`.
        shares_beyond: ``(n,)`` share of the training images that is as far from the others, or further.
        pooling: How the values of a group's images become one, see :mod:`medssl.evaluation.pooling`.
        of_groups: ``(n, O)`` the value of each image's group, if the predictor predicts groups itself.
        threshold: Distance from which on an image is unlike the training data.
        nearest: ``(n, m)`` ids of the nearest training images, the nearest first.
        nearest_values: ``(n, m)`` their true values as text.
        left_out: Images that could not be read, each with the reason.
    """

    target: Target
    evaluator: str
    images: tuple[str, ...]
    groups: tuple[str | None, ...]
    values: NDArray[np.float32]
    decision: Decision
    group_decision: Decision
    distances: NDArray[np.float32]
    shares_beyond: NDArray[np.float64]
    threshold: float
    nearest: NDArray[Any]
    nearest_values: NDArray[Any]
    left_out: tuple[str, ...] = ()
    pooling: str = "mean"
    of_groups: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Return n."""
        return len(self.images)

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """``(n,)``: whether an image is unlike the training data, so that its prediction deserves no trust."""
        return np.asarray(self.distances >= self.threshold)

    @property
    def decisions(self) -> list[str]:
        """The decision for each image; an empty text if there is none."""
        return self.decision.decide(self.values)

    def pooled(self) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.int64]]:
        """Return the values of groups: the predictor's own, or pooled as the run chose on its validation part.

        Returns:
            G names of groups in the order of their first image, values ``(G, O)``, and the position of the group of
            each image ``(n,)``, -1 without one.
        """
        numbers: dict[str, int] = {}
        place = np.array([-1 if g is None else numbers.setdefault(g, len(numbers)) for g in self.groups], np.int64)
        own = place >= 0
        if not own.any():
            return (), np.empty((0, self.target.outputs), np.float32), place
        if self.of_groups is not None:
            values = self.of_groups[np.unique(place, return_index=True)[1][-len(numbers) :]]
        else:
            values = pool_groups(self.target, self.values[own], place[own], self.pooling).astype(np.float32)
        return tuple(numbers), values, place

    def rows(self) -> list[list[str]]:
        """Return the table of images as texts, the header first. A value has all digits of its float32."""
        grouped = any(group is not None for group in self.groups)
        table = [["image", *(["group"] if grouped else []), *self._heads(), *self._head_of_likeness()]]
        decisions, unlike = self.decisions, self.unlike
        for i, image in enumerate(self.images):
            group = [self.groups[i] or ""] if grouped else []
            likeness = ["yes" if unlike[i] else "no", f"{self.distances[i]:.5f}", f"{self.shares_beyond[i]:.4f}"]
            near = [cell for pair in zip(self.nearest[i], self.nearest_values[i], strict=True) for cell in pair]
            table.append([image, *group, *self._cells(self.values[i], decisions[i]), *likeness, *map(str, near)])
        return table

    def group_rows(self) -> list[list[str]]:
        """Return the table of groups as texts, the header first; only the header if no group is known."""
        names, values, place = self.pooled()
        table = [["group", "images", *self._heads(), "unlike"]]
        for i, decision in enumerate(self.group_decision.decide(values)):
            own = place == i
            row = [names[i], str(int(own.sum())), *self._cells(values[i], decision), str(int(self.unlike[own].sum()))]
            table.append(row)
        return table

    def to_csv(self, path: Path | str) -> list[Path]:
        """Write the table of images, and beside it ``<name>_groups.csv`` if groups are known.

        Returns:
            The written files.

        Raises:
            CheckpointError: A file cannot be written.
        """
        path = Path(path)
        written = [path]
        _write(path, self.rows())
        if any(group is not None for group in self.groups):
            written.append(path.with_name(f"{path.stem}_groups{path.suffix}"))
            _write(written[-1], self.group_rows())
        return written

    def _heads(self) -> list[str]:
        if self.target.kind == "quantity":
            return [f"predicted_{self.target.output_names[0]}"]
        return [*(f"probability_{name}" for name in self.target.output_names), "decision"]

    def _head_of_likeness(self) -> list[str]:
        near = [f"nearest_{i + 1}{what}" for i in range(self.nearest.shape[1]) for what in ("", "_value")]
        return ["unlike", "distance", "share_of_training_beyond", *near]

    def _cells(self, values: NDArray[np.float32], decision: str) -> list[str]:
        numbers = [np.format_float_positional(value, unique=True, trim="0") for value in values]
        return numbers if self.target.kind == "quantity" else [*numbers, decision]


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    write_atomic(path, table_text(rows).encode("utf-8", "surrogateescape"), private=True)
