"""Selects the images for the page of a run: samples of each class, nearest neighbours, confident mistakes.

n test samples, M training samples, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from medssl.data.loading import Data, LoadedPart
from medssl.results.pictures import Card, Neighbours

__all__ = ["choose_mistakes", "choose_neighbours", "choose_samples", "draw_samples"]

_SAMPLES = 6  # images shown with their views
_QUERIES = 6
_NEIGHBOURS = 5
_MISTAKES = 8

Array = np.ndarray[Any, np.dtype[Any]]


def choose_samples(train: LoadedPart, classes: Sequence[str]) -> tuple[Card, ...]:
    """Draw six training images with equally many per class, and at least one for each of up to six classes."""
    labels = train.y.numpy()
    drawn = _draw_by_class(labels, max(1, _SAMPLES // len(classes)), seed=0)[:_SAMPLES]
    return tuple(Card(id=train.ids[i], label=classes[labels[i]]) for i in drawn)


def draw_samples(data: Data) -> tuple[Card, ...]:
    """Draw training images independently of their labels, for a target without classes."""
    ids = data.part("train").ids
    drawn = np.random.default_rng(0).permutation(len(ids))[:_SAMPLES].tolist()
    samples = data.samples([ids[i] for i in drawn])
    return tuple(Card(id=s.id, label=data.target.text(s.y)) for s in samples if s.y is not None)


def choose_neighbours(
    train: tuple[LoadedPart, Tensor], test: tuple[LoadedPart, Tensor], classes: Sequence[str]
) -> tuple[Neighbours, ...]:
    """Draw test images of each class, and find their nearest training images by the cosine of their features."""
    (known, x), (asked, y) = train, test
    if not len(asked) or len(known) < _NEIGHBOURS:
        return ()
    labels = asked.y.numpy()
    drawn = _draw_by_class(labels, max(1, _QUERIES // len(classes)), seed=1)[:_QUERIES]
    cosine = _unit(y.numpy()[drawn]) @ _unit(x.numpy()).T  # (queries, M)
    found = []
    for i, row in zip(drawn, cosine, strict=True):
        label = int(labels[i])
        nearest = np.argsort(-row, kind="stable")[:_NEIGHBOURS]
        cards = tuple(_neighbour(known, int(j), float(row[j]), label, classes) for j in nearest)
        found.append(Neighbours(query=Card(id=asked.ids[i], label=classes[label]), found=cards))
    return tuple(found)


def _neighbour(train: LoadedPart, place: int, cosine: float, label: int, classes: Sequence[str]) -> Card:
    own = int(train.y[place])
    return Card(id=train.ids[place], label=classes[own], note=f"cosine {cosine:.2f}", right=own == label)


def choose_mistakes(test: LoadedPart, proba: Array, classes: Sequence[str]) -> tuple[Card, ...]:
    """Return the test images with wrong predictions of an evaluator, the most confident first.

    Args:
        test: The test part.
        proba: ``(n, K)`` predictions of the evaluator.
        classes: K names.
    """
    label, said, confidence = test.y.numpy(), proba.argmax(axis=1), proba.max(axis=1)
    wrong = np.flatnonzero(said != label)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    return tuple(
        Card(
            id=test.ids[i],
            label=classes[label[i]],
            note=f"called {classes[said[i]]}, {100 * confidence[i]:.0f}\u00a0%",
            right=False,
        )
        for i in worst
    )


def _draw_by_class(labels: Array, each: int, seed: int) -> list[int]:
    """Draw ``each`` positions of every class that occurs, class by class."""
    generator = np.random.default_rng(seed)
    return [i for places in _places(labels) for i in generator.permutation(places)[:each].tolist()]


def _places(labels: Array) -> Iterator[Array]:
    for label in np.unique(labels[labels >= 0]):
        yield np.flatnonzero(labels == label)


def _unit(x: Array) -> Array:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
