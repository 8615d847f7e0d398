"""The part of a section that shows images: samples and views, neighbours, mistakes, and those behind the maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssl.catalog import Catalog
from medssl.errors import MedsslError
from medssl.report.figures.maps import FeatureMap
from medssl.report.pictures.gallery import (
    Card,
    Neighbours,
    choose_mistakes,
    choose_neighbours,
    choose_samples,
    read_arrays,
)
from medssl.report.pictures.pictures import COLUMNS, SMALL, Pictures, data_uri, open_pictures, sprite_uri
from medssl.report.sections import Section
from medssl.report.words.wording import run_name

__all__ = ["Gallery", "make_gallery"]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images of a section, as the page needs them.

    Attributes:
        missing: Why there are none, in a sentence; empty where there are.
        shown: Whose encoder neighbours and mistakes are of.
        pictures: Address of each image by its id.
        samples: Training images.
        views: Addresses of views of each sample.
        augmentation: How they were drawn, in words.
        neighbours: Of some test images.
        mistakes: The surest.
        evaluator: Whose mistakes.
        sprite: Address of the sheet of small pictures behind the maps; empty where there is none.
        places: Position of each id in it.
        side: Of one of its pictures, in pixels.
        columns: Of the sheet.
    """

    missing: str = ""
    shown: str = ""
    pictures: Mapping[str, str]
    samples: Sequence[Card] = ()
    views: Sequence[Sequence[str]] = ()
    augmentation: str = ""
    neighbours: Sequence[Neighbours] = ()
    mistakes: Sequence[Card] = ()
    evaluator: str = ""
    sprite: str = ""
    places: Mapping[str, int]
    side: int = SMALL
    columns: int = COLUMNS


def make_gallery(
    section: Section, maps: Sequence[FeatureMap], catalog: Catalog, data_dir: Path | None = None
) -> Gallery:
    """Read every image that the section shows; where the files are gone, say so.

    Args:
        section: Its first pre-trained row says which neighbours and mistakes are shown.
        maps: The images behind their points are kept too.
        catalog: Facts about the dataset.
        data_dir: Where images lie by now, if not where the runs found them.
    """
    row = section.shown_first()
    run = row.runs[0]
    features = read_arrays(run, "features")
    evaluator = _best_evaluator(section, row.label)
    samples = choose_samples(run, features)
    neighbours = choose_neighbours(run, features)
    mistakes = choose_mistakes(run, read_arrays(run, "predictions"), evaluator)
    points = list(dict.fromkeys(name for found in maps for name in found.ids))
    large = [card.id for card in (*samples, *mistakes)]
    large += [card.id for found in neighbours for card in (found.query, *found.found)]
    if not large and not points:
        return Gallery(missing="The runs keep no features, so no images were looked for.", pictures={}, places={})
    try:
        with open_pictures(run, [*large, *points], catalog, data_dir) as pictures:
            known = [card for card in samples if card.id in pictures.ids]
            points = [name for name in points if name in pictures.ids]
            return Gallery(
                shown=run_name(row),
                pictures=_addresses(pictures, large),
                samples=known,
                views=_views(pictures, [card.id for card in known]),
                augmentation=pictures.augmentation,
                neighbours=neighbours,
                mistakes=mistakes,
                evaluator=evaluator,
                sprite=sprite_uri(pictures.plain(points, SMALL)) if points else "",
                places={name: i for i, name in enumerate(points)},
            )
    except (MedsslError, OSError) as error:
        return Gallery(missing=f"Images are left out: {error}", pictures={}, places={})


def _best_evaluator(section: Section, label: str) -> str:
    """The evaluator that scored this row highest: the one whose mistakes are worth a look."""
    found = {
        name: estimate.value or 0.0
        for name in section.judges
        for row, estimate in section.ranked(name)
        if row.label == label
    }
    return max(found, key=found.__getitem__, default="")


def _addresses(pictures: Pictures, ids: Sequence[str]) -> dict[str, str]:
    known = [name for name in dict.fromkeys(ids) if name in pictures.ids]
    return {name: data_uri(picture) for name, picture in zip(known, pictures.plain(known), strict=True)}


def _views(pictures: Pictures, ids: Sequence[str]) -> list[list[str]]:
    """Return the views of each image, one list per image."""
    if not ids:
        return []
    columns = [[data_uri(picture) for picture in view] for view in pictures.views(ids)]
    return [list(views) for views in zip(*columns, strict=True)]
