"""Keeps the fitted heads of a run, so that it can predict new images later."""

from __future__ import annotations

from collections.abc import Mapping

from medssl.contracts import Predictor
from medssl.io.files import checksum
from medssl.results.heads import Head, Heads, write_heads
from medssl.runs.context import RunContext
from medssl.runs.crossing import Called
from medssl.runs.stages.features import EncodedParts

__all__ = ["keep_heads"]

_EXAMPLES = 4  # training images; enough to notice a head that is restored wrongly


def keep_heads(context: RunContext, fitted: Mapping[str, tuple[Called, Predictor]], features: EncodedParts) -> None:
    """Write ``heads.safetensors``.

    Args:
        context: The run; its ``keep`` selects the heads.
        fitted: By name in the result, the evaluator and its predictor.
        features: Features of every part.
    """
    if context.keep == "none":
        return
    examples = features["train"][1][:_EXAMPLES].clone()
    by_name: dict[str, Head] = {}
    left_out: dict[str, str] = {}
    for name, (called, predictor) in fitted.items():
        choice, needs = called.choice, called.choice.plugin.needs
        if context.keep == "features" and needs == "images":
            left_out[name] = "it has an encoder of its own, and the run was made with --keep-heads features"
        elif (kept := predictor.keep()) is None:
            left_out[name] = f"the evaluator '{choice.name}' does not support it"
        else:
            example = called.predict(predictor, examples) if needs == "features" else None
            package = f"{choice.distribution} {choice.version}"
            by_name[name] = Head(evaluator=choice.name, needs=needs, package=package, kept=kept, example=example)
    encoder = checksum(context.directory.encoder)
    write_heads(context.directory.heads, Heads(by_name=by_name, left_out=left_out, encoder=encoder, examples=examples))
