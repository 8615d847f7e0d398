"""The images behind a run's numbers, read again from the dataset's files, as the encoder sees them.

N images, S side of a picture in pixels.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medssl.catalog import Catalog
from medssl.contracts import ViewGroup, ViewSpec
from medssl.data.loading import open_dataset
from medssl.data.store.store import Store, open_store
from medssl.data.views import PlainViews, Views
from medssl.errors import DataError
from medssl.preview.shown import describe_augmentation
from medssl.recipe import Recipe, resolve
from medssl.results.directory import RunResult
from medssl.train.encoder.backbones import build_encoder
from medssl.train.loop.method import build_method

__all__ = ["COLUMNS", "SMALL", "Pictures", "data_uri", "open_pictures", "read_recipe", "sprite_uri"]

SIDE = 112  # of a picture in a gallery
SMALL = 64  # of one in the sheet behind a map
COLUMNS = 25  # of that sheet
_VIEWS = 4  # views shown of one image

Pixels = NDArray[np.uint8]


class Pictures:
    """Some images of a dataset.

    Args:
        recipe: Of the run that they are shown for: its window of grey levels, its augmentation.
        store: The decoded images.
        num_classes: K.

    Attributes:
        ids: Of the images that could be read.
    """

    def __init__(self, recipe: Recipe, store: Store, num_classes: int) -> None:
        self.ids = frozenset(store.ids)
        self._recipe, self._store, self._num_classes = recipe, store, num_classes
        self._rows = {name: row for row, name in enumerate(store.ids)}
        self._augmentation = recipe.augmentation

    def plain(self, ids: Sequence[str], side: int = SIDE) -> Pixels:
        """Show images as at evaluation: ``(N, S, S, 3)``, short side resized, centre cut out."""
        rows = np.array([self._rows[name] for name in ids], dtype=np.int64)
        views = PlainViews(
            self._store,
            rows,
            image_size=side,
            device="cpu",
            normalisation="half",
            window=self._augmentation.window,
        )
        return _to_pixels(views(torch.arange(len(rows))))

    def views(self, ids: Sequence[str]) -> list[Pixels]:
        """Draw random views as the run's method wants them, up to four: ``(N, S, S, 3)`` each, sizes may differ."""
        rows = np.array([self._rows[name] for name in ids], dtype=np.int64)
        recipe, spec = self._recipe, self._view_spec()
        views = Views(
            self._store,
            rows,
            spec,
            self._augmentation,
            image_size=recipe.views.image_size,
            seed=recipe.seed,
            device="cpu",
            normalisation="half",
        )
        found: list[Pixels] = []
        for epoch in range(-(-_VIEWS // spec.count)):
            views.start_epoch(epoch)
            found += [_to_pixels(view) for view in views(torch.arange(len(rows)))]
        return found[:_VIEWS]

    @property
    def augmentation(self) -> str:
        """Every operation that is on, in words."""
        return describe_augmentation(self._augmentation)

    def _view_spec(self) -> ViewSpec:
        recipe = self._recipe
        if not recipe.method.plugin.trains:
            return ViewSpec((ViewGroup(count=_VIEWS),))
        encoder = build_encoder(replace(recipe.encoder, weights=None), recipe.views.image_size, recipe.seed)
        method = build_method(recipe, encoder, num_samples=recipe.train.batch_size, num_classes=self._num_classes)
        return recipe.data.views_for(method.views)


def read_recipe(run: RunResult, catalog: Catalog) -> Recipe:
    """Return a run's recipe with its plugins loaded.

    Raises:
        MedsslError: A plugin is not installed, or has other options by now.
    """
    return resolve(catalog, [{key: value for key, value in run.values["recipe"].items() if key != "hash"}])


@contextmanager
def open_pictures(
    run: RunResult, ids: Sequence[str], catalog: Catalog, data_dir: Path | None = None
) -> Iterator[Pictures]:
    """Read some of a run's images; those that cannot be read are left out.

    Args:
        run: Names the dataset, its folder and how images are shown.
        ids: Sample ids.
        catalog: Facts about the dataset.
        data_dir: Where to look instead of the run's own folder, see :func:`medssl.data.loading.data_folder`.

    Raises:
        MedsslError: The files are gone, or a plugin is.
    """
    recipe = read_recipe(run, catalog)
    dataset = open_dataset(recipe.dataset, catalog, data_dir or Path(run.values["data"]["directory"]))
    wanted = set(ids)
    samples = [sample for sample in dataset.samples() if sample.id in wanted]
    if not samples:
        raise DataError(f"{dataset.root} holds none of this run's images. They were there when it was made.")
    size = max(SIDE, recipe.views.image_size)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        store = open_store(dataset, samples, view_size=size, cache=Path(cache), on_bad_image="skip")
        yield Pictures(recipe, store, len(dataset.classes))


def data_uri(picture: Pixels) -> str:
    """Write a picture ``(S, S, 3)`` into an address that needs no file."""
    return _encode(Image.fromarray(picture), quality=82)


def sprite_uri(pictures: Pixels) -> str:
    """Write many pictures ``(N, S, S, 3)`` into one, :data:`COLUMNS` to a row."""
    count, side = len(pictures), pictures.shape[1]
    sheet = np.zeros((-(-count // COLUMNS) * side, COLUMNS * side, 3), np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // COLUMNS * side, i % COLUMNS * side
        sheet[top : top + side, left : left + side] = picture
    return _encode(Image.fromarray(sheet), quality=70)


def _encode(image: Image.Image, quality: int) -> str:
    grey = image.convert("L")
    if np.array_equal(np.asarray(grey.convert("RGB")), np.asarray(image)):
        image = grey  # a third of the bytes
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _to_pixels(view: Tensor) -> Pixels:
    """Return a view ``(n, 3, S, S)`` of the normalisation ``half`` as ``(n, S, S, 3)`` uint8."""
    pixels: Pixels = (view * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(pixels)
