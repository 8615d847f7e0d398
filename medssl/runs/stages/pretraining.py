"""Pre-trains an encoder on the training part."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.contracts import Classes, Features, Predictor, Target, Unlabelled, ViewSpec
from medssl.contracts.kinds import ENCODER, READER
from medssl.data.loading import LoadedPart, fingerprint
from medssl.data.views.normalisation import input_channels
from medssl.errors import PluginError, TrainingError, counted
from medssl.evaluation.metrics import Scored, prediction_metrics
from medssl.recipe import Recipe
from medssl.results.directory import RunDirectory
from medssl.runs.context import RunContext
from medssl.runs.crossing import Called
from medssl.runs.stages.collapse import CollapseWatch
from medssl.runs.stages.features import features_of
from medssl.runs.stages.seen import seen_by
from medssl.train.encoder.adapting import adapt, describe_adaptation, finish_adapting
from medssl.train.encoder.building import Encoder, build_encoder
from medssl.train.encoder.checkpoint import save_adapter, save_encoder
from medssl.train.encoder.given import Loader
from medssl.train.loop.method import build_method
from medssl.train.loop.seeding import derive_seed
from medssl.train.loop.selection import BRIER
from medssl.train.loop.trainer import EpochRecord, Trainer
from medssl.train.machine.small_maps import REASON, find_small_maps

__all__ = ["Trained", "first_encoder", "pretrain", "save"]

_SMALL_STEM = (
    "the network has a small stem (encoder.stem): a 3 x 3 convolution of stride 1, no pooling. timm.create_model alone "
    "cannot load encoder.safetensors; medssl.load_encoder can, and encoder.stem=standard trains timm's own stem"
)
_ONLINE_BANK = 1000  # training images for the online validation, so that it takes less than 3 % of an epoch


@dataclass(frozen=True)
class Trained:
    """The output of pre-training for the later stages.

    Attributes:
        encoder: The encoder, on the run's device.
        history: One record per epoch, including those of interrupted calls; empty if nothing was trained.
        views: The views used for training; ``None``: nothing was trained in this run.
        source: The run whose encoder is reused; ``None``: the encoder belongs to this run.
        about: Further facts of the training for the result: how given weights were adapted, and other encoders that the
            method used.
    """

    encoder: Encoder
    history: Sequence[EpochRecord] = ()
    views: ViewSpec | None = None
    source: RunDirectory | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def pretrain(context: RunContext) -> Trained:
    """Train an encoder on the training part, or continue an interrupted training.

    Raises:
        TrainingError: The loss is no longer finite, a batch is larger than the training part, or a method that learns
            from labels alone has fewer than two.
    """
    recipe, data, machine, listener = context.recipe, context.data, context.machine, context.listener
    full = recipe.views.image_size
    encoder = first_encoder(context)
    if not recipe.method.plugin.trains:
        encoder.float32_layers = find_small_maps(encoder.network, [full], machine.precision, encoder.in_channels)
        listener.note(f"{recipe.method.name} trains nothing: the encoder is evaluated without training")
        return Trained(encoder)
    _adapt(encoder, recipe)
    adaptation = describe_adaptation(encoder, recipe.train)
    part, loader = data.pretraining_part(), Loader(recipe, encoder)
    method = build_method(recipe, encoder, num_samples=len(part), target=data.target, loader=loader, y=part.y)
    spec = recipe.data.views_for(method.views)
    views = context.views(part, spec)
    sides = [full, *(round(full * group.scale) for group in spec.groups)]
    encoder.float32_layers = find_small_maps(encoder.network, sides, machine.precision, encoder.in_channels)
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
        labelled=_labelled(context, part) if method.labelled_share else None,
        groups=part.groups,
        directory=context.directory.path,
        fingerprint=fingerprint(recipe, data),
        world=context.world,
    )
    watch = CollapseWatch(context, len(part) // recipe.train.batch_size)
    validate = _online_validation(context, encoder, watch)

    def resumed(done: int) -> None:
        listener.note(f"continued: {done} of {recipe.train.epochs} epochs were finished by an earlier call")

    history = trainer.fit(validate=validate, report=watch.epoch, progress=listener.step, resumed=resumed)
    finish_adapting(encoder)
    about = {"adaptation": adaptation, "encoders": loader.loaded}
    return Trained(encoder, history, spec, about={name: value for name, value in about.items() if value})


def _labelled(context: RunContext, part: LoadedPart) -> Tensor:
    """Return the positions of the images with a known value, ``(m,)`` int64."""
    known = torch.from_numpy(context.data.target.known(part.y.numpy())).nonzero()[:, 0]
    if len(known) < 2:
        raise TrainingError(
            f"{context.recipe.method.name} learns from labels, but the training part has "
            f"{counted(len(known), 'labelled image')}. It needs two at least. Use more labels, "
            "for instance a larger split.label_fraction."
        )
    return known


def _adapt(encoder: Encoder, recipe: Recipe) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "adapters"))
        adapt(encoder, recipe.train)


def first_encoder(context: RunContext) -> Encoder:
    """Build the initial encoder of the pre-training, on the run's device."""
    recipe = context.recipe
    channels = input_channels(context.data.store.channels)
    encoder = build_encoder(recipe.open_encoder(), recipe.views.image_size, recipe.seed, channels)
    return encoder.to(context.machine.device)


