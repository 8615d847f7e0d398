"""What a run's views look like, before anything is trained: a few samples, plain and as the method would see them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medssl.catalog import Catalog
from medssl.contracts import Dataset, Sample, ViewGroup, ViewSpec
from medssl.data.loading import open_dataset
from medssl.data.store.store import open_store
from medssl.data.views.maker import ViewMaker
from medssl.errors import DataError
from medssl.preview.contact_sheet import SheetRow, contact_sheet
from medssl.preview.shown import Pixels, Shown, describe_augmentation, list_values
from medssl.recipe import DataRecipe, Recipe
from medssl.train.loop.method import view_spec

__all__ = ["view_sheet"]

_ROWS, _COLUMNS = 12, 6


def view_sheet(
    recipe: DataRecipe, catalog: Catalog, data_dir: Path | None, *, trained: Recipe | None = None
) -> Image.Image:
    """Draw one or two samples of each class as they are evaluated, and random views of them.

    Args:
        recipe: Names the dataset, the augmentation and the size.
        catalog: Knows facts about the dataset.
        data_dir: See :func:`medssl.data.loading.data_folder`.
        trained: The whole recipe, to draw the views that its method wants, from as many epochs as fill a row; ``None``,
            or a method that trains nothing: six of the plain augmentation.

    Raises:
        DataError: There are no images, or they cannot be read.
    """
    dataset = open_dataset(recipe.dataset, catalog, data_dir)
    samples = dataset.samples()
    chosen = _choose(samples, recipe.seed)
    spec = trained and view_spec(trained, num_samples=len(samples), num_classes=len(dataset.classes))
    spec = spec or ViewSpec((ViewGroup(count=_COLUMNS),))
    headings, columns = _pictures(recipe, dataset, chosen, spec)
    rows = [SheetRow(_label(dataset, s), s.id, [column[i] for column in columns]) for i, s in enumerate(chosen)]
    wanted = f", the views of {trained.method.name}" if trained and trained.method.plugin.trains else ""
    words = f"{recipe.views.augmentation}, {recipe.views.image_size} px, seed {recipe.seed}"
    title = f"{recipe.dataset.name}: {words}{wanted}"
    notes = [describe_augmentation(recipe.augmentation), *_group_notes(spec)]
    return contact_sheet(title, headings, rows, notes)


def _group_notes(spec: ViewSpec) -> list[str]:
    """Say what each group of views changes, where the method asks for a change."""
    notes, first = [], 1
    for group in spec.groups:
        if group.augment:
            last = first + group.count - 1
            views = f"View {first}" if group.count == 1 else f"Views {first} to {last}"
            notes.append(f"{views}: {list_values(group.augment)}")
        first += group.count
    return notes


def _choose(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Draw two samples of each class, one where there are many classes; of the makers' training part if there is one.

    Raises:
        DataError: There are no samples.
    """
    open_to_all = [s for s in samples if s.part in (None, "train")]
    by_class: dict[int, list[Sample]] = {}
    for sample in open_to_all or samples:
        by_class.setdefault(-1 if sample.label is None else sample.label, []).append(sample)
    if not by_class:
        raise DataError("there are no images to show. The dataset lists no sample. Check the data folder.")
    if len(by_class) > 1:
        by_class.pop(-1, None)  # samples without a label say little where others have one
    each = 2 if 2 * len(by_class) <= _ROWS else 1
    rng = np.random.default_rng(seed)
    chosen = []
    for label in sorted(by_class)[:_ROWS]:
        group = by_class[label]
        chosen += [group[i] for i in sorted(rng.permutation(len(group))[:each].tolist())]
    return chosen


def _label(dataset: Dataset, sample: Sample) -> str:
    return "no label" if sample.label is None else str(dataset.classes[sample.label])


def _pictures(
    recipe: DataRecipe, dataset: Dataset, chosen: Sequence[Sample], spec: ViewSpec
) -> tuple[list[str], list[Pixels]]:
    """Make every column: its heading, and its pictures ``(n, S, S, 3)``."""
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
