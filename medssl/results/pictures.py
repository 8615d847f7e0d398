"""``pictures.npz``: the small pictures of a run, and the map of its test features, for the pages that show them.

The JPEG bytes of all pictures are in one array, one after the other; an index in JSON identifies them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from medssl.io.files import write_atomic_with
from medssl.io.identities import private_id
from medssl.io.reading import parse_json, read_npz

__all__ = ["Card", "FeatureMap", "Neighbours", "Pictures", "read_pictures", "write_pictures"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One image to show.

    Attributes:
        id: Id of the sample.
        label: Its class.
        note: A short text about it.
        right: Whether it is a correct case; ``None`` if this does not apply.
    """

    id: str
    label: str
    note: str = ""
    right: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A test image and the training images whose features are nearest to its own."""

    query: Card
    found: tuple[Card, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureMap:
    """A map of test features in two dimensions.

    Attributes:
        how: The method: ``t-SNE``, or the name of an evaluator.
        ids: n sample ids.
        label: n class numbers.
        xy: ``(n, 2)`` float64.
        of: Number of test images; n of them are on the map.
    """

    how: str
    ids: tuple[str, ...]
    label: tuple[int, ...]
    xy: Array
    of: int


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """All pictures of a run.

    Attributes:
        plain: Images as in evaluation: JPEG by sample id.
        samples: Some training images.
        views: Random views of each sample, as JPEG.
        augmentation: The augmentation of these views, in words.
        neighbours: Nearest neighbours of some test images.
        mistakes: Test images on which an evaluator was wrong, the most confident first, by evaluator.
        sheet: One JPEG with the images of the map, row by row; empty if there is no map.
        side: Side of an image in the sheet, in pixels.
        columns: Number of images in a row of the sheet.
        map: The map of the test features; ``None`` if the run made none.
    """

    plain: Mapping[str, bytes] = field(default_factory=dict)
    samples: tuple[Card, ...] = ()
    views: tuple[tuple[bytes, ...], ...] = ()
    augmentation: str = ""
    neighbours: tuple[Neighbours, ...] = ()
    mistakes: Mapping[str, tuple[Card, ...]] = field(default_factory=dict)
    sheet: bytes = b""
    side: int = 0
    columns: int = 0
    map: FeatureMap | None = None


def write_pictures(path: Path, pictures: Pictures) -> None:
    """Write ``pictures.npz``, readable by its owner alone. Private names stand in the place of sample ids."""
    pictures = _hidden(pictures)
    files: list[bytes] = []

    def keep(content: bytes) -> int:
        files.append(content)
        return len(files) - 1

    index = {
        "hidden": True,
        "plain": {name: keep(content) for name, content in pictures.plain.items()},
        "samples": [asdict(card) for card in pictures.samples],
        "views": [[keep(view) for view in views] for views in pictures.views],
        "augmentation": pictures.augmentation,
        "neighbours": [asdict(found) for found in pictures.neighbours],
        "mistakes": {name: [asdict(card) for card in cards] for name, cards in pictures.mistakes.items()},
        "sheet": keep(pictures.sheet),
        "side": pictures.side,
        "columns": pictures.columns,
        "map": pictures.map and {k: v for k, v in vars(pictures.map).items() if k != "xy"},
    }
    arrays: dict[str, Any] = {
        "jpeg": np.frombuffer(b"".join(files), np.uint8),
        "end": np.cumsum([len(content) for content in files], dtype=np.int64),
        "index": np.frombuffer(json.dumps(index).encode(), np.uint8),
        "map_xy": np.empty((0, 2)) if pictures.map is None else pictures.map.xy.astype(np.float64),
    }
    write_atomic_with(path, lambda file: np.savez(file, **arrays), private=True)


def read_pictures(path: Path) -> Pictures | None:
    """Read ``pictures.npz``, with private names in the place of ids; ``None`` if it is missing or damaged."""
    try:
        arrays = read_npz(path)
        index = parse_json(arrays["index"].tobytes().decode())
        ends = [0, *arrays["end"].tolist()]
        jpeg = arrays["jpeg"].tobytes()
        found = _from_index(index, [jpeg[a:b] for a, b in pairwise(ends)], arrays["map_xy"])
        return found if index.get("hidden") else _hidden(found)  # earlier versions wrote the ids themselves
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _from_index(index: Mapping[str, Any], files: Sequence[bytes], xy: Array) -> Pictures:
    found = index["map"]
    return Pictures(
        plain={name: files[i] for name, i in index["plain"].items()},
        samples=_cards(index["samples"]),
        views=tuple(tuple(files[i] for i in views) for views in index["views"]),
        augmentation=index["augmentation"],
        neighbours=tuple(Neighbours(query=Card(**n["query"]), found=_cards(n["found"])) for n in index["neighbours"]),
        mistakes={name: _cards(cards) for name, cards in index["mistakes"].items()},
        sheet=files[index["sheet"]],
        side=index["side"],
        columns=index["columns"],
        map=found
        and FeatureMap(
            how=found["how"], ids=tuple(found["ids"]), label=tuple(found["label"]), xy=xy, of=int(found["of"])
        ),
    )


def _hidden(pictures: Pictures) -> Pictures:
    """Put private names in the place of sample ids."""

    def hide(card: Card) -> Card:
        return replace(card, id=private_id("image", card.id))

    found = pictures.map
    return replace(
        pictures,
        plain={private_id("image", name): content for name, content in pictures.plain.items()},
        samples=tuple(map(hide, pictures.samples)),
        neighbours=tuple(
            Neighbours(query=hide(near.query), found=tuple(map(hide, near.found))) for near in pictures.neighbours
        ),
        mistakes={name: tuple(map(hide, cards)) for name, cards in pictures.mistakes.items()},
        map=found and replace(found, ids=tuple(private_id("image", name) for name in found.ids)),
    )


def _cards(values: Sequence[Mapping[str, Any]]) -> tuple[Card, ...]:
    return tuple(Card(**value) for value in values)
