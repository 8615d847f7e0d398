"""Loads the recipe's dataset: lists, splits, decodes and audits the images for all later stages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from medssl.catalog import Catalog
from medssl.contracts import Dataset, Listing, Readers, Sample, Target, Unlabelled
from medssl.data.audit.findings import Audit, audit
from medssl.data.group_table import with_groups
from medssl.data.listing import read_listing, samples_key
from medssl.data.positive import with_positive
from medssl.data.split.labels import choose_labels
from medssl.data.split.split_of import continue_split
from medssl.data.split.splits import Split, make_split
from medssl.data.store.decoding import Unreadable
from medssl.data.store.store import Store, default_cache, open_store
from medssl.errors import DataError
from medssl.io.files import checksum
from medssl.io.identities import private_id
from medssl.recipe import Choice, DataRecipe, Recipe
from medssl.results.privacy import Veil, hidden_folder, named_run
from medssl.results.sections import LEAK
from medssl.tools.reading import installed_readers, readers_with

__all__ = [
    "Data",
    "LoadedPart",
    "OnBadImage",
    "base_folder",
    "create_dataset",
    "data_folder",
    "fingerprint",
    "list_images",
    "load_data",
    "open_dataset",
    "open_readers",
]

OnBadImage = Literal["fail", "skip"]
_SKIPPED = 10  # unreadable images that a result names
_COLOURED = ("stain", "saturation", "hue", "greyscale")  # fields of operations that need three channels
_NOTABLE = 0.1  # relative deviation from the label fraction that gives a warning


def base_folder(data_dir: Path | None) -> Path:
    """Return the folder of all datasets: the argument, else ``MEDSSL_DATA``, else the current folder."""
    return data_dir or Path(os.environ.get("MEDSSL_DATA", "."))


def data_folder(dataset: str, data_dir: Path | None, *, published: bool = True) -> Path:
    """Return ``<data-dir>/<dataset>`` if it exists, else ``<data-dir>`` itself.

    Args:
        dataset: Name of the dataset plugin.
        data_dir: ``None``: the environment variable ``MEDSSL_DATA``, else the current folder.
        published: See :class:`medssl.contracts.Dataset`; ``False``: always ``<data-dir>``, because a folder of the user
            may have the plugin's name by chance.

    Raises:
        DataError: The given folder does not exist.
    """
    base = base_folder(data_dir)
    if not base.is_dir():
        raise DataError(
            f"the data folder {base} does not exist. It was given with {'--data-dir' if data_dir else 'MEDSSL_DATA'}. "
            "Give the folder that contains the dataset's folder, or the dataset folder itself."
        )
    own = base / dataset.rpartition(":")[2]
    return (own if published and own.is_dir() else base).resolve()


def open_dataset(choice: Choice, catalog: Catalog, data_dir: Path | None, readers: Sequence[Choice] = ()) -> Dataset:
    """Create the dataset for its folder, with the readers that the user named, without reading files."""
    folder = data_folder(choice.name, data_dir, published=choice.plugin.published)
    return create_dataset(choice, folder, catalog, readers)


def create_dataset(choice: Choice, folder: Path, catalog: Catalog, readers: Sequence[Choice] = ()) -> Dataset:
    """Create the dataset for exactly this folder; see :func:`open_dataset`."""
    dataset: Dataset = choice.plugin(choice.config, folder, catalog.entry(choice.kind, choice.name))
    if readers:
        dataset.readers = open_readers(readers)
    return dataset


def open_readers(chosen: Sequence[Choice]) -> Readers:
    """Create the readers that a recipe names; all other installed ones come after them, with their defaults."""
    named = [(choice.name, choice.plugin(choice.config)) for choice in chosen]
    return readers_with(named) if named else installed_readers()


def list_images(recipe: DataRecipe, dataset: Dataset) -> Listing:
    """List the images of a recipe, with the groups of its table if it names one.

    Raises:
        DataError: They cannot be listed, or the table does not fit them.
        PluginError: The listing breaks the contract.
    """
    listing = read_listing(dataset, recipe.dataset.name)
    table = recipe.split.groups
    return listing if table is None else with_groups(listing, table, dataset.root)


def load_data(
    recipe: DataRecipe,
    dataset: Dataset,
    *,
    on_bad_image: OnBadImage = "fail",
    positive: str | None = None,
    check: Callable[[Target], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Data:
    """List, split, decode and audit a dataset.

    Args:
        recipe: The recipe, with the split and the size of a view.
        dataset: The dataset of the images.
        on_bad_image: Whether images that cannot be read stop the run or are left out.
        positive: The positive one of two classes; ``None``: the likely one, see :func:`with_positive`.
        check: Called with the target before anything is decoded; raises if the run does not support the target.
        progress: Called with the number of images read and the total number.

    Raises:
        DataError: Images or labels are missing, unreadable, or too few for the split.
        OptionError: The target has no class of the name ``positive``, or not two classes.
    """
    listing = list_images(recipe, dataset)
    listed = samples_key(listing.samples)
    listing = replace(listing, target=with_positive(listing.target, positive))
    if check is not None:
        check(listing.target)
    split = _split(recipe, dataset, listing)  # before the images are read, so that an impossible split fails at once
    store = open_store(
        dataset,
        listing.samples,
        view_size=recipe.views.image_size,
        cache=default_cache(),
        on_bad_image=on_bad_image,
        progress=progress,
    )
    if store.skipped:
        readable = set(store.ids)
        listing = replace(listing, samples=[sample for sample in listing.samples if sample.id in readable])
        split = _split(recipe, dataset, listing)
    return Data(recipe, dataset, listing, split, store, audit(listing, store, split), listed)


def _split(recipe: DataRecipe, dataset: Dataset, listing: Listing, seed: int | None = None) -> Split:
    if recipe.split.of is not None and seed is None:
        return continue_split(dataset, listing, recipe.split.of, default_cache())
    settings = recipe.split if seed is None else replace(recipe.split, seed=seed)
    return make_split(listing, settings, recipe.split.protocol or listing.default_split)


@dataclass(frozen=True)
class LoadedPart:
    """One part of the split.

    Attributes:
        ids: N sample ids.
        rows: ``(N,)`` int64, their rows in the store.
        y: Values as encoded by the target; -1 or NaN if unknown.
        groups: ``(N,)`` int64, equal within a group; a sample without a group has a unique number.
        grouped: Whether any group is known.
    """

    ids: tuple[str, ...]
    rows: np.ndarray
    y: Tensor
    groups: Tensor
    grouped: bool

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: np.ndarray) -> LoadedPart:
        """Return the samples at these positions ``(n,)``, in their order."""
        chosen = torch.from_numpy(positions)
        return LoadedPart(
            ids=tuple(self.ids[i] for i in positions.tolist()),
            rows=self.rows[positions],
            y=self.y[chosen],
            groups=self.groups[chosen],
            grouped=self.grouped,
        )


class Data:
    """A split dataset with its images in the store.

    Attributes:
        listing: The listing, without images that cannot be read.
        target: The target of the samples.
        pretrained_on: Ids of the images for pre-training: the training part, unless the recipe allows a leak.
        audit: The audit of the images.
        listed: Checksum of the listing, see :func:`medssl.data.listing.samples_key`.
    """

    def __init__(
        self,
        recipe: DataRecipe,
        dataset: Dataset,
        listing: Listing,
        split: Split,
        store: Store,
        audit: Audit,
        listed: str,
    ) -> None:
        self.dataset = dataset
        self.listing = listing
        self.target = listing.target
        self.split = split
        self.store = store
        self.audit = audit
        self.listed = listed
        leak = recipe.split.pretrain_seed
        self.pretrained_on = split.train if leak is None else _split(recipe, dataset, listing, leak).train
        self._samples = {sample.id: sample for sample in listing.samples}
        self._rows = {name: row for row, name in enumerate(store.ids)}
        self._settings = recipe.split
        self._augmentation = recipe.augmentation
        self._hidden = self._hide_labels()

    def part(self, name: Literal["train", "val", "test"], *, labelled: bool = True) -> LoadedPart:
        """Return one part.

        Args:
            name: Name of the part.
            labelled: Leave out the samples with an unknown value, and those whose label is hidden by the recipe's label
                fraction. Otherwise they are included, with -1 or NaN as their value.
        """
        unlabelled = isinstance(self.target, Unlabelled)  # then all images of the part are what is measured
        return self._gather(getattr(self.split, name), labelled=labelled and not unlabelled)

    def pretraining_part(self) -> LoadedPart:
        """Return the images for pre-training, with -1 or NaN for a missing or hidden label."""
        return self._gather(self.pretrained_on, labelled=False)

    def rows(self, names: Iterable[str]) -> np.ndarray:
        """Return the rows of the images with these ids in the store, int64."""
        return np.array([self._rows[name] for name in names], dtype=np.int64)

    def samples(self, names: Iterable[str]) -> list[Sample]:
        """Return the samples with these ids, as the dataset lists them."""
        return [self._samples[name] for name in names]

    def siblings_of(self, part: Literal["val", "test"]) -> frozenset[str]:
        """Return the images of a part that share a group with a training image."""
        groups, known = self.split.groups, {self.split.groups.get(name) for name in self.split.train} - {None}
        return frozenset(name for name in getattr(self.split, part) if groups.get(name) in known)

    def _gather(self, names: Sequence[str], *, labelled: bool) -> LoadedPart:
        chosen = [self._shown(name) for name in names]
        if labelled:
            chosen = [sample for sample in chosen if sample.y is not None]
        numbers: dict[str, int] = {}
        groups = [numbers.setdefault(s.group or f"\0{s.id}", len(numbers)) for s in chosen]
        return LoadedPart(
            ids=tuple(sample.id for sample in chosen),
            rows=self.rows(sample.id for sample in chosen),
            y=torch.from_numpy(self.target.encode([sample.y for sample in chosen])),
            groups=torch.tensor(groups, dtype=torch.int64),
            grouped=any(sample.group for sample in chosen),
        )

    def _shown(self, name: str) -> Sample:
        sample = self._samples[name]
        return replace(sample, y=None) if name in self._hidden else sample

    def _hide_labels(self) -> frozenset[str]:
        """Choose the training and validation samples whose labels are hidden."""
        hidden: set[str] = set()
        for part in (self.split.train, self.split.val):
            samples = [self._samples[name] for name in part if self._samples[name].y is not None]
            fraction, seed = self._settings.label_fraction, self._settings.label_seed
            kept = choose_labels(samples, self.target, fraction, seed, grouped=self.split.grouped)
            hidden.update(sample.id for sample in samples if sample.id not in kept)
        return frozenset(hidden)

    @cached_property
    def veil(self) -> Veil:
        """Hides the identifiers of these samples in texts of plugins and libraries."""
        spared = frozenset(self.target.strata_names)
        return Veil(self.listing.samples, spared, self.dataset.root, self.listing.group_kind or "group")

    def _describe_bad(self, bad: Unreadable) -> str:
        name = private_id("image", bad.id)
        return f"{name}: {self.veil.text(bad.reason.replace(bad.id, name))}"

    def describe(self) -> Mapping[str, Any]:
        """Return the ``data`` section of ``result.json``."""
        split, listing, settings = self.split, self.listing, self._settings
        kind = listing.group_kind or "group"
        fold = split.described_fold
        if fold is not None and isinstance(fold["left_out"], str):
            fold["left_out"] = private_id("site" if split.left_out else kind, fold["left_out"])
        skipped = [
            f"left out because it cannot be read: {self._describe_bad(bad)}" for bad in self.store.skipped[:_SKIPPED]
        ]
        if (more := len(self.store.skipped) - _SKIPPED) > 0:
            skipped.append(f"left out because they cannot be read: {more} more images")
        return {
            "directory": hidden_folder(self.dataset.root),
            "images": len(self.store),
            "train": len(split.train),
            "val": len(split.val),
            "test": len(split.test),
            "unused": len(split.unused),
            "target": self.target.to_dict(),
            "groups": dict(split.group_count) if split.grouped else None,
            "group_kind": listing.group_kind,
            "site_kind": listing.site_kind,
            "chosen": listing.chosen,
            "shared_groups": dict(split.shared) if split.groups else None,
            "split": split.protocol,
            "split_reason": self._split_reason(),
            "split_sha256": split.sha256,
            "fold": fold,
            "labels": {
                "fraction": settings.label_fraction,
                "seed": settings.label_seed,
                "train": 0 if isinstance(self.target, Unlabelled) else len(self.part("train")),
                "val": 0 if isinstance(self.target, Unlabelled) else len(self.part("val")),
            },
            "samples_sha256": self.listed,
            "seen_before": self.audit.seen_before,
            "confounding": self.audit.confounding.to_dict(),
            "store": self.store.describe(),
            "warnings": [
                *split.warnings,
                *self._warn_of_leak(),
                *self._warn_of_labels(),
                *self._warn_of_channels(),
                *self.audit.warnings,
                *skipped,
            ],
        }

    def _split_reason(self) -> str:
        if (run := self._settings.of) is not None:
            return f"taken from the run {named_run(run.parent if run.suffix else run)}"
        by_default = self.split.protocol == self.listing.default_split
        return self.veil.text(self.listing.split_reason) if by_default else "chosen by the user"

    def _warn_of_leak(self) -> Iterator[str]:
        if leaked := set(self.pretrained_on).intersection(self.split.test):
            yield (
                f"{LEAK}{len(leaked)} of {len(self.split.test)} test images were used for pre-training, as "
                "requested with split.pretrain_seed"
            )

    def _warn_of_channels(self) -> Iterator[str]:
        """Say which operations are left out because they need three channels."""
        channels = self.store.channels
        off = [name for name in _COLOURED if getattr(self._augmentation, name)] if channels not in (1, 3) else []
        if off:
            yield (
                f"channels: the images have {channels} channels. The operations {', '.join(off)} need three and are "
                "left out"
            )

    def _warn_of_labels(self) -> Iterator[str]:
        """Warn if the fraction of used labels differs from the request, because of whole groups or small classes."""
        fraction = self._settings.label_fraction
        if isinstance(self.target, Unlabelled):
            yield "no image has a label, so nothing was scored; `medssl evaluate RUN --data TABLE` takes labels later"
            return
        why = (
            f"labels are chosen for whole {self.listing.group_kind or 'group'}s"
            if self.split.grouped
            else f"each {self.target.stratum} keeps at least one"
        )
        for used, part, adjective in (
            (len(self.part("train")), "train", "training"),
            (len(self.part("val")), "val", "validation"),
        ):
            labels = self.split.labelled[part]
            if abs(used - fraction * labels) > max(1, _NOTABLE * fraction * labels):
                yield (
                    f"label fraction: {used} of {labels} {adjective} labels are used ({used / labels:.1%} instead of "
                    f"{fraction:.1%}), because {why}"
                )


def fingerprint(recipe: Recipe, data: Data) -> str:
    """Return a checksum of everything that determines the encoder: settings, split, pixels and initial weights."""
    others = [Path(str(getattr(recipe.method.config, option))) for option in recipe.method.plugin.encoders]
    given = [recipe.initial_weights, recipe.encoder.config.adapter]  # a path does not identify the content of a file
    given += [path / "encoder.safetensors" if path.is_dir() else path for path in others]
    content = "".join(f":{checksum(file)}" for file in given if isinstance(file, Path) and file.is_file())
    return f"{recipe.pretraining_hash}:{data.split.sha256}:{data.store.key}{content}"
