"""Your own images, one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medssl.contracts import Classes, Grades, Listing, Part, Sample
from medssl.errors import DataError, did_you_mean
from medssl_datasets._files import FileDataset, images_below, log, own_split, shorten, subfolders
from medssl_datasets._groups import compile_pattern, group_pattern, groups_by_pattern, groups_by_table
from medssl_datasets._targets import names_in_order

__all__ = ["Folder"]

_PARTS: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Folder(FileDataset):
    """Images in one folder per class, at any depth in it; the classes are the sorted folder names.

    Layouts: ``<class>/*.png``; or ``train|val|test/<class>/*.png``, which sets the parts; it is recognised if every top
    folder has one of these names (or ``valid``, ``validation``) and contains folders. Hidden files and files that are
    not images are ignored.

    Source and licence: your own.

    Known leaks: they cannot be found without groups. Give groups with ``group_pattern`` or ``groups`` if a patient,
    slide or source image has more than one file.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        r"""Options.

        Attributes:
            group_pattern: Regular expression searched in each path below the data folder; its group named ``group``,
                or its only group, is the sample's group. ``'/(C\d+)'`` finds C100 in
                ``Parasitized/C100P61ThinF_IMG_20150918_144104_cell_168.png``.
            groups: Table with the columns ``path`` and ``group``; paths are relative to the data folder or to the
                table. An empty cell means no group. ``medssl audit --groups`` writes a table that puts duplicates into
                one group.
            unlabelled: Name of a folder next to the class folders whose images are used for pre-training only.
            exclude: Regular expression; images whose path contains a match are left out, for instance ``_mask``.
            target: Kind of target of the folders: ``classes``, or ``grades`` (ordered classes).
            names: The folders in order; empty: sorted as text, whole numbers by value for grades.
            augmentation: Name of the augmentation recipe.
        """

        group_pattern: str | None = None
        groups: Path | None = None
        unlabelled: str | None = None
        exclude: str | None = None
        target: Literal["classes", "grades"] = "classes"
        names: tuple[str, ...] = ()
        augmentation: str = "natural"

        def __post_init__(self) -> None:
            if self.group_pattern is not None and self.groups is not None:
                raise ValueError(
                    "group_pattern and groups are both set, but only one can define the groups. Leave one out."
                )
            group_pattern(self.group_pattern)
            compile_pattern("exclude", self.exclude)

    @classmethod
    def augmentation_for(cls, config: Any) -> str:
        """Return the augmentation that the user gives."""
        return str(config.augmentation)

    def __init__(self, config: Any, root: Path, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(config, root, facts)
        self._pattern = group_pattern(config.group_pattern)
        self._exclude = compile_pattern("exclude", config.exclude)

    def index(self) -> Listing:
        """List the images, sorted by path.

        Raises:
            DataError: The folder is missing, has no class folders or an empty one, or the groups match no image.
        """
        folders = self._class_folders()
        target = self._target({name for _, name in folders.values()} - {self.config.unlabelled})
        labels = {name: label for label, name in enumerate(target.names)}
        found = {folder: self._images(folder) for folder in folders}
        if empty := [folder for folder, images in found.items() if not images]:
            raise DataError(
                f"folder: no images in {shorten(empty)} below {self.root}. Every class folder needs images. "
                "Add images or remove the folder."
            )
        groups = self._groups([image for images in found.values() for image in images])
        samples = [
            Sample(id=image, y=labels.get(name), group=groups.get(image), part=part)
            for folder, (part, name) in folders.items()
            for image in found[folder]
        ]
        protocol, reason = own_split(samples)
        return Listing(
            samples=sorted(samples, key=lambda sample: sample.id),
            target=target,
            group_kind="group" if groups else None,
            default_split=protocol,
            split_reason=reason,
        )

    def _target(self, found: set[str]) -> Classes:
        grades, given = self.config.target == "grades", self.config.names
        names = names_in_order(given, found, "folder: the data folder") if given or grades else tuple(sorted(found))
        return (Grades if grades else Classes)(names)

    def _class_folders(self) -> dict[str, tuple[Part | None, str]]:
        """Map each class folder, relative to the root, to its part and its class."""
        if not self.root.is_dir():
            raise DataError(
                f"folder: {self.root} is not a folder. It must contain the class folders. Check --data-dir."
            )
        top = subfolders(self.root)
        wanted = self.config.unlabelled
        classes = [name for name in top if name != wanted]
        if not classes:
            raise DataError(
                f"folder: {self.root} has no class folders. Each class needs its own folder with its images. "
                "Create them, or give the folder that contains them with --data-dir."
            )
        inner = {name: subfolders(self.root / name) for name in classes}
        if all(name.lower() in _PARTS and inner[name] for name in classes):
            nested: dict[str, tuple[Part | None, str]] = {
                f"{part}/{name}": (_PARTS[part.lower()], name) for part in classes for name in inner[part]
            }
        else:
            nested = {name: (None, name) for name in classes}
            self._hint(classes, inner)
        if wanted in top:
            nested[wanted] = (None, wanted)
        elif wanted is not None and wanted not in {name for _, name in nested.values()}:
            raise DataError(
                f"folder: {self.root} has no folder '{wanted}' for unlabelled images.{did_you_mean(wanted, top)} "
                f"It has {shorten(top)}. Correct --set dataset.unlabelled=..."
            )
        return nested

    def _hint(self, classes: Sequence[str], inner: Mapping[str, Sequence[str]]) -> None:
        """Warn if the class folders seem to be one level deeper."""
        if len(classes) == 1 and len(inner[classes[0]]) > 1:
            log.warning(
                "folder: %s has only one class folder, %s. If the classes are %s, use --data-dir %s",
                self.root,
                classes[0],
                shorten(inner[classes[0]], 5),
                self.root / classes[0],
            )

    def _images(self, folder: str) -> list[str]:
        images = [f"{folder}/{image}" for image in images_below(self.root / folder)]
        return [image for image in images if not (self._exclude and self._exclude.search(image))]

    def _groups(self, images: Sequence[str]) -> dict[str, str]:
        """Map images to groups with the pattern or the table."""
        if self._pattern is not None:
            groups, source = groups_by_pattern(self._pattern, images), f"group_pattern '{self._pattern.pattern}'"
        elif self.config.groups is not None:
            groups, source = groups_by_table(self.config.groups, self.root, images), f"the table {self.config.groups}"
        else:
            return {}
        unmatched = sorted(set(images) - set(groups))
        named = {image: group for image, group in groups.items() if group}
        if not named:
            raise DataError(
                f"folder: {source} matches no image. The paths are like {shorten(sorted(images), 3)}. "
                "Correct it so that it matches them."
            )
        if unmatched:
            log.warning("folder: %s gives %d images no group: %s", source, len(unmatched), shorten(unmatched, 5))
        return named
