"""What a dataset is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from medssl.contracts.targets import Target, Value

__all__ = ["Dataset", "Listing", "Part", "Sample"]

Part = Literal["train", "val", "test"]
"""A part of a split: ``train``, ``val`` or ``test``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image of a dataset, before it is read.

    Attributes:
        id: Unique in the dataset and the same on every machine; the path relative to the dataset's root, with forward
            slashes, where there are files.
        y: The target's value, see :mod:`medssl.contracts.targets`: a class or grade by its number, a tuple of findings,
            or a number. ``None`` for an image of which nothing is known, which is pre-trained on only.
        group: What must never be on both sides of a split (patient, slide, source image); ``None`` where not known.
        site: Where it was acquired (hospital, scanner); ``None`` where not known.
        part: The part that the dataset's makers put it in; ``None`` where they made no parts.
        facts: What else is known of it, by name: sex, age, acquisition.
    """

    id: str
    y: Value | None = None
    group: str | None = None
    site: str | None = None
    part: Part | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The samples of a dataset, and what is known about all of them.

    Attributes:
        samples: Every sample, in an order that does not depend on the disk's.
        target: What the samples are labelled with.
        group_kind: What a group is ("patient", "slide", "source tile"); ``None`` when no sample has a group.
        site_kind: What a site is ("hospital", "scanner"); ``None`` when no sample has a site.
        default_split: Split protocol used when the user names none: ``random``, ``grouped`` or ``official``.
        split_reason: One sentence: why that protocol is the default.
        channels: Channels of every image; ``None`` where not known before the images are read.
        depth: Bits of every channel, 8 or 16; ``None`` likewise.
    """

    samples: Sequence[Sample]
    target: Target
    group_kind: str | None = None
    site_kind: str | None = None
    default_split: str = "random"
    split_reason: str = "no groups and no official parts are known"
    channels: int | None = None
    depth: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", tuple(self.samples))


class Dataset(ABC):
    """A set of labelled images that lies in one folder.

    The core calls, in this order: :meth:`augmentation_for`, the constructor (cheap, touches no file), :meth:`index`,
    :meth:`read_reduced` once per sample (from several threads at once). ``medssl fetch`` calls :meth:`fetch`.

    Attributes:
        Config: A frozen, keyword-only dataclass of this dataset's options, every one with a default.
        augmentation: Name of the augmentation recipe that suits the modality (``medssl list augmentations``).

    Args:
        config: The options.
        root: Folder that holds the files in their official layout; it need not exist before :meth:`fetch`.
        facts: What the catalogue (``registry.yaml``, with the user's own file laid over it) says about this name:
            ``sources``, ``licence``, ``counts`` and so on. Empty for a dataset that no catalogue knows.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    augmentation: ClassVar[str] = "natural"

    @classmethod
    def augmentation_for(cls, config: Any) -> str:  # noqa: ARG003  (for datasets whose modality depends on options)
        """Return the augmentation's name for these options, :attr:`augmentation` unless overridden.

        It is asked before any file is looked at.
        """
        return cls.augmentation

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
    def index(self) -> Listing:
        """List every sample, with the target and what else is known about them; change nothing of the dataset itself.

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
