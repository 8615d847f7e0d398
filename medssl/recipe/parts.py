"""The recipe: a data, a training and an evaluation part, in memory as values, on file as one flat mapping."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from medssl.contracts import Augmentation, ViewSpec
from medssl.contracts.kinds import KINDS, Kind
from medssl.recipe.choosing import Choice, plain
from medssl.settings import EncoderSettings, EvaluateSettings, PrecisionName, SplitSettings, TrainSettings, ViewSettings

__all__ = ["DataRecipe", "EvaluateRecipe", "Recipe", "TrainRecipe"]


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Which images, in which parts, and what they look like; enough to look at a dataset before anything is trained.

    Attributes:
        dataset: Where the images come from.
        split: How they become parts.
        views: Size, normalisation and the name of the augmentation.
        named_augmentation: What the catalogue says under that name, with the recipe's ``augmentation`` section over it.
        overridden: Augmentation fields that the user set in the ``views`` section.
        seed: Of views, order, initial weights and evaluators; the split has its own.
    """

    dataset: Choice
    split: SplitSettings
    views: ViewSettings
    named_augmentation: Augmentation
    overridden: Mapping[str, Any]
    seed: int

    @property
    def augmentation(self) -> Augmentation:
        """What a view is drawn with: the named augmentation with the user's fields in it."""
        return replace(self.named_augmentation, **self.overridden)

    def views_for(self, spec: ViewSpec) -> ViewSpec:
        """Return a method's views; what the user set wins over what the method asks of a group of them."""
        groups = tuple(
            replace(group, augment={key: value for key, value in group.augment.items() if key not in self.overridden})
            for group in spec.groups
        )
        return replace(spec, groups=groups)


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How the encoder is made.

    Attributes:
        method: What trains it; one whose ``trains`` is off leaves it as it starts.
        encoder: The network and what it starts from.
        train: The settings of the loop.
    """

    method: Choice
    encoder: EncoderSettings
    train: TrainSettings


@dataclass(frozen=True, kw_only=True)
class EvaluateRecipe:
    """How the encoder is judged.

    Attributes:
        evaluators: What works on its features.
        evaluate: Intervals.
    """

    evaluators: tuple[Choice, ...]
    evaluate: EvaluateSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every setting of a run. Build one with :func:`medssl.recipe.resolve`.

    What a part holds can be read here too (``recipe.method`` is ``recipe.training.method``).

    Attributes:
        base: Name of the catalogue's recipe it started from.
        precision: ``auto``: bfloat16 where the processor computes in it, else float32.
        data: Which images.
        training: How the encoder is made.
        evaluation: How it is judged.
        others: Plugins of the kinds that belong to no part, by section.
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
        """Every plugin that the run uses."""
        return (choice for kind in KINDS for choice in self.chosen(kind))

    @property
    def method(self) -> Choice:
        """Of :attr:`training`."""
        return self.training.method

    @property
    def encoder(self) -> EncoderSettings:
        """Of :attr:`training`."""
        return self.training.encoder

    @property
    def train(self) -> TrainSettings:
        """Of :attr:`training`."""
        return self.training.train

    @property
    def dataset(self) -> Choice:
        """Of :attr:`data`."""
        return self.data.dataset

    @property
    def split(self) -> SplitSettings:
        """Of :attr:`data`."""
        return self.data.split

    @property
    def views(self) -> ViewSettings:
        """Of :attr:`data`."""
        return self.data.views

    @property
    def augmentation(self) -> Augmentation:
        """Of :attr:`data`: what a view is drawn with, final."""
        return self.data.augmentation

    @property
    def seed(self) -> int:
        """Of :attr:`data`."""
        return self.data.seed

    @property
    def evaluators(self) -> tuple[Choice, ...]:
        """Of :attr:`evaluation`."""
        return self.evaluation.evaluators

    @property
    def evaluate(self) -> EvaluateSettings:
        """Of :attr:`evaluation`."""
        return self.evaluation.evaluate

    def per_kind(self, describe: Callable[[Choice], Any]) -> dict[str, Any]:
        """Describe the plugins by section: one, or a list where a run takes several; kinds without any are left out."""
        found = {kind: [describe(choice) for choice in self.chosen(kind)] for kind in KINDS}
        return {kind.section: rows if kind.many else rows[0] for kind, rows in found.items() if rows}

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values in the shape of a recipe file: what ``recipe.yaml`` of a run holds."""
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
        """Ten hexadecimal digits over every setting: equal for equal recipes, whatever the order they were given in."""
        return _digest(self.to_dict())

    @property
    def pretraining_hash(self) -> str:
        """The same over what decides the encoder: runs that differ in their evaluation alone can share one.

        Where the best epoch is kept, it is an evaluator that chooses the encoder, by the labels it sees.
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
    """Hash a recipe's values; what belongs to no part, a display for instance, changes no result."""
    beside = {kind.section for kind in KINDS if kind.part == "run"}
    counted = {key: value for key, value in values.items() if key not in beside}
    text = json.dumps({**counted, "recipe": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
