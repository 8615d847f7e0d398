"""Other hospitals: the same encoder and the same fitted heads on images that took no part in training or choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from medssl.catalog import Catalog
from medssl.contracts import Target
from medssl.data.audit.overlap import Overlap, find_overlap
from medssl.data.audit.seen import Seen, SeenImages
from medssl.data.external import ExternalData, Mapped, list_external
from medssl.data.loading import Data
from medssl.data.store.store import default_cache
from medssl.errors import CheckpointError, DataError, OptionError
from medssl.io.files import write_atomic_with
from medssl.recipe import Recipe
from medssl.results.directory import RunResult
from medssl.results.privacy import hidden_folder
from medssl.results.sections import LEAK
from medssl.runs.context import RunContext
from medssl.runs.stages.evaluation import Evaluated
from medssl.runs.stages.features import features_of
from medssl.runs.stages.judging import judge_part, predict_groups
from medssl.runs.stages.seen import before
from medssl.train.encoder.building import Encoder

__all__ = ["OtherHospital", "list_others", "open_others", "require_same_others", "score_others"]

_BATCH = 256  # images per call of a predictor of images


@dataclass(frozen=True)
class OtherHospital:
    """An external test set that was compared with the training images.

    Attributes:
        data: Its images.
        overlap: Those of them that were seen in training.
    """

    data: ExternalData
    overlap: Overlap


def list_others(recipe: Recipe, catalog: Catalog, target: Target) -> list[Mapped]:
    """List every external test set and map its labels, before anything is decoded or trained.

    Raises:
        DataError: One message names the problems of all sets.
    """
    found, problems = [], []
    for settings in recipe.external:
        try:
            found.append(list_external(settings, target, catalog, recipe.data.readers))
        except (DataError, OptionError) as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return found


def require_same_others(result: RunResult, recipe: Recipe, catalog: Catalog) -> None:
    """Check that a finished run was tested on the external test sets as they are now.

    Raises:
        CheckpointError: One of them has changed.
        DataError: One of them cannot be listed.
    """
    made_from = result.external
    for settings, mapped in zip(recipe.external, list_others(recipe, catalog, result.data.target), strict=True):
        before = made_from.get(settings.name)
        if before is None or before.samples_sha256 is None:  # earlier versions did not save it
            continue
        way_out = "Give another --output, or --force to start over here."
        if before.samples_sha256 != mapped.listed:
            what = "images were added, removed or renamed, or their labels or groups were changed"
        elif before.content_sha256 != mapped.content:
            what = "files were changed"
        else:
            continue
        raise CheckpointError(
            f"{result.path} has a result of this recipe for another external test set '{settings.name}'. Since then, "
            f"{what} in {settings.path}. {way_out}"
        )


def open_others(
    recipe: Recipe, data: Data, listed: Sequence[Mapped], bad: Literal["fail", "skip"]
) -> tuple[OtherHospital, ...]:
    """Decode the external test sets and compare them with all images that encoder and heads have seen.

    Raises:
        DataError: Some of their images were used in training, and the recipe does not allow it.
    """
    if not listed or recipe.evaluate.closed:  # what is only tested on stays closed with the test part
        return ()
    seen = _seen(recipe, data)
    found = []
    for settings, mapped in zip(recipe.external, listed, strict=True):
        opened = ExternalData.open(settings, mapped, data.target, recipe.data, bad)
        names = frozenset(opened.part.ids)
        overlap = find_overlap(seen, mapped.dataset, opened.mapped.samples, opened.store, judged=names)
        if overlap.either and not recipe.evaluate.allow_seen:
            raise DataError(f"{_sentence(settings.name, overlap, len(names))}. Leave them out, or give --allow-seen.")
        found.append(OtherHospital(opened, overlap))
    return tuple(found)


def _seen(recipe: Recipe, data: Data) -> Seen:
    """Return the record of everything that encoder or heads have seen: also the labels' images of this run."""
    earlier = before(recipe) or Seen()
    trained = sorted({*data.pretrained_on, *data.split.train})
    stages = [
        SeenImages.of(part, data.dataset, data.samples(names), data.store, default_cache())
        for part, names in (("train", trained), ("val", data.split.val))
    ]
    return Seen((*earlier.stages, *stages), earlier.known)


