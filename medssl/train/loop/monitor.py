"""Decides from measures of its features whether an encoder has collapsed."""

from __future__ import annotations

from typing import Literal

__all__ = ["Collapse", "call_collapse"]

Collapse = Literal["complete", "dimensional"]

_SMALLEST_SPREAD = 0.05


def call_collapse(spread: float, rank: float, classes: int) -> Collapse | None:
    """Return the kind of collapse of the features, if any.

    ``complete``: the spread is below 0.05. The square of the spread is at most one minus the mean cosine similarity of
    two images, so the mean similarity is then above .9975. ``dimensional`` (Jing et al. 2022, arXiv 2110.09348): the
    features are spread, but along fewer dimensions than there are classes. K classes at equal distances, as a perfect
    classifier arranges them (Papyan et al. 2020, arXiv 2008.08186), take K - 1 dimensions plus that of their mean.

    Use measures of an encoder in evaluation mode, because in training mode BatchNorm spreads each batch. On the
    phantom, four classes at 24 px, a loss that collapses (two views compared without a stop-gradient) ended at a spread
    of 0.02 to 0.07 and a rank of 1.9 to 3.5 in evaluation mode (0.56 and 5 in training mode); with a stop-gradient it
    ended at 0.57 and 18. Other runs without collapse, also on radiographs and ultrasound, had 0.4 to 0.7 and 50 to 150;
    untrained ResNets had 0.05 to 0.3 and 5 to 50.

    Args:
        spread: Result of :func:`medssl.tools.feature_std`.
        rank: Result of :func:`medssl.tools.effective_rank`.
        classes: K, at least two.

    Returns:
        The kind; ``None`` if there is no collapse, or if a measure is NaN.
    """
    if spread < _SMALLEST_SPREAD:
        return "complete"
    return "dimensional" if rank < classes else None
