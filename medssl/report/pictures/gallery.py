"""Which images a report shows, chosen before any is read: samples, nearest neighbours, confident mistakes, map points.

n test samples, M training samples, F features, K classes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.results.directory import RunDirectory, RunResult

__all__ = ["Card", "Neighbours", "choose_mistakes", "choose_neighbours", "choose_samples", "read_arrays"]

_SAMPLES = 6  # images shown with their views
_QUERIES = 6
_NEIGHBOURS = 5
_MISTAKES = 8

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One image to show.

    Attributes:
        id: Of the sample.
        label: Its class.
        note: What is to be said of it.
        right: Whether it speaks for the encoder; ``None`` where that is no question.
    """

    id: str
    label: str
    note: str = ""
    right: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A test image and the training images whose features are nearest to its own."""

    query: Card
    found: tuple[Card, ...]


def read_arrays(run: RunResult, name: str) -> Mapping[str, Array]:
    """Read ``features.npz``, ``predictions.npz`` or ``diagnostics.npz`` of a run; empty where there is none."""
    path: Path = getattr(RunDirectory(run.path), name)
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def choose_samples(run: RunResult, features: Mapping[str, Array]) -> list[Card]:
    """Draw training images, as many of each class as six allow, one at least for the first six classes."""
    if "train_label" not in features:
        return []
    classes = run.values["data"]["classes"]
    each = max(1, _SAMPLES // len(classes))
    drawn = _draw_by_class(features["train_label"], each, seed=0)[:_SAMPLES]
    return [Card(id=str(features["train_id"][i]), label=classes[features["train_label"][i]]) for i in drawn]


def choose_neighbours(run: RunResult, features: Mapping[str, Array]) -> list[Neighbours]:
    """Draw test images of each class, and find their nearest training images by the cosine of their features."""
    if "test_x" not in features or not len(features["test_x"]) or len(features["train_x"]) < _NEIGHBOURS:
        return []
    classes = run.values["data"]["classes"]
    drawn = _draw_by_class(features["test_label"], max(1, _QUERIES // len(classes)), seed=1)[:_QUERIES]
    train, test = _unit(features["train_x"]), _unit(features["test_x"][drawn])
    likeness = test @ train.T  # (queries, M)
    found = []
    for i, row in zip(drawn, likeness, strict=True):
        label = int(features["test_label"][i])
        nearest = np.argsort(-row, kind="stable")[:_NEIGHBOURS]
        cards = (_neighbour(features, classes, int(j), float(row[j]), label) for j in nearest)
        found.append(Neighbours(query=Card(id=str(features["test_id"][i]), label=classes[label]), found=tuple(cards)))
    return found


def _neighbour(features: Mapping[str, Array], classes: Sequence[str], place: int, likeness: float, label: int) -> Card:
    own = int(features["train_label"][place])
    return Card(
        id=str(features["train_id"][place]), label=classes[own], note=f"cosine {likeness:.2f}", right=own == label
    )


def choose_mistakes(run: RunResult, predictions: Mapping[str, Array], evaluator: str) -> list[Card]:
    """Take the test images on which an evaluator was wrong and most sure, the surest first."""
    if evaluator not in predictions:
        return []
    classes, proba, label = run.values["data"]["classes"], predictions[evaluator], predictions["label"]
    said, sure = proba.argmax(axis=1), proba.max(axis=1)
    wrong = np.flatnonzero(said != label)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:_MISTAKES]
    return [
        Card(
            id=str(predictions["id"][i]),
            label=classes[label[i]],
            note=f"called {classes[said[i]]}, {100 * sure[i]:.0f}\u00a0%",
            right=False,
        )
        for i in worst
    ]


def _draw_by_class(labels: Array, each: int, seed: int) -> list[int]:
    """Draw ``each`` positions of every class that occurs, class by class."""
    generator = np.random.default_rng(seed)
    return [i for places in _places(labels) for i in generator.permutation(places)[:each].tolist()]


def _places(labels: Array) -> Iterator[Array]:
    for label in np.unique(labels[labels >= 0]):
        yield np.flatnonzero(labels == label)


def _unit(x: Array) -> Array:
    unit: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit
