"""Detects a collapse of the encoder: during training, and after it, with advice in the warning."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from medssl.data.loading import LoadedPart
from medssl.evaluation.features import extract
from medssl.recipe import Recipe
from medssl.runs.context import RunContext
from medssl.runs.kept.shared import has_shared_features
from medssl.tools.measures import alignment, effective_rank, feature_std, uniformity
from medssl.train.encoder.building import Encoder
from medssl.train.loop.monitor import Collapse, call_collapse
from medssl.train.loop.records import EpochRecord

__all__ = ["CollapseWatch", "measure_features"]

_IMAGES = 1000  # measured: more images change little, and two views of each must be encoded

# No collapse is reported before this step: the weights are near their start, and BatchNorm's running statistics lag
# behind. A healthy contrastive run at a high learning rate had a spread of 0.02 for nine steps, and 0.4 in the end.
_SETTLED = 100  # optimizer steps

_ADVICE = "try a method with negative pairs or a variance term, a lower --learning-rate, or a larger --batch-size"


class CollapseWatch:
    """Passes epochs on to a listener, and reports a collapse once, if two validations in a row show it.

    Args:
        context: The run; its listener gets the epochs and the report.
        steps: Optimizer steps per epoch.
    """

    def __init__(self, context: RunContext, steps: int) -> None:
        self._recipe, self._listener = context.recipe, context.listener
        self._classes, self._steps = context.data.target.outputs, steps
        self._called = False
        self._before = False
        self._seen: tuple[float, float] | None = None

    def look(self, x: Tensor) -> None:
        """Measure training images' features ``(N, F)`` of the encoder in evaluation mode, before the epoch's report."""
        if not self._called and len(x) > 1:
            self._seen = feature_std(x), effective_rank(x)

    def epoch(self, record: EpochRecord) -> None:
        """Pass one epoch on, with its measures."""
        self._listener.epoch(record)
        if self._seen is None:
            return
        collapsed = _name(self._recipe, self._classes, (record.epoch + 1) * self._steps, *self._seen) is not None
        if collapsed and self._before:
            self._called = True
            self._listener.note(f"collapsed: after epoch {record.epoch + 1} {_words('the features', *self._seen)}")
        self._before, self._seen = collapsed, None


def measure_features(context: RunContext, encoder: Encoder, train: tuple[LoadedPart, Tensor]) -> dict[str, Any]:
    """Measure the features of up to 1,000 training images; warn if they have collapsed.

    Args:
        context: The run; after less than 100 training steps, a collapse is never reported.
        encoder: The trained encoder.
        train: The training part and its features.

    Returns:
        ``images`` measured, ``feature_dim``, ``effective_rank``, ``feature_std``, ``uniformity``, ``alignment``, and
        ``collapsed``: ``complete``, ``dimensional`` or ``None``. A measure that needs two images is ``None`` for one.
        ``alignment`` is ``None`` for a frozen encoder with given weights, because its features are kept and random
        views would have to be encoded in every run.
    """
    part, x = train
    recipe, data = context.recipe, context.data
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(part))[:_IMAGES])
    x = x[chosen]
    rank, several = effective_rank(x), len(x) > 1
    spread = feature_std(x) if several else None
    steps = recipe.train.epochs * (len(data.split.train) // recipe.train.batch_size)
    collapsed = None if spread is None else _name(recipe, data.target.outputs, steps, spread, rank)
    if collapsed and spread is not None:
        text = f"collapsed: {_words(f'the features of {len(x)} training images', spread, rank)}"
        logging.getLogger(__name__).warning(text)
        context.listener.note(text)
    return {
        "images": len(x),
        "feature_dim": x.shape[1],
        "effective_rank": rank,
        "feature_std": spread,
        "uniformity": uniformity(x) if several else None,
        "alignment": None if has_shared_features(context, encoder) else _align(context, encoder, part.take(chosen)),
        "collapsed": collapsed,
    }


def _align(context: RunContext, encoder: Encoder, part: LoadedPart) -> float:
    views, precision = context.augmented(part), context.machine.precision
    one, other = (extract(encoder, partial(views, i), len(part), precision=precision) for i in range(2))
    return alignment(one, other)


def _name(recipe: Recipe, classes: int, steps: int, spread: float, rank: float) -> Collapse | None:
    """Return the kind of collapse, if the training was long enough."""
    plugin = recipe.method.plugin
    if not plugin.trains or steps < _SETTLED:
        return None
    # a method with labels may learn features of the classes only
    return call_collapse(spread, float("inf") if plugin.uses_labels else rank, classes)


def _words(features: str, spread: float, rank: float) -> str:
    return (
        f"{features} use {rank:.1f} dimensions at a spread of {spread:.3f} (evenly spread: 1), so images can hardly be "
        f"told apart; {_ADVICE}"
    )