def _sentence(name: str, overlap: Overlap, images: int) -> str:
    near, count = len(overlap.near or ()), len(overlap.either)
    return (
        f"{count} of {images} images of the external test set '{name}' {'was' if count == 1 else 'were'} used for "
        f"training or validation: {len(overlap.equal)} identical, {near} nearly identical, {len(overlap.group)} of the "
        "same group"
    )


def score_others(
    context: RunContext, encoder: Encoder, findings: Evaluated, others: Sequence[OtherHospital]
) -> dict[str, Any]:
    """Score the fitted predictors of a run on every external test set; nothing is fitted or chosen.

    Writes ``external.npz``: ids, values, groups and predictions of each set, as ``<name>/id`` and so on.

    Returns:
        The section ``external`` of the result, by name.
    """
    arrays: dict[str, Any] = {}
    found = {other.data.settings.name: _score(context, encoder, findings, other, arrays) for other in others}
    if arrays:
        write_atomic_with(context.directory.external, lambda file: np.savez(file, **arrays), private=True)
    return found


def _score(
    context: RunContext, encoder: Encoder, findings: Evaluated, other: OtherHospital, arrays: dict[str, Any]
) -> dict[str, Any]:
    external, target = other.data, context.data.target
    name, part, samples = external.settings.name, external.part, external.mapped.samples
    x = features_of(context, encoder, part, external.store)
    views = context.maker_of(external.store).plain(part.rows)
    arrays |= {f"{name}/id": np.array(part.ids, dtype=str), f"{name}/y": part.y.numpy()}
    arrays[f"{name}/group"] = part.groups.numpy()
    evaluations, train_y = {}, context.data.part("train").y.numpy()
    for evaluator, (called, predictor) in findings.fitted.items():
        of_features = called.choice.plugin.needs == "features"
        if of_features:
            prediction = called.predict(predictor, x).numpy()
        else:
            rows = torch.split(torch.arange(len(part)), _BATCH)
            with torch.no_grad():
                prediction = torch.cat([called.predict(predictor, views(some)) for some in rows]).numpy()
        arrays[f"{name}/{evaluator}"] = prediction
        judge = partial(judge_part, context.recipe, target, part, samples)
        pooled = predict_groups(called, predictor, x if of_features else None, part)
        evaluations[evaluator] = judge(prediction, findings.rules[evaluator], train_y, pooled)
    return {**_described(other, target), "evaluations": evaluations}


def _described(other: OtherHospital, target: Target) -> dict[str, Any]:
    data, overlap = other.data, other.overlap
    part, mapped = data.part, data.mapped
    warnings = [f"{LEAK}{_sentence(data.settings.name, overlap, len(part))} (--allow-seen)"] if overlap.either else []
    if overlap.near is None:
        warnings.append("nearly identical training images were not searched, because there are too many")
    if mapped.said:
        warnings.append(f"labels: {'; '.join(mapped.said)}")
    if mapped.missing:
        warnings.append(f"findings that are not reported there, and not scored: {', '.join(mapped.missing)}")
    values = target.strata([sample.y for sample in mapped.samples if sample.y is not None]).sum(axis=0)
    return {
        "directory": hidden_folder(mapped.dataset.root),
        "dataset": data.settings.dataset.name,
        "images": len(part),
        "left_out": mapped.left_out,
        "groups": int(part.groups.unique().numel()) if part.grouped else None,
        "group_kind": mapped.group_kind,
        "labels": {name: int(count) for name, count in zip(target.strata_names, values, strict=True)},
        "seen": len(overlap.either),
        "samples_sha256": mapped.listed,
        "content_sha256": data.content,
        "warnings": warnings,
    }
