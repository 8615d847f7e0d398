"""Columns of a dataset of Hugging Face: which hold the images and the labels, and what the labels mean."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medssl.contracts import Classes, Findings, Grades, Quantity, Target, Unlabelled, Value
from medssl.errors import DataError, did_you_mean, shorten
from medssl_datasets.shared.words import is_missing

__all__ = ["Columns", "targets_of"]

log = logging.getLogger("medssl")

_LABELS = ("label", "labels", "class", "target", "diagnosis", "dx", "finding", "findings", "grade", "category")


@dataclass(frozen=True)
class Columns:
    """The columns in use.

    Attributes:
        image: Of the images.
        label: Of the labels; ``None``: there are none.
        group: Of the groups.
        site: Of the sites.
        names: Class names of the label column, if its type has them.
        several: Whether a cell of the label column is a list.
    """

    image: str
    label: str | None
    group: str | None
    site: str | None
    names: tuple[str, ...]
    several: bool

    @property
    def all(self) -> list[str]:
        """The columns that are listed, without the images."""
        return [name for name in dict.fromkeys((self.label, self.group, self.site)) if name]

    @classmethod
    def of(cls, config: Any, features: Mapping[str, Any]) -> Columns:
        """Find them in the features of a table.

        Raises:
            DataError: A named column does not exist, or none holds images.
        """
        for name in (config.image_column, config.label_column, config.group_column, config.site_column):
            if name and name.lower() != "none" and name not in features:
                raise DataError(
                    f"hf: there is no column '{name}'.{did_you_mean(name, features)} Columns: "
                    f"{shorten(list(features))}."
                )
        images = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
        if not (config.image_column or images):
            raise DataError(
                f"hf: no column holds images. Columns: {shorten(list(features))}. Give dataset.image_column."
            )
        label = config.label_column or _guess(features)
        if label and label.lower() == "none":
            label = None
        kind = features.get(label or "")
        inner = getattr(kind, "feature", kind[0] if isinstance(kind, list) else None)
        names = getattr(inner if inner is not None else kind, "names", None) or ()
        image = config.image_column or images[0]
        return cls(image, label, config.group_column, config.site_column, tuple(names), inner is not None)


def _guess(features: Mapping[str, Any]) -> str | None:
    named = [name for name, kind in features.items() if getattr(kind, "names", None)]
    return next(iter([*named, *(name for name in features if name.lower() in _LABELS)]), None)


def targets_of(
    columns: Columns, cells: Mapping[str, Sequence[Any]], count: int, *, grades: bool
) -> tuple[Target, list[Value | None]]:
    """Read the labels, and say which columns are in use.

    Args:
        columns: The columns.
        cells: The cells by column.
        count: Number of images.
        grades: Whether classes are ordered.

    Returns:
        The target and the values.
    """
    log.warning("hf: the images are in the column '%s', the labels in '%s'", columns.image, columns.label or "none")
    if columns.label is None:
        return Unlabelled(), [None] * count
    texts = cells[columns.label]
    if columns.several:
        return _findings(columns, texts)
    known = [cell for cell in texts if not _missing(cell)]
    if not columns.names and any(isinstance(cell, float) and cell != int(cell) for cell in known):
        values: list[Value | None] = [None if _missing(cell) else float(cell) for cell in texts]
        return Quantity(columns.label).with_edges(values), values
    names = columns.names or tuple(_sorted({_text(cell) for cell in known}))
    place = {name: at for at, name in enumerate(names)}
    numbers = bool(columns.names) and all(isinstance(cell, int) for cell in known)
    target = (Grades if grades else Classes)(names)
    return target, [
        None if _missing(cell) or (numbers and cell < 0) else cell if numbers else place[_text(cell)] for cell in texts
    ]


def _findings(columns: Columns, texts: Sequence[Any]) -> tuple[Target, list[Value | None]]:
    named = columns.names
    lists = [None if cell is None else [named[i] if named else _text(i) for i in cell] for cell in texts]
    names = named or tuple(_sorted({name for cell in lists for name in cell or ()}))
    return Findings(names), [None if cell is None else tuple(int(name in cell) for name in names) for cell in lists]


def _missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or is_missing(str(cell))


def _text(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell == int(cell) else str(cell).strip()


def _sorted(names: Iterable[str]) -> list[str]:
    numbers = all(name.lstrip("-").isdecimal() for name in names)
    return sorted(names, key=int) if numbers else sorted(names)
