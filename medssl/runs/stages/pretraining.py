"""Pre-trains an encoder on the training part."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medssl.contracts import Classes, Evaluator, Features, Predictor, Target, ViewSpec
from medssl.data.loading import fingerprint
from medssl.errors import PluginError
from medssl.evaluation.metrics import Scored, prediction_metrics
from medssl.results.directory import RunDirectory
from medssl.runs.context import RunContext
from medssl.runs.stages.collapse import CollapseWatch
from medssl.runs.stages.features import features_of
from medssl.runs.stages.seen import seen_by
from medssl.train.encoder.backbones import Encoder, build_encoder
from medssl.train.encoder.checkpoint import save_encoder
from medssl.train.loop.method import build_method
from medssl.train.loop.trainer import EpochRecord, Trainer
from medssl.train.machine.small_maps import REASON, find_small_maps

__all__ = ["Trained", "first_encoder", "pretrain", "save"]

_ONLINE_BANK = 1000  # training images for the online validation, so that it takes less than 3 % of an epoch


@dataclass(frozen=True)
class Trained:
    """The output of pre-training for the later stages.

    Attributes:
        encoder: The encoder, on the run's device.
        history: One record per epoch, including those of interrupted calls; empty if nothing was trained.
        views: The views used for training; ``None``: nothing was trained in this run.
        source: The run whose encoder is reused; ``None``: the encoder belongs to this run.
    """

    encoder: Encoder
    history: Sequence[EpochRecord] = ()
    views: ViewSpec | None = None
    source: RunDirectory | None = None


def pretrain(context: RunContext) -> Trained:
    """Train an encoder on the training part, or continue an interrupted training.

    Raises:
        TrainingError: The loss is no longer finite, or a batch is larger than the training part.
    """
    recipe, data, machine, listener = context.recipe, context.data, context.machine, context.listener
    full = recipe.views.image_size
    encoder = first_encoder(context)
    if not recipe.method.plugin.trains:
        encoder.float32_layers = find_small_maps(encoder.network, [full], machine.precision)
        listener.note(f"{recipe.method.name} trains nothing: the encoder is evaluated without training")
        return Trained(encoder)
    part = data.pretraining_part()
    method = build_method(recipe, encoder, num_samples=len(part), target=data.target)
    spec = recipe.data.views_for(method.views)
    views = context.views(part, spec)
    sides = [full, *(round(full * group.scale) for group in spec.groups)]
    encoder.float32_layers = find_small_maps(encoder.network, sides, machine.precision)
    if encoder.float32_layers:
        listener.note(f"in float32: {', '.join(encoder.float32_layers)}; {REASON}")
    trainer = Trainer(
        encoder,
        method,
        views,
        settings=recipe.train,
        seed=recipe.seed,
        device=machine.device,
        precision=machine.precision,
        y=part.y if method.uses_labels else None,
        groups=part.groups,
        directory=context.directory.path,
        fingerprint=fingerprint(recipe, data),
    )
    watch = CollapseWatch(context, len(part) // recipe.train.batch_size)
    validate = _online_validation(context, encoder, watch)
    return Trained(encoder, trainer.fit(validate=validate, report=watch.epoch, progress=listener.step), spec)


def first_encoder(context: RunContext) -> Encoder:
    """Build the initial encoder of the pre-training, on the run's device."""
    recipe = context.recipe
    encoder = build_encoder(recipe.encoder, recipe.views.image_size, recipe.seed)
    return encoder.to(context.machine.device)


def save(context: RunContext, encoder: Encoder) -> None:
    """Write ``encoder.safetensors``."""
    recipe, data = context.recipe, context.data
    header = {
        "normalisation": recipe.views.normalisation,
        "image_size": str(recipe.views.image_size),
        "recipe": recipe.hash,
        "pretraining": fingerprint(recipe, data),
        "seen": seen_by(recipe, data).to_text(),
    }
    if (window := recipe.augmentation.window) is not None:
        header["window"] = json.dumps(window)
    if encoder.float32_layers:
        header["float32_layers"] = json.dumps(encoder.float32_layers)
    save_encoder(context.directory.encoder, encoder, header)


def _validation_score(target: Target, y: Tensor, prediction: Tensor) -> float:
    """Return the accuracy for classes and grades, else the first metric of the target for which higher is better."""
    if isinstance(target, Classes):
        return float((prediction.argmax(1) == y).float().mean())
    metric = next(metric for metric in prediction_metrics(target) if metric.higher_is_better)
    return float(metric.values(Scored(target, y.numpy(), prediction.numpy()).as_is())[0])


def _online_validation(
    context: RunContext, encoder: Encoder, watch: CollapseWatch
) -> Callable[[], Mapping[str, float]] | None:
    """Score the first quick evaluator on the validation part, against a fixed sample of the training part.

    It is fitted with the options of the final evaluator, so it chooses its settings by the same score. The displayed
    value is the accuracy of its choice on the validation part, or the AUROC for findings. It equals
    ``selected.val_accuracy`` of the final evaluator if the training part has no more images than the sample.
    """
    recipe, data = context.recipe, context.data
    quick = next((c for c in recipe.evaluators if c.plugin.online and c.plugin.needs == "features"), None)
    if quick is None:
        return None
    train, val = data.part("train"), data.part("val")
    if not len(train) or not len(val):
        return None
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(train))[:_ONLINE_BANK])
    bank = train.take(chosen)

    def validate() -> Mapping[str, float]:
        x = [features_of(context, encoder, part) for part in (bank, val)]
        watch.look(x[0])
        evaluator: Evaluator = quick.plugin(quick.config, recipe.seed)
        known = [Features(x=x[i], y=p.y, target=data.target) for i, p in enumerate((bank, val))]
        predictor = evaluator.fit(*known)
        if not isinstance(predictor, Predictor):
            raise PluginError(
                f"evaluator '{quick.name}' is online but returns a {type(predictor).__name__}. Only a predictor can "
                "monitor the validation part. Set its `online` to False."
            )
        score = _validation_score(data.target, val.y, predictor.predict(x[1]))
        return {} if math.isnan(score) else {f"val_{quick.name}": score}

    return validate
