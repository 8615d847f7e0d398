"""What a run's views look like, before anything is trained: a few samples, plain and as the method would see them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medssl.catalog import Catalog
from medssl.contracts import Augmentation, Dataset, Sample, ViewGroup, ViewSpec
from medssl.data.loading import open_dataset
from medssl.data.store.store import open_store
from medssl.data.views import PlainViews, Views
from medssl.data.views.ops import OPERATIONS
from medssl.errors import DataError
from medssl.preview.contact_sheet import SheetRow, contact_sheet
from medssl.recipe import DataRecipe, Recipe
from medssl.runs.pretraining import build_method
from medssl.train.encoder.backbones import build_encoder

__all__ = ["describe_augmentation", "view_sheet"]

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
    spec = _spec(trained, len(samples), len(dataset.classes))
    headings, columns = _pictures(recipe, dataset, chosen, spec)
    rows = [SheetRow(_label(dataset, s), s.id, [column[i] for column in columns]) for i, s in enumerate(chosen)]
    wanted = f", the views of {trained.method.name}" if trained and trained.method.plugin.trains else ""
    words = f"{recipe.views.augmentation}, {recipe.views.image_size} px, seed {recipe.seed}"
    title = f"{recipe.dataset.name}: {words}{wanted}"
    notes = [describe_augmentation(recipe.augmentation), *_group_notes(spec)]
    return contact_sheet(title, headings, rows, notes)


def describe_augmentation(augmentation: Augmentation) -> str:
    """Name every operation that is on, with its values, in the order of their application."""
    described = [operation.described(augmentation) for operation in OPERATIONS]
    return _listed({name: value for fields in described for name, value in fields.items()})


def _listed(values: Mapping[str, Any]) -> str:
    def words(value: Any) -> str:
        return " to ".join(f"{v:.3g}" for v in value) if isinstance(value, list | tuple) else f"{value:.3g}"

    return ", ".join(f"{key} {words(value)}".replace(" ", "\u00a0") for key, value in values.items())


def _group_notes(spec: ViewSpec) -> list[str]:
    """Say what each group of views changes, where the method asks for a change."""
    notes, first = [], 1
    for group in spec.groups:
        if group.augment:
            last = first + group.count - 1
            views = f"View {first}" if group.count == 1 else f"Views {first} to {last}"
            notes.append(f"{views}: {_listed(group.augment)}")
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


def _spec(recipe: Recipe | None, num_samples: int, num_classes: int) -> ViewSpec:
    """Return what the method wants of a sample; it is built for that, as its options may decide it."""
    if recipe is None or not recipe.method.plugin.trains:
        return ViewSpec((ViewGroup(count=_COLUMNS),))
    encoder = build_encoder(replace(recipe.encoder, weights=None), recipe.views.image_size, recipe.seed)
    method = build_method(recipe, encoder, num_samples=num_samples, num_classes=num_classes)
    return recipe.data.views_for(method.views)


def _pictures(
    recipe: DataRecipe, dataset: Dataset, chosen: Sequence[Sample], spec: ViewSpec
) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Make every column: its heading, and its pictures ``(n, S, S, 3)``."""
    size, positions, rows = recipe.views.image_size, torch.arange(len(chosen)), np.arange(len(chosen))
    augmentation = recipe.augmentation
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        store = open_store(dataset, chosen, view_size=size, cache=Path(cache))
        plain = PlainViews(store, rows, image_size=size, device="cpu", normalisation="half", window=augmentation.window)
        views = Views(
            store, rows, spec, augmentation, image_size=size, seed=recipe.seed, device="cpu", normalisation="half"
        )
        headings, columns = ["as evaluated"], [_to_pixels(plain(positions))]
        epochs = max(1, _COLUMNS // spec.count)
        for epoch in range(epochs):
            views.start_epoch(epoch)
            for number, view in enumerate(views(positions), start=1):
                headings.append(f"view {number}" + f"\nepoch {epoch + 1}" * (epochs > 1))
                columns.append(_to_pixels(view))
    return headings, columns


def _to_pixels(view: Tensor) -> NDArray[np.uint8]:
    """Return a view ``(n, 3, S, S)`` of the normalisation ``half`` as ``(n, S, S, 3)`` uint8."""
    pixels: NDArray[np.uint8] = (view * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(pixels)
