"""Pre-training on the training part, and the encoder it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from medssl.contracts import Evaluator, Features, Method, Predictor, Task
from medssl.data.loading import Data, fingerprint
from medssl.data.views import Views
from medssl.errors import PluginError
from medssl.recipe import Recipe
from medssl.results.directory import RunDirectory
from medssl.runs.collapse import CollapseWatch
from medssl.runs.features import features_of
from medssl.runs.listener import Listener
from medssl.runs.seen import seen_by
from medssl.train.encoder.backbones import Encoder, build_encoder
from medssl.train.encoder.checkpoint import save_encoder
from medssl.train.loop.seeding import derive_seed
from medssl.train.loop.trainer import EpochRecord, Trainer
from medssl.train.machine.machine import Machine
from medssl.train.machine.small_maps import REASON, find_small_maps

__all__ = ["build_method", "pretrain", "save"]

_ONLINE_BANK = 1000  # training images that the online validation compares with: keeps it under 3 % of an epoch


def pretrain(
    recipe: Recipe, data: Data, machine: Machine, directory: RunDirectory, listener: Listener
) -> tuple[Encoder, list[EpochRecord]]:
    """Train an encoder on the training part, or go on from where an earlier call stopped.

    Returns:
        The encoder, on its device, and one record per epoch; none for a method that trains nothing.

    Raises:
        TrainingError: The loss is no longer finite, or a batch is larger than the training part.
    """
    encoder = build_encoder(recipe.encoder, recipe.views.image_size, recipe.seed)
    encoder.to(machine.device)
    full = recipe.views.image_size
    if not recipe.method.plugin.trains:
        encoder.float32_layers = find_small_maps(encoder.network, [full], machine.precision)
        listener.note(f"{recipe.method.name} trains nothing: the encoder is evaluated as it is")
        return encoder, []
    part = data.pretraining_part()
    method = build_method(recipe, encoder, num_samples=len(part), num_classes=len(data.classes))
    spec = recipe.data.views_for(method.views)
    views = Views(
        data.store,
        part.rows,
        spec,
        recipe.augmentation,
        image_size=full,
        seed=recipe.seed,
        device=machine.device,
        normalisation=recipe.views.normalisation,
    )
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
        labels=part.labels if method.uses_labels else None,
        groups=part.groups,
        directory=directory.path,
        fingerprint=fingerprint(recipe, data),
    )
    watch = CollapseWatch(recipe, len(data.classes), len(part) // recipe.train.batch_size, listener)
    validate = _online_validation(recipe, data, encoder, machine, watch)
    return encoder, trainer.fit(validate=validate, report=watch.epoch, progress=listener.step)


def save(encoder: Encoder, recipe: Recipe, data: Data, directory: RunDirectory) -> None:
    """Write ``encoder.safetensors``."""
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
    save_encoder(directory.encoder, encoder, header)


def build_method(recipe: Recipe, encoder: Encoder, *, num_samples: int, num_classes: int) -> Method:
    """Build the recipe's method, its weights drawn from the recipe's seed."""
    batch = recipe.train.batch_size
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=num_samples,
        num_classes=num_classes,
        image_size=recipe.views.image_size,
        batch_size=batch,
        total_steps=recipe.train.epochs * (num_samples // batch),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "method"))
        method: Method = recipe.method.plugin(recipe.method.config, encoder, task)
    return method


def _online_validation(
    recipe: Recipe, data: Data, encoder: Encoder, machine: Machine, watch: CollapseWatch
) -> Callable[[], Mapping[str, float]] | None:
    """Score the first quick evaluator on the validation part, against a fixed sample of the training part.

    It is fitted with the options of the final one, so it chooses its settings by the same score. What is shown is the
    accuracy of its choice on the validation part: ``selected.val_accuracy`` of the final one, where the training part
    holds no more images than the sample.
    """
    quick = next((c for c in recipe.evaluators if c.plugin.online and c.plugin.needs == "features"), None)
    if quick is None:
        return None
    train, val = data.part("train"), data.part("val")
    if not len(train) or not len(val):
        return None
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(train))[:_ONLINE_BANK])
    bank = replace(train, rows=train.rows[chosen], labels=train.labels[torch.from_numpy(chosen)])

    def validate() -> Mapping[str, float]:
        x = [features_of(recipe, data, part.rows, encoder, machine) for part in (bank, val)]
        watch.look(x[0])
        evaluator: Evaluator = quick.plugin(quick.config, recipe.seed)
        known = [Features(x=x[i], label=p.labels, num_classes=len(data.classes)) for i, p in enumerate((bank, val))]
        predictor = evaluator.fit(*known)
        if not isinstance(predictor, Predictor):
            raise PluginError(
                f"evaluator '{quick.name}' is online and gives a {type(predictor).__name__}. Only predictors can watch "
                "the validation part. Set its `online` to False."
            )
        correct = predictor.predict_proba(x[1]).argmax(1) == val.labels
        return {f"val_{quick.name}": float(correct.float().mean())}

    return validate
