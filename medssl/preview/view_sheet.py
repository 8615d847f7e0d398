"""Draws the views of a run before training: a few samples, plain and with the method's random views."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medssl.catalog import Catalog
from medssl.contracts import Dataset, Listing, Sample, Target, ViewGroup, ViewSpec
from medssl.data.listing import read_listing
from medssl.data.loading import open_dataset
from medssl.data.store.store import open_store
from medssl.data.views.maker import ViewMaker
from medssl.preview.contact_sheet import SheetRow, contact_sheet
from medssl.preview.shown import Pixels, Shown, describe_augmentation, list_values
from medssl.recipe import DataRecipe, Recipe
from medssl.train.loop.method import view_spec

__all__ = ["view_sheet"]

_ROWS, _COLUMNS = 12, 6


def view_sheet(
    recipe: DataRecipe, catalog: Catalog, data_dir: Path | None, *, trained: Recipe | None = None
) -> Image.Image:
    """Draw one or two samples of each class as in evaluation, and random views of them.

    Args:
        recipe: Has the dataset, the augmentation and the size.
        catalog: Has facts about the dataset.
        data_dir: See :func:`medssl.data.loading.data_folder`.
        trained: The whole recipe, to draw the views of its method from enough epochs to fill a row. ``None``, or a
            method that trains nothing: six views of the plain augmentation.

    Raises:
        DataError: There are no images, or they cannot be read.
    """
    dataset = open_dataset(recipe.dataset, catalog, data_dir, recipe.readers)
    listing = read_listing(dataset, recipe.dataset.name)
    chosen = _choose(listing, recipe.seed)
    spec = trained and view_spec(trained, num_samples=len(listing.samples), target=listing.target)
    spec = spec or ViewSpec((ViewGroup(count=_COLUMNS),))
    headings, columns = _pictures(recipe, dataset, chosen, spec)
    rows = [SheetRow(_label(listing.target, s), s.id, [column[i] for column in columns]) for i, s in enumerate(chosen)]
    wanted = f", the views of {trained.method.name}" if trained and trained.method.plugin.trains else ""
    words = f"{recipe.views.augmentation}, {recipe.views.image_size} px, seed {recipe.seed}"
    title = f"{recipe.dataset.name}: {words}{wanted}"
    notes = [describe_augmentation(recipe.augmentation), *_group_notes(spec)]
    return contact_sheet(title, headings, rows, notes)


def _group_notes(spec: ViewSpec) -> list[str]:
    """Describe the changes of the augmentation that the method requests for each group of views."""
    notes, first = [], 1
    for group in spec.groups:
        if group.augment:
            last = first + group.count - 1
            views = f"View {first}" if group.count == 1 else f"Views {first} to {last}"
            notes.append(f"{views}: {list_values(group.augment)}")
        first += group.count
    return notes


def _choose(listing: Listing, seed: int) -> list[Sample]:
    """Draw one or two samples of each stratum, from the official training part if there is one."""
    open_to_all = [s for s in listing.samples if s.part in (None, "train")]
    members: dict[int, list[Sample]] = {}
    for sample in open_to_all or listing.samples:
        stratum = -1 if sample.y is None else int(listing.target.strata([sample.y]).argmax())
        members.setdefault(stratum, []).append(sample)
    if len(members) > 1:
        members.pop(-1, None)  # samples without a label are not useful if others have one
    each = 2 if 2 * len(members) <= _ROWS else 1
    rng = np.random.default_rng(seed)
    chosen = []
    for stratum in sorted(members)[:_ROWS]:
        group = members[stratum]
        chosen += [group[i] for i in sorted(rng.permutation(len(group))[:each].tolist())]
    return chosen


def _label(target: Target, sample: Sample) -> str:
    return "no label" if sample.y is None else target.text(sample.y)


def _pictures(
    recipe: DataRecipe, dataset: Dataset, chosen: Sequence[Sample], spec: ViewSpec
) -> tuple[list[str], list[Pixels]]:
    """Return every column: its heading, and its pictures ``(n, S, S, 3)``."""
    rows = np.arange(len(chosen))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        store = open_store(dataset, chosen, view_size=recipe.views.image_size, cache=Path(cache))
        shown = Shown(ViewMaker.of(recipe, store, "cpu"))
        headings, columns = ["as evaluated"], [shown.plain(rows)]
        epochs = max(1, _COLUMNS // spec.count)
        for epoch in range(epochs):
            for number, view in enumerate(shown.views(rows, spec, epoch), start=1):
                headings.append(f"view {number}" + f"\nepoch {epoch + 1}" * (epochs > 1))
                columns.append(view)
    return headings, columns
