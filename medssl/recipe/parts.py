"""The recipe: a data, a training and an evaluation part; in a file it is one mapping of sections."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from medssl.contracts import Augmentation, ViewSpec
from medssl.contracts.kinds import KINDS, Kind
from medssl.recipe.choosing import Choice, plain
from medssl.recipe.settings import (
    EncoderSettings,
    EvaluateSettings,
    PrecisionName,
    SplitSettings,
    TrainSettings,
    ViewSettings,
)

__all__ = ["DataRecipe", "EvaluateRecipe", "Recipe", "TrainRecipe"]


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Dataset, split and views: enough to check a dataset before training.

    Attributes:
        dataset: Dataset plugin that provides the images.
        split: How the images are divided into parts.
        views: Size, normalisation and the name of the augmentation.
        named_augmentation: The catalogue's entry of that name, merged with the recipe's ``augmentation`` section.
        overridden: Augmentation fields that the user set in the ``views`` section.
        seed: Seed of views, order, initial weights and evaluators; the split has its own seed.
    """

    dataset: Choice
    split: SplitSettings
    views: ViewSettings
    named_augmentation: Augmentation
    overridden: Mapping[str, Any]
    seed: int

    @property
    def augmentation(self) -> Augmentation:
        """The parameters of random views: the named augmentation with the user's fields in it."""
        return replace(self.named_augmentation, **self.overridden)

    def views_for(self, spec: ViewSpec) -> ViewSpec:
        """Return a method's views; the user's settings take precedence over those of the method's view groups."""
        groups = tuple(
            replace(group, augment={key: value for key, value in group.augment.items() if key not in self.overridden})
            for group in spec.groups
        )
        return replace(spec, groups=groups)


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How the encoder is trained.

    Attributes:
        method: Method that trains it; if its ``trains`` is off, the encoder keeps its initial weights.
        encoder: The network and its initial weights.
        train: The settings of the training loop.
    """

    method: Choice
    encoder: EncoderSettings
    train: TrainSettings


@dataclass(frozen=True, kw_only=True)
class EvaluateRecipe:
    """How the encoder is evaluated.

    Attributes:
        evaluators: Evaluators that use its features.
        evaluate: Settings of confidence intervals.
    """

    evaluators: tuple[Choice, ...]
    evaluate: EvaluateSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every setting of a run. Build one with :func:`medssl.recipe.resolve`.

    The attributes of the parts can be read here too (``recipe.method`` is ``recipe.training.method``).

    Attributes:
        base: Name of the catalogue recipe that it is based on.
        precision: Number format; ``auto``: bfloat16 if the hardware supports it, else float32.
        data: Dataset, split and views.
        training: How the encoder is trained.
        evaluation: How it is evaluated.
        others: Plugins of kinds that belong to no part, by section.
    """

    base: str
    precision: PrecisionName
    data: DataRecipe
    training: TrainRecipe
    evaluation: EvaluateRecipe
    others: Mapping[str, Choice | tuple[Choice, ...] | None] = field(default_factory=dict)

    def chosen(self, kind: Kind) -> tuple[Choice, ...]:
        """Return the plugins of a kind that the run uses."""
        part = self.others if kind.part == "run" else vars(getattr(self, kind.part))
        found = part.get(kind.section)
        return found if isinstance(found, tuple) else (found,) if found else ()

    @property
    def choices(self) -> Iterator[Choice]:
        """Yield every plugin that the run uses."""
        return (choice for kind in KINDS for choice in self.chosen(kind))

    @property
    def method(self) -> Choice:
        """The method, from :attr:`training`."""
        return self.training.method

    @property
    def encoder(self) -> EncoderSettings:
        """The encoder settings, from :attr:`training`."""
        return self.training.encoder

    @property
    def train(self) -> TrainSettings:
        """The training settings, from :attr:`training`."""
        return self.training.train

    @property
    def dataset(self) -> Choice:
        """The dataset, from :attr:`data`."""
        return self.data.dataset

    @property
    def split(self) -> SplitSettings:
        """The split settings, from :attr:`data`."""
        return self.data.split

    @property
    def views(self) -> ViewSettings:
        """The view settings, from :attr:`data`."""
        return self.data.views

    @property
    def augmentation(self) -> Augmentation:
        """The final parameters of random views, from :attr:`data`."""
        return self.data.augmentation

    @property
    def seed(self) -> int:
        """The seed, from :attr:`data`."""
        return self.data.seed

    @property
    def evaluators(self) -> tuple[Choice, ...]:
        """The evaluators, from :attr:`evaluation`."""
        return self.evaluation.evaluators

    @property
    def evaluate(self) -> EvaluateSettings:
        """The evaluation settings, from :attr:`evaluation`."""
        return self.evaluation.evaluate

    def per_kind(self, describe: Callable[[Choice], Any]) -> dict[str, Any]:
        """Describe the plugins by section: one, or a list if a run takes several. Empty kinds are left out."""
        found = {kind: [describe(choice) for choice in self.chosen(kind)] for kind in KINDS}
        return {kind.section: rows if kind.many else rows[0] for kind, rows in found.items() if rows}

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values in the structure of a recipe file, as in the ``recipe.yaml`` of a run."""
        return {
            "recipe": self.base,
            **self.per_kind(Choice.to_dict),
            "seed": self.seed,
            "precision": self.precision,
            "train": plain(asdict(self.train)),
            "views": {**plain(asdict(self.views)), **plain(self.data.overridden)},
            "augmentation": plain(asdict(self.data.named_augmentation)),
            "encoder": plain(asdict(self.encoder)),
            "split": plain(asdict(self.split)),
            "evaluate": plain(asdict(self.evaluate)),
        }

    @property
    def hash(self) -> str:
        """Hash of every setting, ten hexadecimal digits; equal recipes have equal hashes, in any order of settings."""
        return _digest(self.to_dict())

    @property
    def pretraining_hash(self) -> str:
        """Hash of the settings that determine the encoder.

        Runs that differ only in their evaluation can share an encoder.

        If the best epoch is kept, the evaluator and the labels that it sees also determine the encoder.
        """
        values = self.to_dict()
        del values["evaluate"]
        if self.train.keep == "best":
            return _digest(values)
        for kind in KINDS:
            if kind.part == "evaluation":
                values.pop(kind.section, None)
        del values["train"]["validate_every"]
        if not self.method.plugin.uses_labels:
            values["split"] = {key: value for key, value in values["split"].items() if not key.startswith("label_")}
        return _digest(values)

    @property
    def slug(self) -> str:
        """Name of the run's directory."""
        words = f"{self.dataset.name}-{self.method.name}-{self.hash}"
        return words.replace(":", "_").replace("/", "_")


def _digest(values: Mapping[str, Any]) -> str:
    """Hash a recipe's values. Plugins that belong to no part, such as a display, change no result and are left out."""
    beside = {kind.section for kind in KINDS if kind.part == "run"}
    counted = {key: value for key, value in values.items() if key not in beside}
    text = json.dumps({**counted, "recipe": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
