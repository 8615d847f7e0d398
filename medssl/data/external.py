"""Images of another hospital, which are only tested on: listed, their labels mapped, and decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from medssl.catalog import Catalog
from medssl.contracts import Classes, Dataset, Findings, Sample, Target, Value
from medssl.data.listing import read_listing, samples_key
from medssl.data.loading import LoadedPart, OnBadImage, create_dataset
from medssl.data.store.contents import content_key
from medssl.data.store.store import Store, default_cache, open_store
from medssl.errors import DataError, OptionError
from medssl.recipe import Choice
from medssl.recipe.external import External
from medssl.recipe.parts import DataRecipe

__all__ = ["ExternalData", "Mapped", "list_external", "map_labels"]


@dataclass(frozen=True)
class Mapped:
    """Samples of another hospital with the labels of the run.

    Attributes:
        dataset: Their dataset.
        samples: The labelled ones, in the order of the listing.
        left_out: Number of images without a label, or whose label is mapped to nothing.
        missing: Findings of the run that the other hospital does not report.
        group_kind: The kind of group; ``None`` if no sample has one.
        listed: Checksum of the listing, see :func:`medssl.data.listing.samples_key`.
        said: Labels of another spelling that were taken for those of the run, in sentences.
    """

    @property
    def content(self) -> str | None:
        """Checksum of the files' contents; ``None``: the dataset gives no files."""
        return content_key(self.dataset, self.samples, default_cache())

    dataset: Dataset
    samples: tuple[Sample, ...]
    left_out: int
    missing: tuple[str, ...]
    group_kind: str | None
    listed: str = ""
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExternalData:
    """The images of another hospital, decoded.

    Attributes:
        settings: Their settings.
        mapped: Their samples.
        store: Their images.
        part: The samples as a part of a split.
        content: Checksum of the files' contents, also of those that cannot be read.
    """

    settings: External
    mapped: Mapped
    store: Store
    part: LoadedPart
    content: str | None

    @classmethod
    def open(
        cls, settings: External, mapped: Mapped, target: Target, recipe: DataRecipe, bad: OnBadImage
    ) -> ExternalData:
        """Decode the images.

        Raises:
            DataError: An image cannot be read.
        """
        store = open_store(
            mapped.dataset, mapped.samples, view_size=recipe.views.image_size, cache=default_cache(), on_bad_image=bad
        )
        row = {name: place for place, name in enumerate(store.ids)}
        samples = [sample for sample in mapped.samples if sample.id in row]
        numbers: dict[str, int] = {}
        groups = [numbers.setdefault(s.group or f"\0{s.id}", len(numbers)) for s in samples]
        part = LoadedPart(
            ids=tuple(sample.id for sample in samples),
            rows=np.array([row[sample.id] for sample in samples], dtype=np.int64),
            y=torch.from_numpy(target.encode([sample.y for sample in samples])),
            groups=torch.tensor(groups, dtype=torch.int64),
            grouped=any(sample.group for sample in samples),
        )
        return cls(settings, replace(mapped, samples=tuple(samples)), store, part, mapped.content)


def list_external(settings: External, target: Target, catalog: Catalog, readers: Sequence[Choice] = ()) -> Mapped:
    """List the images and map their labels to those of the run.

    Args:
        settings: Where the images are, and how they are read.
        target: The target of the run.
        catalog: Of plugins.
        readers: Readers of image files that the user named.

    Raises:
        DataError: The folder is missing, the target is of another kind, a label has no counterpart (the message names
            all of them), or no image is left.
    """
    name, choice = settings.name, settings.dataset
    if not settings.path.exists():
        raise DataError(f"--external {name}={settings.path} does not exist. Give the folder of its images.")
    dataset = create_dataset(choice, settings.path.resolve(), catalog, readers)
    listing = read_listing(dataset, choice.name)
    same = _same_names(listing.target, target, settings.labels)
    convert, missing = map_labels(name, listing.target, target, {**same, **settings.labels}, listing.samples)
    mapped = [replace(sample, y=convert(sample.y)) for sample in listing.samples if sample.y is not None]
    samples = tuple(sample for sample in mapped if sample.y is not None)
    if not samples:
        raise DataError(
            f"the external test set '{name}' has no image with a label of the run. It has "
            f"{len(listing.samples)} images in {settings.path}. Check external.{name}.labels."
        )
    said = [f"'{theirs}' is taken for '{ours}' of the run" for theirs, ours in same.items()]
    left_out, listed = len(listing.samples) - len(samples), samples_key(listing.samples)
    return Mapped(dataset, samples, left_out, missing, listing.group_kind, listed, tuple(said))


