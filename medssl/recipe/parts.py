"""The recipe: a data, a training and an evaluation part; in a file it is one mapping of sections."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medssl.contracts import HALF, IMAGENET, Augmentation, EncoderCard, EncoderPlugin, ViewSpec
from medssl.contracts.kinds import ENCODER, RUN_KINDS, Kind
from medssl.io.plain_text import file_stem
from medssl.recipe.choosing import Choice, plain
from medssl.recipe.external import External
from medssl.recipe.settings import (
    EvaluateSettings,
    PrecisionName,
    SplitSettings,
    TrainSettings,
    ViewSettings,
)

__all__ = ["DataRecipe", "EvaluateRecipe", "Recipe", "TrainRecipe"]

_OF_CARD = tuple(option.name for option in fields(EncoderPlugin.Config))


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Dataset, split and views: enough to check a dataset before training.

    Attributes:
        dataset: Dataset plugin that provides the images.
        split: How the images are divided into parts.
        views: Size and the name of the augmentation.
        named_augmentation: The catalogue's entry of that name, merged with the recipe's ``augmentation`` section.
        overridden: Augmentation fields that the user set in the ``views`` section.
        seed: Seed of views, order, initial weights and evaluators; the split has its own seed.
        readers: Readers of image files that the user named or set options of; all other installed ones have defaults.
    """

    dataset: Choice
    split: SplitSettings
    views: ViewSettings
    named_augmentation: Augmentation
    overridden: Mapping[str, Any]
    seed: int
    readers: tuple[Choice, ...] = ()

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
        card: What is known of the encoder: how it expects images, its licence, its training data.
        train: The settings of the training loop.
    """

    method: Choice
    encoder: Choice
    card: EncoderCard
    train: TrainSettings


@dataclass(frozen=True, kw_only=True)
class EvaluateRecipe:
    """How the encoder is evaluated.

    Attributes:
        evaluators: Evaluators that use its features.
        evaluate: Settings of confidence intervals.
        external: Images of other hospitals that are only tested on.
    """

    evaluators: tuple[Choice, ...]
    evaluate: EvaluateSettings
    external: tuple[External, ...] = ()


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
        return (choice for kind in RUN_KINDS for choice in self.chosen(kind))

    @property
    def method(self) -> Choice:
        """The method, from :attr:`training`."""
        return self.training.method

    @property
    def encoder(self) -> Choice:
        """The encoder, from :attr:`training`."""
        return self.training.encoder

    @property
    def card(self) -> EncoderCard:
        """What is known of the encoder, from :attr:`training`."""
        return self.training.card

    def open_encoder(self, **changed: Any) -> EncoderPlugin:
        """Create the encoder's plugin, with some options changed; nothing is read."""
        choice = self.encoder
        opened: EncoderPlugin = choice.plugin(replace(choice.config, **changed), choice.facts)
        return opened

    @property
    def network(self) -> str:
        """Name of the encoder for tables: a name of the catalogue, a file, or the plugin's argument (``resnet18``)."""
        choice = self.encoder
        argument = getattr(choice.config, choice.plugin.argument, None) if choice.plugin.argument else None
        return choice.name if choice.name != choice.loader or argument is None else str(argument)

    @property
    def initial_weights(self) -> Path | str | None:
        """The encoder's initial weights: a file, a name of published weights, or ``None`` for random ones."""
        return self.open_encoder().weights

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

    @property
    def external(self) -> tuple[External, ...]:
        """The images of other hospitals, from :attr:`evaluation`."""
        return self.evaluation.external

    def per_kind(self, describe: Callable[[Choice], Any]) -> dict[str, Any]:
        """Describe the plugins by section: one, or a list if a run takes several. Empty kinds are left out."""
        found = {kind: [describe(choice) for choice in self.chosen(kind)] for kind in RUN_KINDS}
        return {kind.section: rows if kind.many else rows[0] for kind, rows in found.items() if rows}

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values in the structure of a recipe file, as in the ``recipe.yaml`` of a run."""
        return {
            "recipe": self.base,
            **self.per_kind(Choice.to_dict),
            "seed": self.seed,
            "precision": self.precision,
            "train": _written(self.train),
            "views": {**plain(asdict(self.views)), **plain(self.data.overridden)},
            "augmentation": plain(asdict(self.data.named_augmentation)),
            "split": _written(self.split),
            "evaluate": _written(self.evaluate),
            **({"external": {each.name: each.to_dict() for each in self.external}} if self.external else {}),
        }

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that may change a result: :meth:`to_dict` without the plugins that belong to no part."""
        return _counted(self.to_dict())

    @property
    def paths(self) -> frozenset[str]:
        """Every setting that is a path, as text."""
        configs = [asdict(choice.config) for choice in (*self.choices, *(each.dataset for each in self.external))]
        configs += [{"path": each.path} for each in self.external]
        return frozenset(_paths([*configs, asdict(self.encoder), asdict(self.split)]))

    @cached_property
    def hash(self) -> str:
        """Hash of every setting, ten hexadecimal digits; equal recipes have equal hashes, in any order of settings."""
        return _digest(self._hashed)

    @property
    def _hashed(self) -> dict[str, Any]:
        """The settings that the hash is computed from: as in :meth:`to_dict`, without what says the same as nothing.

        The encoder's options that are unset and the default plugin are left out, and mean and deviation count where
        recipes had them before. So a run keeps the name of its directory. How given weights expect images is counted,
        because it changes the result and may change with the version of a library.
        """
        values = self.to_dict()
        given = values[ENCODER.section]
        kept = {key: value for key, value in given.items() if value is not None or key not in _OF_CARD}
        if self.encoder.implied:
            del kept["plugin"]
        named = "imagenet"
        if (kept.get("mean"), kept.get("std")) == (list(HALF.mean), list(HALF.std)):
            named = "half"
            del kept["mean"], kept["std"]
        expects = {}
        if self.initial_weights is not None and self.card.preprocessing != (HALF if named == "half" else IMAGENET):
            expects["preprocessing"] = plain(self.card.preprocessing.described())
        return {**values, ENCODER.section: {**kept, **expects}, "views": {**values["views"], "normalisation": named}}

    @cached_property
    def pretraining_hash(self) -> str:
        """Hash of the settings that determine the encoder.

        Runs that differ only in their evaluation can share an encoder.

        If the best epoch is kept, the evaluator and the labels that it sees also determine the encoder.
        """
        values = self._hashed
        del values["evaluate"]
        values.pop("external", None)
        if self.train.keep == "best":
            return _digest(values)
        for kind in RUN_KINDS:
            if kind.part == "evaluation":
                values.pop(kind.section, None)
        del values["train"]["validate_every"]
        if not self.method.plugin.uses_labels:
            values["split"] = {key: value for key, value in values["split"].items() if not key.startswith("label_")}
        return _digest(values)

    @cached_property
    def slug(self) -> str:
        """Name of the run's directory."""
        words = f"{self.dataset.name}-{self.method.name}".replace(":", "_").replace("/", "_")
        return f"{file_stem(words)}-{self.hash}"


def _written(settings: TrainSettings | SplitSettings | EvaluateSettings) -> dict[str, Any]:
    """Return settings as plain values, without later ones that have their default."""
    default = {each.name: each.default for each in fields(settings)}
    left_out = {name for name in settings.LATER if getattr(settings, name) == default[name]}
    return {name: value for name, value in plain(asdict(settings)).items() if name not in left_out}


def _paths(values: Any) -> Iterator[str]:
    if isinstance(values, Path):
        yield str(values)
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _paths(value)


def _counted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the plugins that belong to no part: they change no result."""
    beside = {kind.section for kind in RUN_KINDS if kind.part == "run"}
    return {key: value for key, value in values.items() if key not in beside}


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps({**_counted(values), "recipe": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
