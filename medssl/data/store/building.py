"""Writes a store in one pass over the images, then renames it.

Sizes, channels and depth are only known after decoding, and decoding twice would double the cost. So images are
appended in order, each in the smallest form that holds it. If there are several forms (some grey, some colour; some
with 16 bits), the file is copied once into the largest form. The file is written without a memory map: then a full disk
is an error that can be reported, and not a signal that kills the process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medssl.contracts import Dataset, Sample
from medssl.data.store.decoding import Decoded, Unreadable, decode_all
from medssl.data.store.header import FORMAT, write_store_header
from medssl.errors import CheckpointError, DataError
from medssl.io.files import clear_unfinished, keep_private, unfinished
from medssl.io.leases import holding, is_held, is_locked
from medssl.io.locks import BusyError

__all__ = ["build_store", "is_of", "store_name", "sweep"]

_LISTED = 20  # unreadable images listed in one message
_ABANDONED_SECONDS = 24 * 3600
_NOTES, _NOTED = "images.jsonl", 1024  # what is known of the images written so far; noted so many at a time


def store_name(content: str, reader: str, limit: int | str) -> str:
    """Return the name of a store's folder; with ``*`` as the limit it is a pattern for every limit."""
    return f"{content[:32]}-{reader[:8]}-{limit}"


def is_of(key: str, content: str) -> bool:
    """Whether a store's key belongs to this content, reduced or not."""
    return key.partition("-")[0] == content[:32]


def build_store(
    dataset: Dataset,
    samples: Sequence[Sample],
    stores: Path,
    *,
    content: str | None,
    reader: str,
    limit: int,
    skip: bool,
    progress: Callable[[int, int], None] | None,
) -> Path:
    """Decode the samples into a new store and return its folder.

    The store is written to a hidden folder and renamed when it is complete, so an interrupted build leaves no broken
    store. A build that was interrupted or killed less than a day ago goes on where it stopped, if ``content`` is known.
    If two processes build the same store, the later one replaces the equal files of the earlier one.

    Args:
        dataset: The dataset of the images.
        samples: What to store, in this order.
        stores: Folder of all stores.
        content: Checksum of everything that determines the pixels; ``None``: use the decoded pixels themselves.
        reader: Checksum of the code that reads the images.
        limit: Largest short side in pixels.
        skip: Whether to leave out images that cannot be read, instead of raising an error that lists them.
        progress: Called with (images done, N).
    """
    started = time.perf_counter()
    sweep(stores)
    with _workplace(stores, content and store_name(content, reader, limit)) as work:
        folder = work / "store"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        images = _left_in(work)
        with contextlib.closing(decode_all(dataset, samples[images.done :], limit)) as decoded:
            _write(work, images, samples, decoded, skip, progress)
        images.check_channels()
        images.unify(folder / "pixels")
        content = content or _digest(folder / "pixels", images)
        header = {
            "format": FORMAT,
            "key": f"{content[:32]}-{limit if images.reduced else 'native'}",
            "dataset": f"{type(dataset).__module__}.{type(dataset).__qualname__}",
            "ids": images.ids,
            "skipped": images.bad,
            "dtype": images.dtype.name,
            "channels": images.channels,
            "shapes": [shape[:2] for shape in images.shapes],
            "levels": images.levels,
            "limit": limit,
            "reduced": images.reduced,
            "seconds": time.perf_counter() - started,
        }
        write_store_header(folder, header)
        keep_private(folder / "pixels")
        target = stores / store_name(content, reader, limit)
        _publish(folder, target, work)
    for old in stores.glob(f"{content[:32]}-*"):  # the same images, read by an earlier version of the dataset's code
        if not old.name.startswith(store_name(content, reader, "")):
            shutil.rmtree(old, ignore_errors=True)
    return target