def _same_names(theirs: Target, ours: Target, labels: Mapping[str, str | None]) -> dict[str, str]:
    """Return our name for each of theirs that differs from it in letter case, spaces and signs alone."""
    known: dict[str, list[str]] = {}
    for own in ours.output_names:
        known.setdefault(_folded(own), []).append(own)
    taken = {*ours.output_names, *labels}
    found = {name: known.get(_folded(name), []) for name in theirs.output_names if name not in taken}
    return {name: own[0] for name, own in found.items() if len(own) == 1}


def _folded(name: str) -> str:
    """Return the letters and digits of a name in lower case; a name without any stays as it is."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def map_labels(
    name: str, theirs: Target, ours: Target, labels: Mapping[str, str | None], samples: Sequence[Sample]
) -> tuple[Any, tuple[str, ...]]:
    """Return a function from their values to ours, and the findings that they do not report.

    Args:
        name: Name of the external set, for messages.
        theirs: Their target.
        ours: The run's.
        labels: Our name for each of their names; a name that is not in it stands for itself, ``None`` for nothing.
        samples: Their samples; a name without a sample needs no counterpart.

    Raises:
        DataError: The targets are of different kinds, or names have no counterpart: one message lists all of them.
        OptionError: ``labels`` names something that neither side has.
    """
    both_named = isinstance(theirs, Classes | Findings) and isinstance(ours, Classes | Findings)
    if isinstance(theirs, Findings) is not isinstance(ours, Findings) or (not both_named and theirs.kind != ours.kind):
        raise DataError(
            f"the external test set '{name}' has {theirs.kind}, but the run predicts {ours.kind}. Change the options "
            f"of its dataset, for instance with --set external.{name}.target={ours.kind}."
        )
    if not both_named:
        return (lambda y: y), ()
    wrong = [f"'{a}' is not a label of '{name}'" for a in labels if a not in theirs.output_names]
    wrong += [f"'{b}' is not a label of the run" for b in labels.values() if b and b not in ours.output_names]
    if wrong:
        raise OptionError(
            f"external.{name}.labels: {'; '.join(wrong)}. Labels of '{name}': {_listed(theirs.output_names)}. Labels "
            f"of the run: {_listed(ours.output_names)}."
        )
    ours_of = {label: labels.get(label, label) or None for label in theirs.output_names}
    stray = [label for label in _used(theirs, samples) if ours_of[label] and ours_of[label] not in ours.output_names]
    if stray:
        raise DataError(
            f"the external test set '{name}' has labels that the run does not know: {_listed(stray)}. The run has "
            f"{_listed(ours.output_names)}. Say which is which: --set 'external.{name}.labels={{{stray[0]}: "
            f"{ours.output_names[0]}}}'; null leaves a label's images out."
        )
    if isinstance(theirs, Findings):
        return _findings(theirs, ours, ours_of)
    place = {
        i: ours.output_names.index(o)
        for i, n in enumerate(theirs.output_names)
        if (o := ours_of[n]) in ours.output_names
    }
    return (lambda y: place.get(int(y))), ()


def _findings(theirs: Target, ours: Target, ours_of: Mapping[str, str | None]) -> tuple[Any, tuple[str, ...]]:
    """Convert findings; where several of theirs are one of ours, it is present if any is, and absent if all are."""
    sources = [[i for i, n in enumerate(theirs.output_names) if ours_of[n] == name] for name in ours.output_names]
    missing = tuple(name for name, found in zip(ours.output_names, sources, strict=True) if not found)

    def convert(y: tuple[int | None, ...]) -> Value | None:
        values = tuple(_joined([y[i] for i in found]) for found in sources)
        return None if all(value is None for value in values) else values

    return convert, missing


def _joined(values: Sequence[int | None]) -> int | None:
    if any(value == 1 for value in values):
        return 1
    return 0 if values and all(value == 0 for value in values) else None


def _used(target: Target, samples: Sequence[Sample]) -> list[str]:
    """Return the names that some sample has; every finding counts, because its absence is a value too."""
    if isinstance(target, Findings):
        return list(target.output_names)
    used = {int(sample.y) for sample in samples if sample.y is not None}  # type: ignore[arg-type]  # a class is a number
    return [name for i, name in enumerate(target.output_names) if i in used]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
