"""The known outcomes of several findings at once; an unknown outcome counts neither as present nor as absent.

Notation: n samples, K findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medssl.evaluation.metrics.metric import Array, Scored

__all__ = ["Known", "known_findings", "outcome_counts"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """The samples with a known outcome of one finding, m of them.

    Attributes:
        rows: ``(m,)`` positions of the samples.
        positive: ``(m,)`` bool, whether the finding is present.
        scores: ``(m,)`` predicted probabilities.
    """

    rows: Array
    positive: Array
    scores: Array


def known_findings(scored: Scored) -> dict[str, Known]:
    """Return the known samples of every finding, by its name."""
    found = {}
    for k, name in enumerate(scored.target.output_names):
        rows = np.flatnonzero(~np.isnan(scored.y[:, k]))
        found[name] = Known(rows=rows, positive=scored.y[rows, k] > 0, scores=scored.prediction[rows, k])
    return found


def outcome_counts(scored: Scored) -> dict[str, dict[str, int]]:
    """Return, by finding, how many samples are ``present``, ``absent`` and ``unknown``."""
    found = {}
    for name, known in scored.once(known_findings).items():
        present = int(known.positive.sum())
        found[name] = {"present": present, "absent": len(known.rows) - present, "unknown": scored.n - len(known.rows)}
    return found