@contextlib.contextmanager
def _workplace(stores: Path, name: str | None) -> Iterator[Path]:
    """Hold a hidden folder, that of an interrupted build of this name if there is one; empty it after all else."""
    with contextlib.ExitStack() as stack:
        hidden = stores / f".building-{name}"
        try:
            if name is None:
                raise BusyError
            hidden.mkdir(mode=0o700, exist_ok=True)
            stack.enter_context(holding(hidden))
        except CheckpointError:  # another process builds the same store
            name, hidden = None, Path(tempfile.mkdtemp(prefix=".building-", dir=stores))
            stack.enter_context(holding(hidden))
        work, stopped = hidden / "work", False
        try:
            yield work
        except BaseException as error:
            stopped = name is not None and not isinstance(error, Exception)
            raise
        finally:
            if not (stopped and _can_go_on(hidden)):
                shutil.rmtree(work, ignore_errors=True)


def _can_go_on(hidden: Path) -> bool:
    notes = hidden / "work" / _NOTES
    return notes.exists() and notes.stat().st_size > 0


@dataclass
class _Images:
    """The images written so far: N ids, shapes ``(H, W, C)`` and types."""

    ids: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    dtypes: list[np.dtype] = field(default_factory=list)
    windows: list[tuple[float, float] | None] = field(default_factory=list)
    bad: list[Unreadable] = field(default_factory=list)
    reduced: bool = False

    @property
    def channels(self) -> int:
        return max(shape[2] for shape in self.shapes)

    @property
    def dtype(self) -> np.dtype:
        return max(self.dtypes, key=lambda dtype: dtype.itemsize)

    @property
    def levels(self) -> list[tuple[float, float]] | None:
        """Grey levels to show as black and white; an 8-bit image among 16-bit ones keeps its whole range."""
        if self.dtype == np.uint8:
            return None
        return [window or (0.0, 65535.0) for window in self.windows]

    @property
    def done(self) -> int:
        return len(self.ids) + len(self.bad)

    @property
    def nbytes(self) -> int:
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True))

    def add(self, note: Sequence[Any]) -> None:
        """Add an image by its id, shape, type, window and whether it was reduced; or by its id and why it is bad."""
        if len(note) == 2:
            self.bad.append(Unreadable(*note))
            return
        self.ids.append(note[0])
        self.shapes.append(tuple(note[1]))
        self.dtypes.append(np.dtype(note[2]))
        self.windows.append(note[3])
        self.reduced = self.reduced or note[4]

    def check_channels(self) -> None:
        """Refuse images with different numbers of channels; only grey ones can be repeated.

        Raises:
            DataError: There are some.
        """
        first = {shape[2]: name for shape, name in zip(reversed(self.shapes), reversed(self.ids), strict=True)}
        if len(several := sorted(count for count in first if count > 1)) > 1:
            examples = ", ".join(f"{count} in {first[count]}" for count in several)
            raise DataError(
                f"the images have different numbers of channels: {examples}. An encoder takes one number. Leave some "
                "of the images out, or convert them."
            )

    def unify(self, path: Path) -> None:
        """Convert all images to the same channels and type: grey repeated, 8 bits times 257 (255 becomes 65535)."""
        channels, dtype = self.channels, self.dtype
        if all(shape[2] == channels for shape in self.shapes) and all(each == dtype for each in self.dtypes):
            return
        narrow, offset = np.memmap(path, np.uint8, "r"), 0
        wide = path.with_name("wide")
        with wide.open("wb") as file:
            for shape, each in zip(self.shapes, self.dtypes, strict=True):
                size = int(np.prod(shape)) * each.itemsize
                pixels = narrow[offset : offset + size].view(each).reshape(shape)
                offset += size
                if each != dtype:
                    pixels = pixels.astype(dtype) * dtype.type(257)
                file.write(np.ascontiguousarray(np.broadcast_to(pixels, (*shape[:2], channels))).data)
        del narrow
        (path.parents[1] / _NOTES).unlink(missing_ok=True)  # they are wrong from now on
        wide.replace(path)


