"""The images that a section of a page shows: those that its first pre-trained run saved."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medssl.report.sections import Section
from medssl.report.words.wording import run_name
from medssl.results.directory import RunDirectory
from medssl.results.pictures import Card, Neighbours, Pictures, read_pictures
from medssl.study.results.summary import Row

__all__ = ["NO_IMAGES", "Gallery", "make_gallery"]

NO_IMAGES = "This page contains no images (--no-images)."


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images of a section, as the page needs them.

    Attributes:
        missing: Why there are no images, in a sentence; empty if there are images.
        shown: The run that neighbours and mistakes belong to.
        pictures: Address of each image by its id.
        samples: Training images.
        views: Addresses of random views of each sample.
        augmentation: How they were drawn, in words.
        neighbours: Of some test images.
        mistakes: The most confident ones.
        evaluator: The one that made the mistakes.
        sprite: Address of the sheet of small pictures behind the maps; empty where there is none.
        places: Position of each id in it.
        side: Of one of its pictures, in pixels.
        columns: Of the sheet.
    """

    missing: str = ""
    shown: str = ""
    pictures: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence[Card] = ()
    views: Sequence[Sequence[str]] = ()
    augmentation: str = ""
    neighbours: Sequence[Neighbours] = ()
    mistakes: Sequence[Card] = ()
    evaluator: str = ""
    sprite: str = ""
    places: Mapping[str, int] = field(default_factory=dict)
    side: int = 0
    columns: int = 0


def make_gallery(section: Section) -> Gallery:
    """Take the pictures of the first run of the row that the section shows."""
    row = section.shown_first()
    pictures = read_pictures(RunDirectory(row.runs[0].path).pictures)
    if pictures is None:
        return Gallery(missing=f"{run_name(row)} has no pictures. To make them, run it again with --force.")
    evaluator = _best_evaluator(section, row)
    mistakes = pictures.mistakes.get(evaluator, ())
    return Gallery(
        shown=run_name(row),
        pictures=_addresses(pictures, mistakes),
        samples=pictures.samples,
        views=[[_address(view) for view in views] for views in pictures.views],
        augmentation=pictures.augmentation,
        neighbours=pictures.neighbours,
        mistakes=mistakes,
        evaluator=evaluator,
        sprite=_address(pictures.sheet) if pictures.map else "",
        places={name: i for i, name in enumerate(pictures.map.ids if pictures.map else ())},
        side=pictures.side,
        columns=pictures.columns,
    )


def _best_evaluator(section: Section, shown: Row) -> str:
    """Return the evaluator with the highest score for this row."""
    found = {
        name: estimate.value or 0.0 for name in section.judges for row, estimate in section.ranked(name) if row is shown
    }
    return max(found, key=found.__getitem__, default="")


def _addresses(pictures: Pictures, mistakes: Sequence[Card]) -> dict[str, str]:
    """Return the addresses of the images on the page, without mistakes of other evaluators."""
    cards = [*pictures.samples, *mistakes]
    cards += [card for found in pictures.neighbours for card in (found.query, *found.found)]
    return {card.id: _address(pictures.plain[card.id]) for card in cards if card.id in pictures.plain}


def _address(jpeg: bytes) -> str:
    """Encode a picture as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
