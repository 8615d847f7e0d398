"""Compares the images that the encoder has seen with the validation and test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medssl.data.audit.overlap import Overlap, find_overlap
from medssl.data.audit.seen import Seen, SeenImages, read_seen
from medssl.data.loading import Data
from medssl.data.store.store import default_cache
from medssl.errors import DataError
from medssl.recipe import Recipe
from medssl.results.privacy import hidden_path
from medssl.results.sections import LEAK
from medssl.train.encoder.given import named_encoders

__all__ = ["Judged", "before", "hold_against", "seen_by"]

_Name = Literal["test", "val"]
_ADJECTIVES: Mapping[_Name, str] = {"test": "test", "val": "validation"}


@dataclass(frozen=True)
class Judged:
    """The outcome of the comparison, for the result.

    Attributes:
        values: The entry ``encoder_seen`` of the section ``data``; ``None``: the encoder starts from random weights.
        warnings: Warnings for the reader, the most serious first.
    """

    values: Mapping[str, Any] | None = None
    warnings: Sequence[str] = field(default=())


def seen_by(recipe: Recipe, data: Data) -> Seen:
    """Return the record of all images that the encoder has seen after the run, for its file."""
    earlier = before(recipe) or Seen()
    if not recipe.method.plugin.trains:
        return earlier
    stages = [_keys("train", data, data.pretrained_on)]
    if recipe.train.keep == "best":
        stages.append(_keys("val", data, data.part("val").ids))
    return Seen((*earlier.stages, *stages), earlier.known)


def hold_against(recipe: Recipe, data: Data) -> Judged:
    """Compare the images that the initial weights have seen with the validation and the test part.

    An image is not an error here if this run's own training part has a duplicate of it, or an image of its group. Then
    the split is the cause, independently of the encoder, and the warnings of the split say so.

    Raises:
        DataError: A test or a validation image was seen, and the recipe does not allow it.
    """
    seen = before(recipe)
    if seen is None:
        return Judged()
    names: tuple[_Name, ...] = ("val",) if recipe.evaluate.closed else ("test", "val")
    parts = {str(name): _Part.of(name, seen, data) for name in names}
    if not recipe.evaluate.allow_seen and any(part.blamed for part in parts.values()):
        found = "; ".join(part.sentence for part in parts.values() if part.blamed)
        raise DataError(
            f"{found}. Results on such images are too good. Use the split of the run that trained it "
            "with --split-of RUN, or other images, or give --allow-seen; the result then has a warning."
        )
    values = {
        "known": seen.known,
        "images": sum(stage.images for stage in seen.stages),
        "allowed": recipe.evaluate.allow_seen,
        **{name: part.counts for name, part in parts.items()},
    }
    return Judged(values, tuple(_warn(seen, recipe, list(parts.values()))))


def before(recipe: Recipe) -> Seen | None:
    """Return the record of the initial weights, and of encoders that the method learns from; ``None``: neither."""
    found = [read_seen(path) if isinstance(path, Path) else Seen(known=False) for path in _weights(recipe)]
    if not found:
        return None
    return Seen(tuple(stage for each in found for stage in each.stages), all(each.known for each in found))


def _weights(recipe: Recipe) -> list[Path | str]:
    """Return the files, or the names, of the weights that a run begins with."""
    own = recipe.encoder.config.adapter or recipe.initial_weights  # what adapters have seen includes their base
    given = [weights for _, weights, _ in named_encoders(recipe)]
    return [weights for weights in (own, *given) if weights is not None]


def _keys(part: str, data: Data, names: Sequence[str]) -> SeenImages:
    return SeenImages.of(part, data.dataset, data.samples(names), data.store, default_cache())


@dataclass(frozen=True)
class _Part:
    """One part of the split, and which of its images were seen.

    Attributes:
        name: ``test`` or ``val``.
        images: Number of images.
        kind: The kind of group, for instance patient.
        overlap: The images that were seen.
        blamed: Ids in the overlap that are not explained by the split itself.
    """

    name: _Name
    images: int
    kind: str
    overlap: Overlap
    blamed: frozenset[str]

    @classmethod
    def of(cls, name: _Name, seen: Seen, data: Data) -> _Part:
        judged = data.part(name).ids
        parts = ("train", "val") if name == "test" else ("train",)  # validation images may be reused
        samples = data.samples(data.store.ids)
        overlap = find_overlap(seen, data.dataset, samples, data.store, judged=frozenset(judged), parts=parts)
        by_split = data.audit.copies_of(name) | data.siblings_of(name)
        kind = data.listing.group_kind or "group"
        return cls(name, len(judged), kind, overlap, overlap.either - by_split)

    @property
    def counts(self) -> dict[str, int | None]:
        overlap = self.overlap
        near = None if overlap.near is None else len(overlap.near)
        return {
            "images": self.images,
            "equal": len(overlap.equal),
            "near": near,
            "group": len(overlap.group),
            "either": len(overlap.either),
            "by_split": len(overlap.either - self.blamed),
        }

    @property
    def sentence(self) -> str:
        equal, near, group = len(self.overlap.equal), len(self.overlap.near or ()), len(self.overlap.group)
        how = [f"{equal} used for training or to select it" if self.name == "test" else f"{equal} used for training"]
        how += [f"{near} nearly identical to such an image"] if near else []
        how += [f"{group} of the same {self.kind} as such an image"] if group else []
        count = len(self.overlap.either)
        verb = "is" if count == 1 else "are"
        return (
            f"{count} of {self.images} {_ADJECTIVES[self.name]} images {verb} known to the encoder from its training: "
            f"{', '.join(how if equal else how[1:])}"
        )


def _warn(seen: Seen, recipe: Recipe, parts: Sequence[_Part]) -> Iterator[str]:
    for part in parts:
        if part.blamed:
            yield f"{LEAK}{part.sentence} (--allow-seen)"
        elif part.overlap.either:
            yield f"{part.sentence}. The split has duplicates, or images of one {part.kind}, on both sides"
        if part.overlap.near is None:
            yield (
                f"{_ADJECTIVES[part.name]} images that are nearly identical to a training image of the encoder were "
                "not searched, because there are too many"
            )
        if part.overlap.named:
            yield (
                f"{len(part.overlap.named)} of {part.images} {_ADJECTIVES[part.name]} images belong to a {part.kind} "
                f"with the same name as one in the encoder's training, but no image is shared. Check that it "
                f"is another {part.kind}"
            )
    if not seen.known:
        named = [hidden_path(each) if isinstance(each, Path) else each for each in _weights(recipe)]
        what = " or ".join(named)
        yield (
            f"what the initial weights ({what}) have seen is not known: they have no record of their training "
            "images, and test images may have been among them"
        )
