"""How well the frozen features tell the site: the half of the confounding check that needs an encoder."""

from __future__ import annotations

import numpy as np

from medssl.data.audit.site_signal import SiteSignal, find_site_signal
from medssl.runs.context import RunContext
from medssl.runs.stages.features import EncodedParts

__all__ = ["site_in_features"]


def site_in_features(context: RunContext, features: EncodedParts) -> SiteSignal | None:
    """Measure it on the labelled images of all parts; ``None`` if there are not two sites of several groups."""
    parts = list({id(part): (part, x) for part, x in features.values()}.values())  # a closed test part repeats another
    samples = [sample for part, _ in parts for sample in context.data.samples(part.ids)]
    if len({sample.site for sample in samples if sample.site}) < 2:
        return None
    return find_site_signal(np.concatenate([x.numpy() for _, x in parts]), samples)
