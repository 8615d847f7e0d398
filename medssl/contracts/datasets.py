"""What a dataset is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = ["Dataset", "Part", "Sample"]

Part = Literal["train", "val", "test"]
"""A part of a split: ``train``, ``val`` or ``test``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image of a dataset, before it is read.

    Attributes:
        id: Unique in the dataset and the same on every machine; the path relative to the dataset's root, with forward
            slashes, where there are files.
        label: Position in ``Dataset.classes``; ``None`` for an image without a label, which is pre-trained on only.
        group: What must never be on both sides of a split (patient, slide, source image); ``None`` where not known.
        part: The part that the dataset's makers put it in; ``None`` where they made no parts.
    """

    id: str
    label: int | None = None
    group: str | None = None
    part: Part | None = None


class Dataset(ABC):
    """A set of labelled images that lies in one folder.

    The core calls, in this order: the constructor (cheap, touches no file), :meth:`samples`, :meth:`read_reduced` once
    per sample (from several threads at once). ``medssl fetch`` calls :meth:`fetch`.

    Attributes:
        Config: A frozen, keyword-only dataclass of this dataset's options, every one with a default.
        classes: Class names in their fixed order; ``Sample.label`` counts into them. May depend on the files; then it
            is a property.
        augmentation: Name of the augmentation recipe that suits the modality (``medssl list augmentations``).
        default_split: Split protocol used when the user names none: ``random``, ``grouped`` or ``official``.
        split_reason: One sentence: why that protocol is the default.
        group_kind: What a group is ("patient", "slide", "source tile"); ``None`` when groups are not known.

    Args:
        config: The options.
        root: Folder that holds the files in their official layout; it need not exist before :meth:`fetch`.
        facts: What the catalogue (``registry.yaml``, with the user's own file laid over it) says about this name:
            ``sources``, ``licence``, ``counts`` and so on. Empty for a dataset that no catalogue knows.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    classes: Sequence[str]
    augmentation: str = "natural"
    default_split: str = "random"
    split_reason: str = "no groups and no official parts are known"
    group_kind: str | None = None

    def __init__(self, config: Any, root: Path, facts: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.root = Path(root)
        self.facts: Mapping[str, Any] = facts or {}

    def fetch(self) -> None:
        """Bring the files to ``root``, verified; do nothing when they are there.

        Raises:
            DataError: The files cannot be had from here; the message says which file (name, size, checksum) to put
                where.
        """

    @abstractmethod
    def samples(self) -> list[Sample]:
        """List every sample, in an order that does not depend on the disk's.

        Raises:
            DataError: The folder is missing or holds something else; the message says what was expected where.
        """

    @abstractmethod
    def read(self, sample: Sample) -> np.ndarray:
        """Decode one image: ``(H, W, C)``, C 1 or 3, uint8 or uint16. Must be safe to call from several threads."""

    def read_reduced(self, sample: Sample, short_side: int) -> np.ndarray:
        """Decode one image that will be reduced to a short side of this many pixels; :meth:`read` unless overridden.

        A dataset whose files can be decoded at a fraction of their size, as JPEG can, saves half of the time or more on
        large images here: ``return read_image(path, short_side)``. What :meth:`read` cuts out or changes must be the
        same here.

        Args:
            sample: Which image.
            short_side: The core shrinks the short side of what comes to this many pixels, if it has more.

        Returns:
            What :meth:`read` returns, or the same image in fewer pixels; its short side has at least ``short_side`` of
            them, where it had so many.
        """
        return self.read(sample)

    def path(self, sample: Sample) -> Path | None:
        """Return the file that holds this one image, or ``None`` when images do not lie in files of their own.

        The store keys its cache by these files' contents. Where this is ``None``, see :meth:`fingerprint`.
        """
        return None

    def fingerprint(self) -> str | None:
        """Return a text that changes whenever any pixel would, for datasets without a file per image.

        ``None`` (with :meth:`path` ``None`` too) makes the store decode every image again at each start.
        """
        return None
