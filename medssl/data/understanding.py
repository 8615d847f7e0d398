"""Asks every installed dataset how it understands a folder or a table, and describes the images in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from os.path import splitext
from pathlib import Path
from typing import Any

import numpy as np

from medssl.catalog import Catalog
from medssl.contracts import Dataset, Listing, Sample, Understanding
from medssl.contracts.kinds import DATASET
from medssl.data.split.protocols import PARTS, Words, leaving_out, small_strata
from medssl.discovery import discover, load_plugin
from medssl.errors import DataError, MedsslError, OptionError, counted, shorten

__all__ = ["describe_images", "understand"]

_LOOKED_AT = 24  # images that are decoded for their size, spread over the dataset


def understand(
    path: Path, catalog: Catalog, given: Mapping[str, Any], name: str | None = None
) -> tuple[str, Understanding]:
    """Return the dataset that understands a path best, with how it understands it.

    Args:
        path: A folder or a file.
        catalog: Of plugins.
        given: Options of the dataset that the user gives.
        name: The dataset; ``None``: any.

    Raises:
        OptionError: Nothing is there.
        DataError: No dataset understands it.
    """
    if not path.exists():
        raise OptionError(f"{path} does not exist. Give a folder of images, or a table that lists them.")
    found: list[tuple[str, Understanding]] = []
    packages = catalog.packages(DATASET.name)
    for plugin in discover(DATASET.name):
        if name not in (None, plugin.name, f"{plugin.distribution}:{plugin.name}"):
            continue
        try:
            _, loaded = load_plugin(DATASET.name, f"{plugin.distribution}:{plugin.name}", packages)
        except MedsslError:
            continue
        understanding = loaded.understand(path, given)
        if understanding is not None:
            found.append((name or plugin.name, understanding))
    if not found:
        raise DataError(
            f"{path} is not understood as a set of images{f' by {name}' if name else ''}: it {_held(path)}. Give a "
            "folder of images, or a table with a column of image files. `medssl list datasets` shows what can be read."
        )
    return max(found, key=lambda each: each[1].sure)


def _held(path: Path) -> str:
    if path.is_file():
        return f"is a file {path.suffix or 'without a suffix'}, and no column of it names images that are there"
    kinds = Counter(each.suffix.lower() or "no suffix" for each in path.rglob("*") if each.is_file())
    return f"holds {shorten([f'{count} {kind}' for kind, count in kinds.most_common()])}" if kinds else "is empty"


def describe_images(dataset: Dataset, listing: Listing) -> dict[str, Any]:
    """Describe the images of a listing as plain values, for the card of ``medssl show data``.

    Sizes, depth and channels are those of up to 24 images, spread over the dataset.
    """
    samples, target = listing.samples, listing.target
    labelled = [sample.y for sample in samples if sample.y is not None]
    counts = target.strata(labelled).sum(axis=0).tolist() if labelled else [0] * len(target.strata_names)
    groups = Counter(sample.group for sample in samples if sample.group)
    return {
        "images": len(samples),
        "files": dict(_kinds_of_files(dataset, samples).most_common()),
        "target": target.to_dict(),
        "stratum": target.stratum,
        "counts": dict(zip(target.strata_names, counts, strict=True)),
        "without_label": len(samples) - len(labelled),
        "parts": dict(Counter(sample.part or "no part" for sample in samples)),
        "groups": {"kind": listing.group_kind, "count": len(groups), "largest": max(groups.values())}
        if groups
        else None,
        "images_without_group": sum(sample.group is None for sample in samples),
        "sites": dict(Counter(sample.site for sample in samples if sample.site).most_common()),
        "facts": sorted({name for sample in samples for name in sample.facts}),
        "split": listing.default_split,
        "split_reason": listing.split_reason,
        "too_few": _too_few(listing, counts, max(groups.values(), default=1)),
        "looked_at": _look(dataset, samples),
    }


def _too_few(listing: Listing, counts: Sequence[int], largest: int) -> str | None:
    """Say which strata cannot be in all parts of the default split, and the option that leaves them out.

    Args:
        listing: The images.
        counts: Images of each stratum.
        largest: Images of the largest group; a stratum with more images than so many groups can have is not counted.
    """
    grouped, words = listing.default_split == "grouped", Words(listing.group_kind or "group", listing.target)
    least = len(PARTS)
    rare = {name for name, images in zip(listing.target.strata_names, counts, strict=True) if images < least * largest}
    if not rare or listing.default_split == "official":
        return None
    few = small_strata([sample for sample in listing.samples if sample.y is not None], least, words, grouped=grouped)
    unit = words.group_kind if grouped else "image"
    found = [f"{words.of(stratum)} has {counted(units, unit)}" for stratum, units in few.items()]
    return (
        f"{shorten(found)}. The three parts of a split need one each, so a run needs more images, or "
        f"{leaving_out(few, words)}, which leaves the {words.target.stratum} out"
        if found
        else None
    )


def _kinds_of_files(dataset: Dataset, samples: Sequence[Sample]) -> Counter[str]:
    """Count files by suffix; where an id ends like its file, the next ones with this ending are not looked up."""
    found: Counter[str] = Counter()
    known: set[str] = set()
    for sample in samples:
        suffix = sample.id[sample.id.rfind(".") :]
        if suffix not in known or "/." in sample.id:
            suffix = splitext(sample.id.partition("#")[0])[1].lower()  # noqa: PTH122  (for many files)
        if suffix not in known:
            if (path := dataset.path(sample)) is None:
                continue
            known |= {suffix} & {path.suffix.lower()} - {""}
            suffix = path.suffix.lower()
        found[suffix or "no suffix"] += 1
    return found


def _look(dataset: Dataset, samples: Sequence[Sample]) -> dict[str, Any]:
    """Decode some images and describe their size, depth and channels."""
    step = max(1, len(samples) // _LOOKED_AT)
    shapes, unreadable = [], []
    kinds: Counter[str] = Counter()
    for sample in samples[::step][:_LOOKED_AT]:
        try:
            image = dataset.read(sample)
        except DataError as error:
            unreadable.append(str(error))
            continue
        shapes.append(image.shape[:2])
        kinds[f"{image.dtype.itemsize * 8} bits, {counted(image.shape[2], 'channel')}"] += 1
    looked = len(shapes) + len(unreadable)
    sides = np.array(shapes, dtype=np.int64).reshape(-1, 2)
    return {
        "images": len(shapes),
        "height": [int(sides[:, 0].min()), int(sides[:, 0].max())] if shapes else None,
        "width": [int(sides[:, 1].min()), int(sides[:, 1].max())] if shapes else None,
        "kinds": dict(kinds),
        "unreadable": unreadable and [f"{len(unreadable)} of {looked} images cannot be read: {unreadable[0]}"],
    }
