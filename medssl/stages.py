"""The stages of a run that follow the data: pre-training, features, evaluation.

Each takes what the stages before it made and returns one value; :mod:`medssl.pipeline` says in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.contracts import Evaluator, Features, Method, Predictor, Task, ViewSpec
from medssl.contracts import Part as PartName
from medssl.data.loading import Data, Part
from medssl.data.views import PlainViews, Views
from medssl.evaluate.features import extract
from medssl.evaluate.scoring import score
from medssl.files import write_atomic_with
from medssl.recipe import Recipe
from medssl.record import RunDirectory
from medssl.train.backbones import Encoder, build_encoder
from medssl.train.checkpoint import save_encoder
from medssl.train.device import Precision, choose_device, choose_layout, choose_precision
from medssl.train.seeding import derive_seed
from medssl.train.trainer import EpochRecord, StepRecord, Trainer

__all__ = ["Listener", "Machine", "evaluate", "extract_features", "pretrain", "save"]

_PARTS: tuple[PartName, ...] = ("train", "val", "test")
_ONLINE_BANK = 1000  # training images that the online validation compares with: keeps it under 3 % of an epoch


class Listener:
    """Hears what a run is doing; the command line's display is one. Every method may be left as it is."""

    def stage(self, title: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def progress(self, done: int, total: int) -> None:
        """Images read so far, while the store is built."""

    def step(self, record: StepRecord) -> None:
        """An optimizer step is done."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""


@dataclass(frozen=True)
class Machine:
    """The device and the precision of a run."""

    device: torch.device
    precision: Precision

    @classmethod
    def choose(cls, device: str, precision: str) -> Machine:
        """Take what the user asks for, else the best there is."""
        chosen = choose_device(device)
        return cls(chosen, choose_precision(precision, chosen))

    @property
    def reasons(self) -> str:
        """One line for the user."""
        return f"{self.device} in {self.precision.name}: {self.precision.reason}"

    def describe(self) -> dict[str, str]:
        """Return what ``result.json`` says of it."""
        return {
            "device": str(self.device),
            "precision": self.precision.name,
            "precision_reason": self.precision.reason,
            "layout": choose_layout(self.device).name,
            "layout_reason": choose_layout(self.device).reason,
        }


# ------------------------------------------------------------------------------------------------------ pre-training


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
    if not recipe.method.plugin.trains:
        listener.note(f"{recipe.method.name} trains nothing: the encoder is evaluated as it is")
        return encoder, []
    part = data.part("train", labelled=False)
    method = _build_method(recipe, data, encoder, len(part))
    views = Views(
        data.store,
        part.rows,
        _overridden_spec(method, recipe),
        replace(recipe.augmentation, **recipe.overridden),
        image_size=recipe.views.image_size,
        seed=recipe.seed,
        device=machine.device,
        normalisation=recipe.views.normalisation,
    )
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
        fingerprint=data.fingerprint,
    )
    validate = _online_validation(recipe, data, encoder, machine)
    return encoder, trainer.fit(validate=validate, report=listener.epoch, progress=listener.step)


def save(encoder: Encoder, recipe: Recipe, directory: RunDirectory) -> None:
    """Write ``encoder.safetensors``."""
    header = {
        "normalisation": recipe.views.normalisation,
        "image_size": str(recipe.views.image_size),
        "recipe": recipe.hash,
    }
    save_encoder(directory.encoder, encoder, header)


def _build_method(recipe: Recipe, data: Data, encoder: Encoder, num_samples: int) -> Method:
    batch = recipe.train.batch_size
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=num_samples,
        num_classes=len(data.classes),
        image_size=recipe.views.image_size,
        batch_size=batch,
        total_steps=recipe.train.epochs * (num_samples // batch),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "method"))
        method: Method = recipe.method.plugin(recipe.method.config, encoder, task)
    return method


def _overridden_spec(method: Method, recipe: Recipe) -> ViewSpec:
    """What the user set by hand wins over what the method asks of a group of views."""
    groups = tuple(
        replace(group, augment={k: v for k, v in group.augment.items() if k not in recipe.overridden})
        for group in method.views.groups
    )
    return replace(method.views, groups=groups)


def _online_validation(
    recipe: Recipe, data: Data, encoder: Encoder, machine: Machine
) -> Callable[[], Mapping[str, float]] | None:
    """Score the first quick evaluator on the validation part, against a fixed sample of the training part."""
    quick = next((choice for choice in recipe.evaluators if choice.plugin.online), None)
    if quick is None:
        return None
    train, val = data.part("train"), data.part("val")
    if not len(train) or not len(val):
        return None
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(train))[:_ONLINE_BANK])
    bank = replace(train, rows=train.rows[chosen], labels=train.labels[torch.from_numpy(chosen)])

    def validate() -> Mapping[str, float]:
        x = [_features(recipe, data, part.rows, encoder, machine) for part in (bank, val)]
        evaluator: Evaluator = quick.plugin(quick.config, recipe.seed)
        known = [Features(x=x[i], label=p.labels, num_classes=len(data.classes)) for i, p in enumerate((bank, val))]
        correct = evaluator.fit(*known).predict_proba(x[1]).argmax(1) == val.labels
        return {f"val_{quick.name}": float(correct.float().mean())}

    return validate


# -------------------------------------------------------------------------------------------- features and evaluation


def _features(recipe: Recipe, data: Data, rows: np.ndarray, encoder: Encoder, machine: Machine) -> Tensor:
    views = PlainViews(
        data.store,
        rows,
        image_size=recipe.views.image_size,
        device=machine.device,
        normalisation=recipe.views.normalisation,
    )
    return extract(encoder, views, len(rows), precision=machine.precision)


def extract_features(
    recipe: Recipe, data: Data, encoder: Encoder, machine: Machine, directory: RunDirectory
) -> dict[str, tuple[Part, Tensor]]:
    """Compute features once per part and leave them in ``features.npz``."""
    found: dict[str, tuple[Part, Tensor]] = {}
    arrays: dict[str, Any] = {}
    for name in _PARTS:
        part = data.part(name)
        x = _features(recipe, data, part.rows, encoder, machine)
        found[name] = (part, x)
        arrays |= {f"{name}_x": x.numpy(), f"{name}_label": part.labels.numpy(), f"{name}_id": np.array(part.ids)}
    write_atomic_with(directory.features, lambda file: np.savez(file, **arrays))
    return found


def evaluate(
    recipe: Recipe, data: Data, features: Mapping[str, tuple[Part, Tensor]], directory: RunDirectory
) -> dict[str, Any]:
    """Fit every evaluator on train and validation; only here do test labels meet predictions."""
    train, val = (
        Features(x=x, label=part.labels, num_classes=len(data.classes))
        for part, x in (features["train"], features["val"])
    )
    part, x = features["test"]
    groups = part.groups.numpy() if part.grouped else None
    evaluations: dict[str, Any] = {}
    arrays: dict[str, Any] = {"id": np.array(part.ids), "label": part.labels.numpy()}
    for choice in recipe.evaluators:
        evaluator: Evaluator = choice.plugin(choice.config, recipe.seed)
        for name, predictor in _predictors(choice.name, evaluator.fit(train, val)):
            proba = predictor.predict_proba(x).numpy()
            scores = score(proba, part.labels.numpy(), groups, recipe.evaluate, recipe.seed)
            evaluations[name] = {**scores, "selected": dict(predictor.selected), "notes": list(predictor.notes)}
            arrays[name] = proba
    write_atomic_with(directory.predictions, lambda file: np.savez(file, **arrays))
    return evaluations


def _predictors(name: str, predictor: Predictor) -> Iterator[tuple[str, Predictor]]:
    yield name, predictor
    for suffix, other in predictor.also.items():
        yield f"{name}_{suffix}", other
