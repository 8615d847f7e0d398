"""Writes the small pictures for the page of a run: ``pictures.npz``.

N images, S side of a picture in pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from medssl.contracts import Classes, ViewGroup, ViewSpec
from medssl.preview.shown import Pixels, Shown, describe_augmentation
from medssl.results.pictures import FeatureMap, Pictures, write_pictures
from medssl.runs.context import RunContext
from medssl.runs.pictures.feature_map import make_map
from medssl.runs.pictures.shown import choose_mistakes, choose_neighbours, choose_samples, draw_samples
from medssl.runs.stages.evaluation import Evaluated
from medssl.runs.stages.features import EncodedParts
from medssl.runs.stages.pretraining import Trained
from medssl.train.loop.method import view_spec

__all__ = ["leave_pictures"]

_SIDE = 112  # side of a picture in a gallery
_SMALL = 64  # side of a picture in the sheet of the map
_COLUMNS = 25  # columns of that sheet
_VIEWS = 4  # views shown per image


def leave_pictures(context: RunContext, trained: Trained, features: EncodedParts, findings: Evaluated) -> None:
    """Write ``pictures.npz``: the map of the test features, and every image that the run's page shows.

    Without classes there are no colours, correct or wrong predictions, so only samples and their views are shown.
    """
    target, (train, test) = context.data.target, (features["train"], features["test"])
    if isinstance(target, Classes):
        found = make_map(test, findings.arrays, trained.source)
        samples = choose_samples(train[0], target.names)
        neighbours = choose_neighbours(train, test, target.names)
        mistakes = {name: choose_mistakes(test[0], proba, target.names) for name, proba in findings.predictions.items()}
    else:
        found, samples, neighbours, mistakes = None, draw_samples(context.data), (), {}
    cards = [*samples, *(card for some in mistakes.values() for card in some)]
    cards += [card for near in neighbours for card in (near.query, *near.found)]
    gallery = _Gallery(context)
    write_pictures(
        context.directory.pictures,
        Pictures(
            plain=gallery.plain([card.id for card in cards]),
            samples=samples,
            views=gallery.views([card.id for card in samples], trained),
            augmentation=describe_augmentation(context.view_maker.augmentation),
            neighbours=neighbours,
            mistakes=mistakes,
            sheet=gallery.sheet(found),
            side=_SMALL,
            columns=_COLUMNS,
            map=found,
        ),
    )


class _Gallery:
    """Turns sample ids into JPEG bytes."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._shown = Shown(context.view_maker)

    def plain(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return each image as in evaluation."""
        names = list(dict.fromkeys(ids))
        pictures = self._shown.plain(self._context.data.rows(names), _SIDE) if names else ()
        return {name: _jpeg(picture, 82) for name, picture in zip(names, pictures, strict=True)}

    def views(self, ids: Sequence[str], trained: Trained) -> tuple[tuple[bytes, ...], ...]:
        """Return up to four random views of each image: those of the method, or plain ones if nothing is trained."""
        if not ids:
            return ()
        recipe, data = self._context.recipe, self._context.data
        spec = trained.views
        if spec is None:  # a reused encoder was trained in another run, but on the views of this method
            samples = len(data.pretrained_on)
            spec = view_spec(recipe, num_samples=samples, target=data.target, encoder=trained.encoder)
        spec = spec or ViewSpec((ViewGroup(count=_VIEWS),))
        columns: list[Pixels] = []
        for epoch in range(-(-_VIEWS // spec.count)):
            columns += self._shown.views(data.rows(ids), spec, epoch)
        return tuple(tuple(_jpeg(view[i], 82) for view in columns[:_VIEWS]) for i in range(len(ids)))

    def sheet(self, found: FeatureMap | None) -> bytes:
        """Return one picture with the images of a map, row by row."""
        if found is None:
            return b""
        pictures = self._shown.plain(self._context.data.rows(found.ids), _SMALL)
        sheet = np.zeros((-(-len(pictures) // _COLUMNS) * _SMALL, _COLUMNS * _SMALL, 3), np.uint8)
        for i, picture in enumerate(pictures):
            top, left = i // _COLUMNS * _SMALL, i % _COLUMNS * _SMALL
            sheet[top : top + _SMALL, left : left + _SMALL] = picture
        return _jpeg(sheet, 70)


def _jpeg(picture: Pixels, quality: int) -> bytes:
    image = Image.fromarray(picture)
    grey = image.convert("L")
    if np.array_equal(np.asarray(grey.convert("RGB")), picture):
        image = grey  # grey: a third of the bytes
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
