"""Builds the content of ``result.json`` from the values that the stages of a run returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medssl.evaluation.metrics import metric_facts
from medssl.results.directory import SCHEMA
from medssl.runs.context import RunContext
from medssl.runs.stages.evaluation import Evaluated
from medssl.runs.stages.pretraining import Trained
from medssl.runs.stages.seen import Judged
from medssl.train.machine.device import describe_environment
from medssl.train.machine.small_maps import REASON

__all__ = ["Remarks", "describe_run"]


@dataclass(frozen=True)
class Remarks:
    """Facts that the reader of a result must know, in addition to its numbers.

    Attributes:
        seen: The validation and test images that the encoder had seen before this run.
        warnings: Warnings that medssl and its plugins logged.
        baseline: Findings of the evaluators before training; ``None`` if not measured.
    """

    seen: Judged
    warnings: Sequence[str]
    baseline: Mapping[str, Any] | None


def describe_run(
    context: RunContext, trained: Trained, findings: Evaluated, remarks: Remarks, seconds: float
) -> dict[str, Any]:
    """Return the content of ``result.json``.

    Args:
        context: The run.
        trained: The encoder, and how it was trained.
        findings: Scores by evaluator.
        remarks: Facts that the reader must know.
        seconds: Wall time of this call.
    """
    recipe = context.recipe
    return {
        "schema": SCHEMA,
        "method": recipe.method.name,
        "dataset": recipe.dataset.name,
        "seed": recipe.seed,
        "recipe": {**recipe.to_dict(), "hash": recipe.hash},
        "plugins": recipe.per_kind(lambda choice: choice.origin),
        "environment": _environment(context, trained),
        "data": _data(context, remarks),
        "pretrain": _training(context, trained),
        "metrics": metric_facts(context.data.target),
        "evaluations": findings.evaluations,
        "diagnostics": findings.diagnostics,
        "baseline": remarks.baseline,
        "seconds": round(seconds, 3),
    }


def _environment(context: RunContext, trained: Trained) -> dict[str, Any]:
    layers = list(trained.encoder.float32_layers)
    reason = REASON if layers else None
    return {
        **describe_environment(),
        **context.machine.describe(),
        "float32_layers": layers,
        "float32_layers_reason": reason,
    }


def _data(context: RunContext, remarks: Remarks) -> dict[str, Any]:
    described = dict(context.data.describe())
    described["encoder_seen"] = remarks.seen.values
    warnings = [*remarks.seen.warnings, *described["warnings"], *remarks.warnings]
    return {**described, "warnings": list(dict.fromkeys(warnings))}


def _training(context: RunContext, trained: Trained) -> dict[str, Any]:
    """Describe the pre-training, including the epochs of interrupted calls."""
    history = trained.history
    seconds = sum(record.seconds for record in history)
    seen = sum(record.images for record in history)
    steps = len(context.data.pretrained_on) // context.recipe.train.batch_size
    return {
        "uses_labels": context.recipe.method.plugin.uses_labels,
        "epochs": len(history),
        "steps": len(history) * steps,
        "seconds": round(seconds, 3),
        "images_per_second": round(seen / seconds, 1) if seconds else None,
        "final_loss": history[-1].loss if history else None,
        "init": trained.encoder.origin or None,
        "reused": trained.source and trained.source.path.name,
    }