def save(context: RunContext, trained: Trained) -> None:
    """Write ``encoder.safetensors``, and ``adapter.safetensors`` if adapters were trained."""
    recipe, data, encoder = context.recipe, context.data, trained.encoder
    header = {
        **describe_encoder(recipe, encoder),
        "image_size": str(recipe.views.image_size),
        "recipe": recipe.hash,
        "pretraining": fingerprint(recipe, data),
        "seen": seen_by(recipe, data).to_text(),
    }
    if (window := recipe.augmentation.window) is not None:
        header["window"] = json.dumps(window)
    if readers := recipe.data.readers:
        header[READER.section] = json.dumps([choice.to_dict() for choice in readers])
    if encoder.float32_layers:
        header["float32_layers"] = json.dumps(encoder.float32_layers)
    if trained.about:
        header["about"] = json.dumps(trained.about)
    save_encoder(context.directory.encoder, encoder, header)
    if encoder.rebuild.get("stem") == "small":
        context.listener.note(_SMALL_STEM)
    if encoder.adapter is not None:
        save_adapter(context.directory.adapter, encoder, {**header, **_describe_base(recipe)})


def describe_encoder(recipe: Recipe, encoder: Encoder) -> dict[str, str]:
    """Return the header entries that rebuild an encoder and say how it expects images, and under which licence."""
    card, options = recipe.card, dict(encoder.rebuild)
    if (pooling := recipe.encoder.config.pooling) is not None:
        options["pooling"] = pooling
    entries = {
        ENCODER.name: json.dumps({"plugin": recipe.encoder.loader, **options}, sort_keys=True),
        "preprocessing": json.dumps(card.preprocessing.described(), sort_keys=True),
        "forbids": json.dumps(card.forbids),
    }
    return {**entries, "licence": card.licence} if card.licence else entries


def _describe_base(recipe: Recipe) -> dict[str, str]:
    """Return the header entry that builds the encoder beside which adapters were trained; a file's path is left out."""
    given = {name: value for name, value in vars(recipe.encoder.config).items() if value is not None}
    options = {name: value for name, value in given.items() if not isinstance(value, Path)}
    return {ENCODER.name: json.dumps({"plugin": recipe.encoder.loader, **options}, sort_keys=True)}


def _validation_score(target: Target, y: Tensor, prediction: Tensor) -> float:
    """Return the accuracy for classes and grades, else the first metric of the target for which higher is better."""
    if isinstance(target, Classes):
        return float((prediction.argmax(1) == y).float().mean())
    metric = next(metric for metric in prediction_metrics(target) if metric.higher_is_better)
    return float(metric.values(Scored(target, y.numpy(), prediction.numpy()).as_is())[0])


def _brier(evaluator: str, target: Target, y: Tensor, prediction: Tensor) -> dict[str, float]:
    """Return the Brier score, by which ``train.keep=best`` chooses; empty for a quantity, which has none."""
    metric = next((metric for metric in prediction_metrics(target) if metric.name == "brier"), None)
    if metric is None:
        return {}
    value = metric.values(Scored(target, y.numpy(), prediction.numpy()).as_is())
    return {f"val_{evaluator}{BRIER}": float(value[0])}


def _online_validation(
    context: RunContext, encoder: Encoder, watch: CollapseWatch
) -> Callable[[], Mapping[str, float]] | None:
    """Score the first quick evaluator on the validation part, against a fixed sample of the training part.

    It is fitted with the options of the final evaluator, so it chooses its settings by the same score. The first
    value is the accuracy of its choice on the validation part, or the AUROC for findings. It equals
    ``selected.val_accuracy`` of the final evaluator if the training part has no more images than the sample. The
    second is the Brier score, by which the best epoch is chosen.
    """
    recipe, data = context.recipe, context.data
    quick = next((c for c in recipe.evaluators if c.plugin.online and c.plugin.needs == "features"), None)
    if quick is None or isinstance(data.target, Unlabelled):
        return None
    train, val = data.part("train"), data.part("val")
    if not len(train) or not len(val):
        return None
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(train))[:_ONLINE_BANK])
    bank = train.take(chosen)

    def validate() -> Mapping[str, float]:
        x = [features_of(context, encoder, part) for part in (bank, val)]
        watch.look(x[0])
        called = Called(quick, recipe.seed, data.target)
        known = [Features(x=x[i], y=p.y, target=data.target) for i, p in enumerate((bank, val))]
        predictor = called.fit(*known)
        if not isinstance(predictor, Predictor):
            raise PluginError(
                f"evaluator '{quick.name}' is online but returns a {type(predictor).__name__}. Only a predictor can "
                "monitor the validation part. Set its `online` to False."
            )
        said = called.predict(predictor, x[1])
        score = _validation_score(data.target, val.y, said)
        return {} if math.isnan(score) else {f"val_{quick.name}": score, **_brier(quick.name, data.target, val.y, said)}

    return validate