def _left_in(work: Path) -> _Images:
    """Return the images that an interrupted build wrote; none if its notes or its pixels are damaged."""
    images, pixels = _Images(), work / "store" / "pixels"
    try:
        for line in (work / _NOTES).read_text(encoding="utf-8").splitlines():
            images.add(json.loads(line))
        whole = pixels.stat().st_size >= images.nbytes
    except (OSError, ValueError, TypeError, LookupError):
        whole = False
    if not whole:
        images = _Images()
        (work / _NOTES).unlink(missing_ok=True)
    with pixels.open("ab") as file:
        file.truncate(images.nbytes)
    return images


def _write(
    work: Path,
    images: _Images,
    samples: Sequence[Sample],
    decoded: Iterable[Decoded | Unreadable],
    skip: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Append the images that are left; after the first unreadable image, only search for more of them."""
    left, waiting = samples[images.done :], list[str]()
    try:
        with (work / "store" / "pixels").open("ab") as file, (work / _NOTES).open("a", encoding="utf-8") as notes:
            for done, (sample, image) in enumerate(zip(left, decoded, strict=True), start=images.done + 1):
                kept = skip or not images.bad
                if isinstance(image, Unreadable):
                    note: list[Any] = [*image]
                else:
                    note = [sample.id, image.pixels.shape, image.pixels.dtype.name, image.window, image.reduced]
                    file.write(image.pixels.data if kept else b"")
                if kept or isinstance(image, Unreadable):
                    images.add(note)
                waiting += [json.dumps(note) + "\n"] * kept
                if len(waiting) >= _NOTED:
                    file.flush()
                    os.fsync(file.fileno())  # a note must never be on the disk before its pixels
                    notes.writelines(waiting)
                    notes.flush()
                    waiting.clear()
                if progress:
                    progress(done, len(samples))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_space(work.parents[1], images, len(samples)) from error
    if images.bad and (not skip or not images.ids):
        raise _unreadable(images.bad, len(samples))


def _no_space(stores: Path, images: _Images, total: int) -> DataError:
    needed = images.nbytes * total // max(1, len(images.ids))
    return DataError(
        f"there is no space left in the cache folder {stores}. About {needed:,} bytes are needed for the decoded "
        "images. Free some space, or choose another folder with the environment variable MEDSSL_CACHE."
    )


def _unreadable(bad: Sequence[Unreadable], total: int) -> DataError:
    lines = [f"  {one}" for one in bad[:_LISTED]]
    if len(bad) > _LISTED:
        lines.append(f"  and {len(bad) - _LISTED} more")
    listed = "\n".join(lines)
    return DataError(
        f"{len(bad)} of {total} images cannot be read.\n{listed}\n"
        "Replace these files, or leave them out with --on-bad-image skip."
    )


def _digest(path: Path, images: _Images) -> str:
    """Checksum of the decoded images, for datasets without another checksum."""
    facts = json.dumps([images.ids, images.shapes, [dtype.name for dtype in images.dtypes]])
    with path.open("rb") as file:
        return hashlib.sha256(facts.encode() + hashlib.file_digest(file, "sha256").digest()).hexdigest()


def _publish(folder: Path, target: Path, hidden: Path) -> None:
    """Rename a store; if the name exists (from another process, or a damaged store), move the existing one away."""
    for attempt in range(10):
        try:
            folder.rename(target)
        except OSError:
            if not target.exists() or attempt == 9:
                raise
            with contextlib.suppress(OSError):
                target.rename(hidden / f"old-{attempt}")
        else:
            return


def sweep(stores: Path) -> None:
    """Delete the remains of killed builds; a running build renews its lease, and so the time of its folder."""
    clear_unfinished(stores)
    for folder in stores.glob(".building-*"):
        with contextlib.suppress(OSError):
            old = _now(stores) - folder.stat().st_mtime > _ABANDONED_SECONDS  # on another machine, or without a lease
            made = (stores / folder.name.removeprefix(".building-")).exists()  # it was killed after its last step
            dead = made or (is_locked(folder) and not _can_go_on(folder))
            if old or (dead and not is_held(folder)):
                shutil.rmtree(folder, ignore_errors=True)


def _now(folder: Path) -> float:
    """Return the time by the clock that also sets the times of the folder's files; that of this machine may differ."""
    probe = unfinished(folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
