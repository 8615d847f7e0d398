"""Checks of the contract of readers, on files that the reader does not know and on small pictures."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from medssl.conformance.running import Check, NotSeen, Subject, built, require
from medssl.contracts import Reader
from medssl.contracts.crossing.datasets import image_problems
from medssl.contracts.crossing.readers import suffixes_problems
from medssl.errors import DataError

__all__ = ["CHECKS"]

_SIZE = (12, 20)  # height and width of the pictures


def check_suffixes_are_in_lower_case(subject: Subject) -> None:
    """``suffixes`` is a set of texts such as ``.png``: in lower case, with the dot; it is not empty."""
    suffixes = getattr(subject.plugin, "suffixes", None)
    problems = suffixes_problems(suffixes)
    require(bool(suffixes) and not problems, "; ".join(problems) or "suffixes must not be empty")


def check_a_file_that_is_no_image_is_explained(subject: Subject) -> None:
    """A file without an image gives a DataError with the file's name; ``recognises`` refuses it."""
    reader: Reader = built(subject)
    with TemporaryDirectory() as folder:
        for content in (b"", b"no image at all\n" * 40):
            file = Path(folder) / f"wrong{min(reader.suffixes)}"
            file.write_bytes(content)
            require(not reader.recognises(file, content[:512]), "recognises() must refuse a text file, but accepted it")
            try:
                reader.read(file, 0, None)
            except DataError as error:
                require(file.name in str(error), f"the message must name the file, but is: {error}")
            else:
                require(False, "read() must raise a DataError for a file that is no image, but returned something")


def check_pictures_are_read(subject: Subject) -> None:
    """A picture is read as ``(H, W, C)`` uint8 or uint16; there is at least one frame, and the chosen ones exist."""
    reader: Reader = built(subject)
    with TemporaryDirectory() as folder:
        files = list(_pictures(reader, Path(folder)))
        if not files:
            raise NotSeen("the checks can write no file of this format")
        for file in files:
            count, chosen = reader.frames(file), list(reader.chosen(file))
            require(count >= 1, f"frames() must be at least 1, but is {count} for {file.name}")
            require(all(0 <= frame < count for frame in chosen), f"chosen() must be below {count}, but is {chosen}")
            image = reader.read(file, 0, None)
            problems = image_problems(image)
            require(not problems, f"read() of {file.name}: {'; '.join(problems)}")
            require(image.shape[:2] == _SIZE, f"read() must keep the size {_SIZE}, but returned {_seen(image)}")
            small = reader.read(file, 0, 6)
            text = f"read() with a short side must keep channels and type, but returned {_seen(small)}"
            require(small.shape[2] == image.shape[2] and small.dtype == image.dtype, text)
            require(min(small.shape[:2]) >= 6, f"the short side must have at least the given pixels: {_seen(small)}")


def _pictures(reader: Reader, folder: Path) -> list[Path]:
    """Write a grey and a colour picture in each format of this reader that Pillow can write."""
    rng, written = np.random.default_rng(0), []
    known = Image.registered_extensions()
    for suffix in sorted(reader.suffixes & known.keys()):
        for shape in (_SIZE, (*_SIZE, 3)):
            file = folder / f"picture{len(shape)}{suffix}"
            try:
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(file)
            except (OSError, ValueError, KeyError):  # Pillow reads this format only, or not in this mode
                continue
            written.append(file)
    return written


def _seen(image: object) -> str:
    return f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"


CHECKS: tuple[Check, ...] = (
    check_suffixes_are_in_lower_case,
    check_a_file_that_is_no_image_is_explained,
    check_pictures_are_read,
)
