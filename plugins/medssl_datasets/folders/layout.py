"""Reads parts and classes from the folders of images: class folders, parts, folds, wrappers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.contracts import Part, Understanding
from medssl.errors import DataError, counted, shorten
from medssl_datasets.folders.tree import Tree, read_tree, readable_name
from medssl_datasets.shared.words import fold_of, number, one_spelling, part_of

__all__ = ["Layout", "Place", "read_layout", "understand_folder"]

_GENERIC = frozenset({"images", "image", "imgs", "img", "data", "dataset", "pictures", "jpeg", "jpg", "png", "files"})


@dataclass(frozen=True)
class Place:
    """What the folders say about one image.

    Attributes:
        part: Official part; ``None`` if the folders name none.
        name: Name of the class; ``None`` if the image is in no class folder.
    """

    part: Part | None
    name: str | None


@dataclass(frozen=True)
class Layout:
    """What the folders say about all images.

    Attributes:
        places: By image.
        said: Sentences for the user about what was understood, and about what is left out.
        doubts: Sentences about what may be understood wrongly.
    """

    places: Mapping[str, Place]
    said: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass
class _Reading:
    """A layout in the making."""

    tree: Tree
    unlabelled: str | None
    places: dict[str, Place] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def read_layout(tree: Tree, unlabelled: str | None = None) -> Layout:
    """Find the folders of parts and classes in a tree.

    Args:
        tree: The files below the data folder.
        unlabelled: Name of a folder, beside the class folders, of images without a label.

    Raises:
        DataError: The folders can be understood in two ways.
    """
    reading = _Reading(tree, unlabelled)
    base, images = _unwrap(reading)
    inside, direct = _children(images, base)
    parts = {name: part for name in inside if (part := part_of(name)) and name != unlabelled}
    if len(set(parts.values())) > 1 or (parts and not set(inside) - set(parts) - {unlabelled}):
        _read_parts(reading, base, inside, parts)
    elif parts:
        _refuse_one_part(tree.root, base, parts, inside)
    elif sum(map(fold_of, inside)) > 1:
        _read_folds(reading, base, inside)
    elif inside:
        _read_classes(reading, None, base, inside)
    if not inside:
        reading.places |= dict.fromkeys(direct, Place(None, None))
    elif direct:
        reading.said.append(
            f"left out: {counted(len(direct), 'image')} beside the folders, in none of them, for instance {direct[0]}"
        )
    return Layout(_one_name_each(reading), tuple(reading.said), tuple(reading.doubts))


def _unwrap(reading: _Reading) -> tuple[str, Sequence[str]]:
    """Go down while there is only one folder with images, and return it with its images."""
    base, images = "", reading.tree.images
    while True:
        inside, direct = _children(images, base)
        if direct or len(inside) != 1:
            return base, images
        name, below = next(iter(inside.items()))
        deeper = any("/" in path[len(base) + len(name) + 1 :] for path in below)
        generic = name.lower() in _GENERIC
        if name == reading.unlabelled or (part_of(name) and deeper) or not (deeper or generic):
            return base, images
        base += f"{name}/"
        reading.said.append(f"the images lie in the folder {base[:-1]}")


def _children(images: Iterable[str], base: str) -> tuple[dict[str, list[str]], list[str]]:
    """Divide the images below a folder by the folder in it, and return those that are directly in it separately."""
    inside: dict[str, list[str]] = defaultdict(list)
    direct = []
    for path in images:
        name, slash, _ = path[len(base) :].partition("/")
        if slash:
            inside[name].append(path)
        else:
            direct.append(path)
    return dict(inside), direct


def _read_parts(reading: _Reading, base: str, inside: Mapping[str, Sequence[str]], parts: Mapping[str, Part]) -> None:
    """Read ``train/<class>``, ``test/<class>`` and so on."""
    others = [name for name in inside if name not in parts and name != reading.unlabelled]
    written = [f"{name} is the {part} part" for name, part in parts.items() if name not in ("train", "val", "test")]
    if written:
        reading.said.append("; ".join(written))
    if others:
        reading.doubts.append(
            f"{shorten(others)} in {reading.tree.root / base} {'is' if len(others) == 1 else 'are'} left out, because "
            f"{shorten(sorted(parts))} beside it are parts of a split, not classes"
        )
    for name, part in parts.items():
        start = f"{base}{name}/"
        below, direct = _children(inside[name], start)
        while not direct and len(below) == 1 and next(iter(below)).lower() in _GENERIC:
            start += f"{next(iter(below))}/"
            below, direct = _children(inside[name], start)
        reading.places |= dict.fromkeys(direct, Place(part, None))
        if direct and below:
            reading.said.append(f"no label: {counted(len(direct), 'image')} directly in {start[:-1]}")
        _read_classes(reading, part, start, below)
    if reading.unlabelled is not None and reading.unlabelled in inside:
        reading.places |= dict.fromkeys(inside[reading.unlabelled], Place(None, None))


def _refuse_one_part(root: Path, base: str, parts: Mapping[str, Part], inside: Mapping[str, Sequence[str]]) -> None:
    name, others = next(iter(parts)), [other for other in inside if other not in parts]
    raise DataError(
        f"folder: {root / base} holds {name}, which is named like a part of a split, and {shorten(others)}, which "
        f"are not. The classes are not clear. Give --data-dir {root / base / name} to use {name} alone, or rename "
        "a folder, or leave one out with --set dataset.exclude=..."
    )


def _read_folds(reading: _Reading, base: str, inside: Mapping[str, Sequence[str]]) -> None:
    """Read ``fold1/<class>`` and so on: the folds are put together."""
    folds = [name for name in inside if fold_of(name)]
    below = {name: _children(inside[name], f"{base}{name}/")[0] for name in folds}
    if any(part_of(inner) for found in below.values() for inner in found):
        raise DataError(
            f"folder: {shorten(folds)} in {reading.tree.root / base} are folds with their own parts, so they hold the "
            f"same images. Choose one of them, for instance with --data-dir {reading.tree.root / base / folds[0]}."
        )
    reading.doubts.append(
        f"{shorten(folds)} are folds of a split. Their images are put together, and the run draws its own split"
    )
    if others := [name for name in inside if name not in folds and name != reading.unlabelled]:
        reading.doubts.append(f"{shorten(others)} beside the folds {'is' if len(others) == 1 else 'are'} left out")
    for name in folds:
        direct = _children(inside[name], f"{base}{name}/")[1]
        reading.places |= dict.fromkeys(direct, Place(None, None))
        _read_classes(reading, None, f"{base}{name}/", below[name])


def _read_classes(reading: _Reading, part: Part | None, base: str, inside: Mapping[str, Sequence[str]]) -> None:
    """Read ``<class>/*`` or ``<class>/train/*``."""
    _refuse_empty(reading, base, inside)
    below = {name: _children(images, f"{base}{name}/") for name, images in inside.items()}
    split = (
        bool(inside)
        and part is None
        and all(folders and not direct and all(map(part_of, folders)) for folders, direct in below.values())
    )
    split = split and len({part_of(each) for folders, _ in below.values() for each in folders}) > 1
    for name, images in inside.items():
        label = None if name == reading.unlabelled else name
        if split:
            for inner, found in below[name][0].items():
                reading.places |= dict.fromkeys(found, Place(part_of(inner), label))
        else:
            reading.places |= dict.fromkeys(images, Place(part, label))
    same = {frozenset(folders) for folders, direct in below.values() if not direct}
    if not split and len(inside) > 1 and len(same) == 1 and not any(direct for _, direct in below.values()):
        lower = sorted(next(iter(same)))
        if len(lower) > 1:
            reading.doubts.append(
                f"each of {shorten(inside)} holds the folders {shorten(lower)}. The upper ones are taken for the "
                "classes. If the lower ones are, give --set 'dataset.label_pattern=([^/]+)/[^/]+$'"
            )


def _one_name_each(reading: _Reading) -> dict[str, Place]:
    """Give one name to classes that are written in several ways in several parts."""
    names = {place.name for place in reading.places.values() if place.name is not None}
    kept = [reading.unlabelled] if reading.unlabelled else []
    chosen, several = one_spelling((readable_name(name) for name in sorted(names)), kept)
    if several:
        reading.said.append(
            f"folders whose names differ only in letter case or spaces are one class: {shorten(several)}"
        )
    by_name = {name: chosen[readable_name(name)] for name in names}
    return {
        image: Place(place.part, None if place.name is None else by_name[place.name])
        for image, place in reading.places.items()
    }


def _refuse_empty(reading: _Reading, base: str, inside: Mapping[str, Sequence[str]]) -> None:
    """Refuse a class folder without images; a folder of documents or masks is no class.

    Raises:
        DataError: There is one.
    """
    tree = reading.tree
    names = (folder[len(base) :] for folder in tree.folders if folder.startswith(base))
    empty = [name for name in names if name and "/" not in name and name not in inside]
    masks = {path[len(base) :].partition("/")[0] for path in tree.masks if path.startswith(base)}
    documents = [name for name in empty if name not in masks and _only_documents(tree, f"{base}{name}/")]
    empty = [name for name in empty if name not in masks and name not in documents]
    if inside and documents:
        reading.said.append(f"{shorten(documents)} in {tree.root / base} without images is no class")
    if inside and empty:
        here = Tree(tree.root, (), others=tuple(o for o in tree.others if o.startswith(f"{base}{empty[0]}/")))
        held = f" {empty[0]} holds {shorten([f'{count} {kind}' for kind, count in here.kinds().items()])}." * bool(
            here.others
        )
        raise DataError(
            f"folder: no images in {shorten([f'{base}{name}' for name in empty])} below {tree.root}. Every class "
            f"folder needs images.{held} Add images or remove the folder."
        )


def _only_documents(tree: Tree, start: str) -> bool:
    others = [name for name in tree.others if name.startswith(start)]
    return bool(others) and not Tree(tree.root, (), others=tuple(others)).kinds()


def understand_folder(path: Path, given: Mapping[str, Any]) -> Understanding | None:
    """Guess what the folders below a folder mean; ``None`` if there is no image."""
    try:
        tree = read_tree(path)
        if not tree.images:
            return None
        layout = read_layout(tree, given.get("unlabelled"))
    except DataError:
        return Understanding(sure=0.3, folder=path.resolve())  # the dataset itself says what is unclear
    names = sorted({place.name for place in layout.places.values()} - {None}, key=str)
    options: dict[str, Any] = {}
    guesses = [*layout.doubts]
    if not names:
        said = [f"no label: {counted(len(layout.places), 'image')} in no class folder"]
        return Understanding(sure=0.25, folder=path.resolve(), options={}, said=said, guesses=guesses)
    if "target" not in given and len(names) > 2 and all(number(str(name)) for name in names):
        options["target"] = "grades"
        guesses.append(f"the folders {shorten(names)} are numbers, so they are taken for grades (dataset.target)")
    if not {"group_pattern", "groups"} & given.keys():
        tables = [name for name in tree.others if name.rpartition("/")[2].lower() == "groups.csv"]
        if len(tables) == 1:
            options["groups"] = tables[0]
            guesses.append(f"{tables[0]} holds the groups (dataset.groups)")
        else:
            guesses.append(
                "no folder or table names patients; if one has several images and the files do not say which (DICOM "
                "does), give --set 'dataset.group_pattern=...' or a table of groups (dataset.groups)"
            )
    said = [f"{len(names)} class folders: {shorten(names)}"]
    return Understanding(sure=0.7, folder=path.resolve(), options=options, said=said, guesses=guesses)
