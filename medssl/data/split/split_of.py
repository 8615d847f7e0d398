"""Reuse of the split of an earlier run: its images keep their parts, and new images are assigned.

If patients were added and a grouped split is drawn again, the test part contains training images of the earlier run. So
known images keep their parts, and only new images are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medssl.contracts import Dataset, Listing, Sample
from medssl.data.audit.seen import Seen, file_key, read_seen
from medssl.data.split.protocols import PARTS, Words, assign, rest_shares
from medssl.data.split.splits import Drawn, Split, load_split, write_down
from medssl.data.store.contents import file_keys
from medssl.errors import DataError, counted

__all__ = ["continue_split"]

_WHOLE = ("grouped", "grouped-kfold", "loso", "site")  # protocols that keep groups together


def continue_split(dataset: Dataset, listing: Listing, run: Path, cache: Path) -> Split:
    """Split samples in the same way as an earlier run.

    An image with an id of the earlier run keeps its part. A renamed file that the run's encoder was trained on is a
    training image. If the protocol keeps groups together, a new image follows its group: it goes to the training part
    if any image of the group is there, or if the encoder was trained on a group of that name. The remaining images are
    drawn by the protocol of the run, with its fractions and its seed. Under ``official``, the official part is used.
    Under ``loso`` and ``site``, the test part remains the same group or site.

    Args:
        dataset: The dataset, to compare its files.
        listing: Its listing.
        run: Folder of the run, or its ``splits.json``.
        cache: Folder that caches the checksums of files.

    Raises:
        DataError: The split does not exist, a class has no training image, or no test image is left.
    """
    samples = listing.samples
    words = Words(listing.group_kind or "group", listing.target)
    folder = run if run.is_dir() else run.parent
    old = load_split(run / "splits.json" if run.is_dir() else run)
    labelled = sorted((sample for sample in samples if sample.y is not None), key=lambda sample: sample.id)
    part_of = {name: part for part in PARTS for name in getattr(old, part)}
    placed = {sample.id: part_of[sample.id] for sample in labelled if sample.id in part_of}
    known = len(placed)
    new = [sample for sample in samples if sample.id not in part_of]
    seen = read_seen(folder / "encoder.safetensors") if new else Seen()
    trained_on = _trained_on(seen, dataset, new, cache)
    if not known:  # the images lie in another folder now, for instance in that of a table
        moved = {s.id: part for s in labelled if s.id not in trained_on and (part := _held_out(s.id, part_of))}
        part_of, placed, known = {**part_of, **moved}, moved, len(moved)
    home = _homes(seen, samples, {**part_of, **dict.fromkeys(trained_on, "train")}, bool(known or trained_on))
    whole = old.protocol in _WHOLE or (old.protocol == "official" and bool(home))
    for sample in labelled:
        if sample.id in placed:
            continue
        if sample.id in trained_on:
            placed[sample.id] = "train"
        elif whole and sample.group in home:
            placed[sample.id] = home[sample.group]
        elif old.protocol == "official" and sample.part:
            placed[sample.id] = sample.part
        elif old.left_out is not None and sample.site == old.left_out:
            placed[sample.id] = "test"
    placed |= _draw([sample for sample in labelled if sample.id not in placed], old, words, whole=whole)
    if "test" not in placed.values():
        raise DataError(
            f"this dataset has no test image of the split {run}. The split belongs to other images. Give a run on this "
            "dataset with --split-of, or leave the option out."
        )
    notes = []
    if added := len(placed) - known:
        notes.append(
            f"new since the split of {folder.name} was made: {counted(added, 'labelled image')}; the others keep their "
            "parts"
        )
    drawn = Drawn(old.protocol, old.seed, old.fractions, old.fold, old.folds, old.left_out)
    return write_down(samples, placed, drawn, words, notes)


def _trained_on(seen: Seen, dataset: Dataset, new: Sequence[Sample], cache: Path) -> set[str]:
    """Return the new samples whose files were in the encoder's training under other names."""
    contents = frozenset().union(*(stage.contents for stage in seen.stages))
    return {name for name, sha256 in file_keys(dataset, new, cache).items() if file_key(sha256) in contents}


def _held_out(name: str, part_of: Mapping[str, str]) -> str | None:
    """Return the part of an image that was held out below another folder: ``images/1.png`` may have been ``1.png``."""
    folders = name.split("/")
    tails = ["/".join(folders[at:]) for at in range(1, len(folders))]
    longer = [other for other in part_of if other.endswith(f"/{name}")] if not tails else []
    parts = {part_of[tail] for tail in [*tails, *longer] if tail in part_of}
    return parts.pop() if len(parts) == 1 and parts <= {"val", "test"} else None


def _homes(seen: Seen, samples: Sequence[Sample], part_of: Mapping[str, str], related: bool) -> dict[str, str]:
    """Return the part of each group; training has priority over validation, and validation over test."""
    home: dict[str, str] = {}
    for sample in samples:
        part = part_of.get(sample.id)
        if sample.group and part and PARTS.index(part) <= PARTS.index(home.get(sample.group, "test")):
            home[sample.group] = part
    if related:  # equal names mean equal groups only within one collection of images
        names = {sample.group for sample in samples if sample.group}
        known = {name for name in names if any(stage.group_key(name) in stage.groups for stage in seen.stages)}
        home |= dict.fromkeys(known, "train")
    return home


def _draw(samples: Sequence[Sample], old: Split, words: Words, *, whole: bool) -> dict[str, str]:
    if not samples:
        return {}
    shares = rest_shares(old.fractions) if old.protocol in ("loso", "site") else old.fractions
    return {name: PARTS[part] for name, part in assign(samples, shares, old.seed, words, grouped=whole).items()}
