"""Keys of the images and groups that an encoder was trained on, stored in the encoder's file.

If an encoder is tested on its own training images, the result measures memory. Often only the encoder's file is kept
after training. So this file has the keys itself, in the entry ``seen`` of its safetensors header.

An image has two or three keys: a hash of its pixels in the store, a hash of its file's content if it has its own file
(16 bytes each), and a key of its appearance (:mod:`medssl.data.audit.looks`, 32 bytes). The file name is not used.
The key of a group is the hash of its name. Names of patients are few and can be guessed, so the hash is salted with
the images themselves: a precomputed table of hashed names does not work, and equal names in two datasets have
different hashes. A secret key of the user would hide the names better, but then the file would be useless on
another computer. So a person who has the file and guesses a group's name can still check the guess.

The name of a group is only valid within one collection of images: "P01" is another patient in another hospital. Two
datasets count as one collection if they share an image.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medssl.contracts import Dataset, Sample
from medssl.data.audit.looks import LENGTH, Keys, look_keys
from medssl.data.audit.perceptual import thumbnails
from medssl.data.store.contents import file_keys
from medssl.data.store.store import Store
from medssl.errors import CheckpointError
from medssl.io.files import read_header
from medssl.io.reading import parse_json

__all__ = ["Seen", "SeenImages", "content_keys", "file_key", "pixel_key", "read_seen"]

_FORMAT = 1
_SIZE = 16  # bytes of a hash: for 10^9 images, a collision has a probability of about 10^-20


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Images that an encoder was trained on, or that selected its best epoch.

    Attributes:
        part: ``train``: used for training; ``val``: used to select the best epoch.
        images: Number of images.
        contents: Keys of pixels and files.
        looks: ``(M, 32)``, keys of the appearance of images with details.
        groups: Keys of the names of groups, see :meth:`group_key`.
    """

    part: str
    images: int
    contents: frozenset[bytes]
    looks: Keys
    groups: frozenset[bytes] = field(default=frozenset())

    @classmethod
    def of(cls, part: str, dataset: Dataset, samples: Sequence[Sample], store: Store, cache: Path) -> SeenImages:
        """Compute the keys of samples of a store."""
        row_of = {name: row for row, name in enumerate(store.ids)}
        rows = [row_of[sample.id] for sample in samples]
        contents = frozenset().union(*content_keys(dataset, samples, store, cache).values())
        looks = look_keys(thumbnails(store, rows))
        looks = np.unique(looks[looks.any(axis=1)], axis=0)  # sorted, so that the order reveals nothing
        named = cls(part, len(samples), contents, looks)
        groups = frozenset(named.group_key(sample.group) for sample in samples if sample.group)
        return cls(part, len(samples), contents, looks, groups)

    def group_key(self, name: str) -> bytes:
        """Hash the name of a group, salted with these images."""
        return _hash(self._salt, name.encode(errors="surrogateescape"))

    @cached_property
    def _salt(self) -> bytes:
        return _hash(*sorted(self.contents))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        packed = {"contents": sorted(self.contents), "groups": sorted(self.groups), "looks": [self.looks.tobytes()]}
        words = {name: base64.b64encode(b"".join(keys)).decode("ascii") for name, keys in packed.items()}
        return {"part": self.part, "images": self.images, **words}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SeenImages:
        """Read the output of :meth:`to_dict`.

        Raises:
            ValueError, KeyError, TypeError: It is something else.
        """
        looks = np.frombuffer(base64.b64decode(values["looks"], validate=True), np.uint8).reshape(-1, LENGTH)
        contents, groups = (_cut(base64.b64decode(values[name], validate=True)) for name in ("contents", "groups"))
        return cls(str(values["part"]), int(values["images"]), contents, looks, groups)


@dataclass(frozen=True, eq=False)
class Seen:
    """All images that an encoder has seen.

    Attributes:
        stages: Its trainings, in order.
        known: ``False``: it started from weights without a record of their training images.
    """

    stages: tuple[SeenImages, ...] = ()
    known: bool = True

    def to_text(self) -> str:
        """Return it as the entry of a header."""
        stages = dict.fromkeys(json.dumps(stage.to_dict()) for stage in self.stages)  # lists one set once
        return json.dumps(
            {"format": _FORMAT, "known": self.known, "stages": [json.loads(stage) for stage in stages]},
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str) -> Seen:
        """Read the output of :meth:`to_text`.

        Raises:
            ValueError, KeyError, TypeError: It is something else.
        """
        values = parse_json(text)
        if values["format"] != _FORMAT:
            raise ValueError(f"format {values['format']}")
        return cls(tuple(map(SeenImages.from_dict, values["stages"])), values["known"] is True)


def read_seen(path: Path) -> Seen:
    """Read the record of training images from an encoder file; "unknown" for a file without it.

    Raises:
        CheckpointError: The keys are damaged, or from a later version.
    """
    text = read_header(path).get("seen")
    if text is None:
        return Seen(known=False)
    try:
        return Seen.from_text(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"the record of training images in {path} cannot be read ({type(error).__name__}: {error}). The file is "
            "damaged or from a later version of medssl. Use the original file from the run."
        ) from error


def content_keys(
    dataset: Dataset, samples: Iterable[Sample], store: Store, cache: Path
) -> dict[str, tuple[bytes, ...]]:
    """Return the keys of each sample's pixels and file, by sample id."""
    samples = list(samples)
    row_of = {name: row for row, name in enumerate(store.ids)}
    files = file_keys(dataset, samples, cache)
    found = {}
    for sample in samples:
        file = (file_key(files[sample.id]),) if sample.id in files else ()
        found[sample.id] = (pixel_key(store.image(row_of[sample.id])), *file)
    return found


def file_key(sha256: bytes) -> bytes:
    """Return the key of a file with this checksum."""
    return _hash(b"file", sha256)


def pixel_key(image: np.ndarray) -> bytes:
    """Hash an image ``(H, W, C)``; the hash does not depend on how channels and depth are stored.

    The other images of a store determine its channels and depth. So grey gives the same key in one channel or three,
    and 8 bits the same key in 16.
    """
    if image.shape[2] == 3 and (image == image[..., :1]).all():
        image = image[..., :1]
    if image.dtype == np.uint16 and not (image % 257).any():
        image = (image // 257).astype(np.uint8)
    return _hash(b"pixels", repr((image.shape, image.dtype.name)).encode(), np.ascontiguousarray(image).data)


def _hash(*parts: bytes | memoryview) -> bytes:
    """Hash parts, each preceded by its length, so that two different lists never give the same bytes."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") if isinstance(part, bytes) else part.nbytes.to_bytes(8, "little"))
        found.update(part)
    return found.digest()[:_SIZE]


def _cut(content: bytes) -> frozenset[bytes]:
    if len(content) % _SIZE:
        raise ValueError(f"{len(content)} bytes are not a whole number of keys")
    return frozenset(content[start : start + _SIZE] for start in range(0, len(content), _SIZE))
