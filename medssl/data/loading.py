"""Loads the recipe's dataset: lists, splits, decodes and audits the images for all later stages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from medssl.catalog import Catalog
from medssl.contracts import Dataset, Listing, Sample, Target
from medssl.data.audit.findings import Audit, audit
from medssl.data.listing import read_listing, samples_key
from medssl.data.split.labels import choose_labels
from medssl.data.split.split_of import continue_split
from medssl.data.split.splits import Split, make_split
from medssl.data.store.building import is_of
from medssl.data.store.contents import content_key
from medssl.data.store.store import Store, default_cache, open_store
from medssl.errors import DataError
from medssl.io.files import checksum
from medssl.recipe import Choice, DataRecipe, Recipe
from medssl.results.sections import RunData

__all__ = ["Data", "DataOrigin", "LoadedPart", "base_folder", "data_folder", "fingerprint", "load_data", "open_dataset"]

OnBadImage = Literal["fail", "skip"]
_NOTABLE = 0.1  # relative deviation from the label fraction that gives a warning


def base_folder(data_dir: Path | None) -> Path:
    """Return the folder of all datasets: the argument, else ``MEDSSL_DATA``, else the current folder."""
    return data_dir or Path(os.environ.get("MEDSSL_DATA", "."))


def data_folder(dataset: str, data_dir: Path | None) -> Path:
    """Return ``<data-dir>/<dataset>`` if it exists, else ``<data-dir>`` itself.

    Args:
        dataset: Name of the dataset plugin.
        data_dir: ``None``: the environment variable ``MEDSSL_DATA``, else the current folder.

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
    return (own if own.is_dir() else base).resolve()


def open_dataset(choice: Choice, catalog: Catalog, data_dir: Path | None) -> Dataset:
    """Create the dataset for its folder, without reading files."""
    facts = catalog.entry(choice.kind, choice.name)
    dataset: Dataset = choice.plugin(choice.config, data_folder(choice.name, data_dir), facts)
    return dataset


@dataclass(frozen=True)
class DataOrigin:
    """The current state of a dataset's folder, to compare it with a result.

    Attributes:
        folder: The folder.
        listed: Checksum of the listing.
        content: Checksum of the files' contents; ``None``: the dataset gives no files.
    """

    folder: str
    listed: str
    content: str | None

    @classmethod
    def of(cls, choice: Choice, catalog: Catalog, data_dir: Path | None) -> DataOrigin:
        """Read the current state of a recipe's dataset.

        Raises:
            DataError: The images cannot be listed.
        """
        dataset = open_dataset(choice, catalog, data_dir)
        samples = read_listing(dataset, choice.name).samples
        return cls(str(dataset.root), samples_key(samples), content_key(dataset, samples, default_cache()))

    def change_since(self, made_from: RunData) -> str | None:
        """Describe what has changed since a result was made; ``None`` if no change is found.

        Args:
            made_from: The ``data`` section of a result.
        """
        if str(made_from.directory) != self.folder:
            return f"They were in {made_from.directory}, not in {self.folder}."
        if made_from.samples_sha256 not in (None, self.listed):  # earlier versions did not save it
            return (
                f"Since then, images in {self.folder} were added, removed or renamed, or their labels, groups or parts "
                "were changed."
            )
        if self.content is not None and not is_of(str(made_from.store.get("key", "")), self.content):
            return f"Since then, files in {self.folder} were changed."
        return None


def load_data(
    recipe: DataRecipe,
    dataset: Dataset,
    *,
    on_bad_image: OnBadImage = "fail",
    check: Callable[[Target], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Data:
    """List, split, decode and audit a dataset.

    Args:
        recipe: The recipe, with the split and the size of a view.
        dataset: The dataset of the images.
        on_bad_image: Whether images that cannot be read stop the run or are left out.
        check: Called with the target before anything is decoded; raises if the run does not support the target.
        progress: Called with the number of images read and the total number.

    Raises:
        DataError: Images or labels are missing, unreadable, or too few for the split.
    """
    listing = read_listing(dataset, recipe.dataset.name)
    listed = samples_key(listing.samples)
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
        self._hidden = self._hide_labels()

    def part(self, name: Literal["train", "val", "test"], *, labelled: bool = True) -> LoadedPart:
        """Return one part.

        Args:
            name: Name of the part.
            labelled: Leave out the samples with an unknown value, and those whose label is hidden by the recipe's label
                fraction. Otherwise they are included, with -1 or NaN as their value.
        """
        return self._gather(getattr(self.split, name), labelled=labelled)

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

    def describe(self) -> Mapping[str, Any]:
        """Return the ``data`` section of ``result.json``."""
        split, listing, settings = self.split, self.listing, self._settings
        skipped = [f"left out because it cannot be read: {bad}" for bad in self.store.skipped]
        return {
            "directory": str(self.dataset.root),
            "images": len(self.store),
            "train": len(split.train),
            "val": len(split.val),
            "test": len(split.test),
            "unused": len(split.unused),
            "target": self.target.to_dict(),
            "groups": dict(split.group_count) if split.grouped else None,
            "group_kind": listing.group_kind,
            "site_kind": listing.site_kind,
            "shared_groups": dict(split.shared) if split.groups else None,
            "split": split.protocol,
            "split_reason": self._split_reason(),
            "split_sha256": split.sha256,
            "fold": split.described_fold,
            "labels": {
                "fraction": settings.label_fraction,
                "seed": settings.label_seed,
                "train": len(self.part("train")),
                "val": len(self.part("val")),
            },
            "samples_sha256": self.listed,
            "seen_before": self.audit.seen_before,
            "store": {"key": self.store.key, "reduced": self.store.reduced, "bytes": self.store.nbytes},
            "warnings": [
                *split.warnings,
                *self._warn_of_leak(),
                *self._warn_of_labels(),
                *self.audit.warnings,
                *skipped,
            ],
        }

    def _split_reason(self) -> str:
        if (run := self._settings.of) is not None:
            return f"taken from the run {(run.parent if run.suffix else run).name}"
        by_default = self.split.protocol == self.listing.default_split
        return self.listing.split_reason if by_default else "chosen by the user"

    def _warn_of_leak(self) -> Iterator[str]:
        if leaked := set(self.pretrained_on).intersection(self.split.test):
            yield (
                f"leak: {len(leaked)} of {len(self.split.test)} test images were used for pre-training, as "
                "requested with split.pretrain_seed"
            )

    def _warn_of_labels(self) -> Iterator[str]:
        """Warn if the fraction of used labels differs from the request, because of whole groups or small classes."""
        fraction = self._settings.label_fraction
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
    weights = recipe.encoder.weights  # the path does not identify the current content of the file
    content = f":{checksum(weights)}" if isinstance(weights, Path) and weights.is_file() else ""
    return f"{recipe.pretraining_hash}:{data.split.sha256}:{data.store.key}{content}"
