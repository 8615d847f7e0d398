"""The contract of a dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from medssl.contracts.readers import Readers
from medssl.contracts.targets import Target, Value

__all__ = ["Dataset", "Listing", "Part", "Sample", "Understanding"]

Part = Literal["train", "val", "test"]
"""A part of a split: ``train``, ``val`` or ``test``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image of a dataset, before it is read.

    Attributes:
        id: Unique in the dataset and the same on every machine; the path relative to the dataset's root, with forward
            slashes, where there are files.
        y: The target's value, see :mod:`medssl.contracts.targets`: a class or grade by its number, a tuple of findings,
            or a number. ``None`` for an image with an unknown value; it is only used for pre-training.
        group: What must never be on both sides of a split (patient, slide, source image); ``None`` where not known.
        site: Where it was acquired (hospital, scanner); ``None`` where not known.
        part: The official part; ``None`` if the dataset has no official parts.
        facts: Other known facts, by name: sex, age, acquisition.
    """

    id: str
    y: Value | None = None
    group: str | None = None
    site: str | None = None
    part: Part | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The samples of a dataset, and the facts that apply to all of them.

    Attributes:
        samples: All samples, in an order that does not depend on the disk.
        target: The target of the samples.
        group_kind: The kind of group ("patient", "slide", "source tile"); ``None`` if no sample has a group.
        site_kind: The kind of site ("hospital", "scanner"); ``None`` if no sample has a site.
        default_split: Split protocol if the user gives none: ``random``, ``grouped`` or ``official``.
        split_reason: The reason for this default, in one sentence.
        channels: Channels of every image; ``None`` if not known before the images are read.
        depth: Bits of every channel, 8 or 16; ``None`` if not known before the images are read.
        chosen: What the options chose of the dataset (``"400X"``), for titles; empty: nothing that a title must name.
    """

    samples: Sequence[Sample]
    target: Target
    group_kind: str | None = None
    site_kind: str | None = None
    default_split: str = "random"
    split_reason: str = "no groups and no official parts are known"
    channels: int | None = None
    depth: int | None = None
    chosen: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", tuple(self.samples))


@dataclass(frozen=True, kw_only=True)
class Understanding:
    """How a dataset understands a folder or a file of a user.

    Attributes:
        sure: From 0, not understood, to 1, certain. Of several datasets, the surest is used.
        folder: The data folder, for ``--data-dir``.
        options: Options of the dataset that differ from its defaults, as plain values.
        said: What was understood, in sentences.
        guesses: What may be wrong, in sentences; each names the option that corrects it.
    """

    sure: float
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    said: Sequence[str] = ()
    guesses: Sequence[str] = ()


class Dataset(ABC):
    """A set of labelled images in one folder.

    The core calls, in this order: :meth:`augmentation_for`, the constructor (cheap, touches no file), :meth:`index`,
    :meth:`read_reduced` once per sample (from several threads at once). ``medssl fetch`` calls :meth:`fetch`.

    Attributes:
        Config: A frozen, keyword-only dataclass of this dataset's options, every one with a default. If it has an
            option ``name``, this chooses one of several sets, and the titles of reports contain it.
        augmentation: Name of the augmentation recipe that suits the modality (``medssl list augmentations``).
        published: Whether the dataset has a folder of its own name below ``--data-dir``. ``False`` for datasets of the
            user's own files: then ``--data-dir`` is the data folder, whatever folders it contains.

    Args:
        config: The options.
        root: Folder with the files in their official layout; it need not exist before :meth:`fetch`.
        facts: The facts in the catalogue (``registry.yaml``, overridden by the user's own file) about this name:
            ``sources``, ``licence``, ``counts`` and so on. Empty for a dataset that is not in a catalogue.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    augmentation: ClassVar[str] = "natural"
    published: ClassVar[bool] = True

    @classmethod
    def augmentation_for(cls, config: Any) -> str:  # noqa: ARG003  (for datasets whose modality depends on options)
        """Return the augmentation's name for these options, :attr:`augmentation` unless overridden.

        This method is called before any file is read.
        """
        return cls.augmentation

    @classmethod
    def understand(cls, path: Path, given: Mapping[str, Any]) -> Understanding | None:  # noqa: ARG003
        """Say whether and how this dataset understands a path; ``None``, unless overridden: it does not.

        ``medssl show data`` and ``--data`` ask every installed dataset, so this must be quick for a path of another
        kind, and must not raise for it.

        Args:
            path: A folder or a file.
            given: Options that the user gives; they are not guessed.
        """
        return None

    def __init__(self, config: Any, root: Path, facts: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.root = Path(root)
        self.facts: Mapping[str, Any] = facts or {}

    _readers: Readers | None = None

    @property
    def readers(self) -> Readers:
        """The readers of image files: those that the recipe names, with their options, before all other installed ones.

        A dataset names no reader itself: the format of a file decides, and the user sets ``readers.NAME.OPTION``.
        """
        if self._readers is None:
            # by name, because the tools are a layer above the contracts
            self._readers = import_module("medssl.tools").installed_readers()
        return self._readers

    @readers.setter
    def readers(self, readers: Readers) -> None:
        self._readers = readers

    def fetch(self) -> None:
        """Download the files to ``root`` and verify them; do nothing if they exist.

        Raises:
            DataError: The files cannot be downloaded; the message says which file (name, size, checksum) to put where.
        """

    @abstractmethod
    def index(self) -> Listing:
        """List all samples with the target and other known facts; the dataset itself must not change.

        Raises:
            DataError: The folder is missing or has other content; the message says what was expected where.
        """

    @abstractmethod
    def read(self, sample: Sample) -> np.ndarray:
        """Decode one image: ``(H, W, C)``, uint8 or uint16. Must be safe to call from several threads."""

    def read_reduced(self, sample: Sample, short_side: int) -> np.ndarray:
        """Decode one image that will be reduced to this short side in pixels; same as :meth:`read` unless overridden.

        If the files can be decoded at a fraction of their size, as JPEG can, this saves half of the time or more for
        large images: ``return read_image(path, short_side)``. It must crop or change the image in the same way as
        :meth:`read`.

        Args:
            sample: Which image.
            short_side: The core reduces the short side of the returned image to this many pixels, if it has more.

        Returns:
            The result of :meth:`read`, or the same image with fewer pixels. Its short side must still have at least
            ``short_side`` pixels, if the original has that many.
        """
        return self.read(sample)

    def path(self, sample: Sample) -> Path | None:
        """Return the file of this image, or ``None`` if images do not have separate files.

        The key of the store depends on the contents of these files. If this is ``None``, see :meth:`fingerprint`.
        """
        return None

    def fingerprint(self) -> str | None:
        """Return a text that changes whenever any pixel changes, for datasets without a file per image.

        If this and :meth:`path` return ``None``, the store decodes all images again at each start.
        """
        return None
