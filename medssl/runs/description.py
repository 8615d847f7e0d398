"""Builds the content of ``result.json`` from the values that the stages of a run returned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medssl.contracts.kinds import ENCODER
from medssl.data.audit.site_signal import SiteSignal
from medssl.evaluation.metrics import metric_facts
from medssl.recipe.settings import EvaluateSettings
from medssl.results.directory import SCHEMA
from medssl.results.privacy import hidden_paths, named_run
from medssl.runs.context import RunContext
from medssl.runs.stages.card import describe_card, warn_of_card
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
        external: Findings on the images of other hospitals, by name.
        site: How well the frozen features tell the site; ``None``: not measurable.
    """

    seen: Judged
    warnings: Sequence[str]
    baseline: Mapping[str, Any] | None
    external: Mapping[str, Any] = field(default_factory=dict)
    site: SiteSignal | None = None


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
    recipe, veil = context.recipe, context.data.veil
    return {
        "schema": SCHEMA,
        "method": recipe.method.name,
        "dataset": recipe.dataset.name,
        "seed": recipe.seed,
        "recipe": {**hidden_paths(recipe.identity, recipe.paths, {}), "hash": recipe.hash},
        "plugins": hidden_paths(recipe.per_kind(lambda choice: choice.origin), recipe.paths, {}),
        "environment": _environment(context, trained),
        ENCODER.name: describe_card(context, trained.encoder),
        "data": _data(context, remarks),
        "pretrain": _training(context, trained),
        "metrics": metric_facts(context.data.target),
        "evaluations": veil.values(findings.evaluations),
        "diagnostics": veil.values(findings.diagnostics),
        "baseline": veil.values(remarks.baseline),
        **({"external": dict(remarks.external)} if remarks.external else {}),
        "seconds": round(seconds, 3),
    }


def _environment(context: RunContext, trained: Trained) -> dict[str, Any]:
    layers = list(trained.encoder.float32_layers)
    reason = REASON if layers else None
    return {
        **describe_environment(),
        **context.machine.describe(),
        "devices": context.world.size,
        "devices_backend": context.world.backend,
        "batch_norm_devices": context.recipe.train.batch_norm_devices if context.world.several else None,
        "float32_layers": layers,
        "float32_layers_reason": reason,
    }


def _data(context: RunContext, remarks: Remarks) -> dict[str, Any]:
    described = dict(context.data.describe())
    described["encoder_seen"] = remarks.seen.values
    site = remarks.site
    described["confounding"] |= {"site_in_features": site and site.to_dict()}
    told = [site.sentence("frozen features", context.data.target.stratum)] if site and site.above_chance else []
    searched = _searched(context.recipe.evaluate)
    about = [*searched, *told, *remarks.seen.warnings, *_hidden(context, tuple(warn_of_card(context.recipe)))]
    warnings = [*about, *described["warnings"], *_hidden(context, remarks.warnings)]
    return {**described, "warnings": list(dict.fromkeys(warnings))}


def _searched(settings: EvaluateSettings) -> Iterator[str]:
    if settings.closed:
        yield (
            "the test part is closed: all scores are of the validation part, on which the evaluators also chose their "
            "settings"
        )
    if settings.compared > 1:
        yield f"search: {settings.compared} settings were compared on the validation part before this run"


def _hidden(context: RunContext, warnings: Sequence[str]) -> list[str]:
    """Hide identifiers in logged warnings, which may name any file."""
    return [*map(context.data.veil.with_all_files().text, warnings)] if warnings else []


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
        "init": hidden_paths(trained.encoder.origin, (), {}) or None,
        **hidden_paths(trained.about, (), {}),
        "reused": trained.source and named_run(trained.source.path),
    }
