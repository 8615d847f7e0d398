"""Your own images, one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medssl.contracts import Listing, Understanding
from medssl.errors import DataError, did_you_mean, shorten
from medssl_datasets.folders.files import FileDataset, Row, log, own_split
from medssl_datasets.folders.layout import Layout, read_layout, understand_folder
from medssl_datasets.folders.tree import Tree, read_tree, sample_id
from medssl_datasets.shared.choosing import Choosing, parts_of_lists
from medssl_datasets.shared.groups import compile_pattern, groups_by_table, match_pattern, path_pattern
from medssl_datasets.tables.targets import Labels, no_labels, read_classes

__all__ = ["Folder"]


class Folder(FileDataset):
    """Images in one folder per class, at any depth in it; the classes are the sorted folder names.

    Layouts: ``<class>/*.png``; ``train|val|test/<class>/*.png`` or ``<class>/train|val|test/*.png``, which set the
    parts, in any usual spelling (``Training``, ``TEST``, ``validation_set``); one folder around all of these; folds,
    which are put together; images in no folder, which have no labels.

    Left out, with a word: masks (``<class>/masks`` beside ``<class>/images``, ``1_mask.png`` beside ``1.png``), folders
    beside the parts, archives, and files that are not images. Hidden files and those that operating systems create are
    ignored.

    Source and licence: your own.

    Known leaks: they cannot be found without groups. Give groups with ``group_pattern`` or ``groups`` if a patient,
    slide or source image has more than one file.
    """

    published = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Choosing):
        r"""Options.

        Attributes:
            group_pattern: Regular expression searched in each path below the data folder; its group named ``group``,
                or its only group, is the sample's group. ``'/(C\d+)'`` finds C100 in
                ``Parasitized/C100P61ThinF_IMG_20150918_144104_cell_168.png``.
            groups: Table with the columns ``path`` and ``group``; paths are relative to the data folder or to the
                table. An empty cell means no group. ``medssl audit --groups`` writes a table that puts duplicates into
                one group.
            unlabelled: Name of a folder next to the class folders whose images are used for pre-training only.
            exclude: Regular expression; images whose path contains a match are left out, for instance ``^samples/``.
            masks: Whether masks are left out, or kept as images.
            target: Kind of target of the folders: ``classes``, ``grades`` (ordered classes), or ``none``: the folders
                are no classes, and the images have no labels.
            names: The folders in order; empty: sorted as text, whole numbers by value for grades.
        """

        group_pattern: str | None = None
        groups: Path | None = None
        unlabelled: str | None = None
        exclude: str | None = None
        masks: Literal["leave out", "keep"] = "leave out"
        target: Literal["classes", "grades", "none"] = "classes"
        names: tuple[str, ...] = ()

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.group_pattern is not None and self.groups is not None:
                raise ValueError(
                    "group_pattern and groups are both set, but only one can define the groups. Leave one out."
                )
            path_pattern("group_pattern", self.group_pattern)
            compile_pattern("exclude", self.exclude)

    @classmethod
    def augmentation_for(cls, config: Any) -> str:
        """Return the augmentation that the user gives."""
        return str(config.augmentation)

    @classmethod
    def understand(cls, path: Path, given: Mapping[str, Any]) -> Understanding | None:
        """Read parts and classes from the folders below a folder."""
        return None if path.is_file() else understand_folder(path, given)

    def index(self) -> Listing:
        """List the images, sorted by path.

        Raises:
            DataError: The folder is missing, has no images or an empty class folder, can be understood in two ways, or
                the groups match no image.
        """
        tree = self._files()
        layout = read_layout(tree, self.config.unlabelled)
        images = [image for image in tree.images if image in layout.places]
        labels = self._labels(layout, images)
        names = [sample_id(image) for image in images]
        groups, sites = self._groups(names), self.config.by_path("site_pattern", names)
        listed = parts_of_lists(self.config.part_lists, self.root, names)
        for text in (*layout.doubts, *layout.said, *tree.left_out(), *labels.said):
            log.warning("folder: %s", text)
        rows = [
            Row(
                name, labels.values[i], groups.get(name), sites.get(name), listed.get(name) or layout.places[image].part
            )
            for i, (name, image) in enumerate(zip(names, images, strict=True))
            if labels.used[i]
        ]
        survey = self.survey([row.file for row in rows])
        samples = survey.samples(rows, grouped=bool(groups))
        protocol, reason = own_split(samples)
        return Listing(
            samples=sorted(samples, key=lambda sample: sample.id),
            target=labels.target,
            group_kind="group" if groups else survey.group_kind,
            site_kind="site" if sites else survey.site_kind,
            default_split=protocol,
            split_reason=reason,
        )

    def _files(self) -> Tree:
        """List the files below the data folder, without the excluded ones."""
        if not self.root.is_dir():
            raise DataError(
                f"folder: {self.root} is not a folder. It must contain the class folders. Check --data-dir."
            )
        exclude = compile_pattern("exclude", self.config.exclude)
        tree = read_tree(self.root, self.readers.is_image, masks=self.config.masks == "keep", exclude=exclude)
        if not tree.images:
            kinds = [f"{count} {kind}" for kind, count in tree.kinds().items()]
            held = f"holds {shorten(kinds)}" if kinds else "holds no files of images"
            packed = f" Unpack {shorten(tree.archives)} first." if tree.archives else ""
            raise DataError(
                f"folder: no images are found in {self.root}. It {held}.{packed} Each class needs its own folder "
                "with its images. Give the folder that contains them with --data-dir."
            )
        return tree

    def _labels(self, layout: Layout, images: Sequence[str]) -> Labels:
        config, names = self.config, {place.name for place in layout.places.values()} - {None}
        self._check_unlabelled(layout)
        if config.label_pattern is None and (not names or config.target == "none"):
            return no_labels(len(images))
        texts = [layout.places[image].name or "" for image in images]
        where = "folder: the data folder"
        if config.label_pattern is not None:
            marked = config.by_path("label_pattern", images)
            texts, where = [marked.get(image, "") for image in images], f"folder: '{config.label_pattern}'"
        return read_classes(where, texts, config, grades=config.target == "grades", names=config.names, folders=True)

    def _check_unlabelled(self, layout: Layout) -> None:
        """Check that the folder of unlabelled images exists."""
        wanted = self.config.unlabelled
        folders = {part for image in layout.places for part in image.split("/")[:-1]}
        if wanted is not None and wanted not in folders:
            raise DataError(
                f"folder: {self.root} has no folder '{wanted}' for unlabelled images.{did_you_mean(wanted, folders)} "
                f"It has {shorten(sorted(folders))}. Correct --set dataset.unlabelled=..."
            )

    def _groups(self, images: Sequence[str]) -> Mapping[str, str]:
        """Map images to groups with the pattern or the table."""
        config = self.config
        pattern = path_pattern("group_pattern", config.group_pattern)
        if pattern is not None:
            groups, source = match_pattern("group_pattern", pattern, images), f"group_pattern '{pattern.pattern}'"
        elif config.groups is not None:
            groups, source = groups_by_table(config.groups, self.root, images), f"the table {config.groups}"
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
            log.warning("folder: %s gives %d images no group: %s", source, len(unmatched), shorten(unmatched))
        return named
