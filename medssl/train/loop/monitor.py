"""Is the encoder collapsing? The verdict on measures of its features."""

from __future__ import annotations

from typing import Literal

__all__ = ["Collapse", "call_collapse"]

Collapse = Literal["complete", "dimensional"]

_SMALLEST_SPREAD = 0.05


def call_collapse(spread: float, rank: float, classes: int) -> Collapse | None:
    """Say by name how far features have collapsed.

    ``complete``: the spread is below 0.05. Its square is at most one less the mean cosine similarity of two images,
    which is then above .9975. ``dimensional`` (Jing et al. 2022, arXiv 2110.09348): they are spread, but along fewer
    dimensions than there are classes. K classes at equal distances, as a perfect classifier lays them out (Papyan et
    al. 2020, arXiv 2008.08186), take K - 1 dimensions beside that of their mean.

    Give measures of an encoder in evaluation mode: in training BatchNorm spreads out each batch anew. On the phantom,
    four classes at 24 px, a loss that collapses (two views compared without a stop-gradient) ended at a spread of 0.02
    to 0.07 and a rank of 1.9 to 3.5 in evaluation (0.56 and 5 in training), and with one at 0.57 and 18. Other sound
    runs, on radiographs and ultrasound too, had 0.4 to 0.7 and 50 to 150, untrained ResNets 0.05 to 0.3 and 5 to 50.

    Args:
        spread: Of :func:`medssl.tools.feature_std`.
        rank: Of :func:`medssl.tools.effective_rank`.
        classes: K, at least two.

    Returns:
        ``None`` for features that are well, and where a measure is no number.
    """
    if spread < _SMALLEST_SPREAD:
        return "complete"
    return "dimensional" if rank < classes else None
