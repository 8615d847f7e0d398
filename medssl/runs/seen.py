"""What the encoder has seen, held against the images that it is about to be judged on."""

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

__all__ = ["Judged", "hold_against", "seen_by"]

_Name = Literal["test", "val"]
_ADJECTIVES: Mapping[_Name, str] = {"test": "test", "val": "validation"}


@dataclass(frozen=True)
class Judged:
    """What came of the comparison, for the result.

    Attributes:
        values: The entry ``encoder_seen`` of the section ``data``; ``None``: the encoder starts from random weights.
        warnings: What the reader must know, the gravest first.
    """

    values: Mapping[str, Any] | None = None
    warnings: Sequence[str] = field(default=())


def seen_by(recipe: Recipe, data: Data) -> Seen:
    """Gather what the encoder of a run has seen at its end, for its file."""
    before = _before(recipe) or Seen()
    if not recipe.method.plugin.trains:
        return before
    stages = [_keys("train", data, data.pretrained_on)]
    if recipe.train.keep == "best":
        stages.append(_keys("val", data, data.part("val").ids))
    return Seen((*before.stages, *stages), before.known)


def hold_against(recipe: Recipe, data: Data) -> Judged:
    """Hold what the weights to start from have seen against the validation and the test part.

    An image that this run's own training part holds a copy or a sibling of is no error here: the split is to blame,
    whatever the encoder, and the split's own warnings say so.

    Raises:
        DataError: A test or a validation image was seen, and the recipe does not allow it.
    """
    seen = _before(recipe)
    if seen is None:
        return Judged()
    names: tuple[_Name, ...] = ("test", "val")
    parts = {str(name): _Part.of(name, seen, data) for name in names}
    if not recipe.evaluate.allow_seen and any(part.blamed for part in parts.values()):
        found = "; ".join(part.sentence for part in parts.values() if part.blamed)
        raise DataError(
            f"{found}. Such an image measures what the encoder remembers. Take the split of the run that trained it "
            "with --split-of RUN, or other images, or give --allow-seen; the result then says so."
        )
    values = {
        "known": seen.known,
        "images": sum(stage.images for stage in seen.stages),
        "allowed": recipe.evaluate.allow_seen,
        **{name: part.counts for name, part in parts.items()},
    }
    return Judged(values, tuple(_warn(seen, recipe, list(parts.values()))))


def _before(recipe: Recipe) -> Seen | None:
    """Read what the weights to start from have seen; ``None``: they are random."""
    weights = recipe.encoder.weights
    if weights is None:
        return None
    return read_seen(weights) if isinstance(weights, Path) else Seen(known=False)


def _keys(part: str, data: Data, names: Sequence[str]) -> SeenImages:
    return SeenImages.of(part, data.dataset, data.samples(names), data.store, default_cache())


@dataclass(frozen=True)
class _Part:
    """One part of the split, and what of it was seen.

    Attributes:
        name: ``test`` or ``val``.
        images: How many it has.
        kind: What a group is.
        overlap: What was seen.
        blamed: Ids among it that the split itself does not put on both sides.
    """

    name: _Name
    images: int
    kind: str
    overlap: Overlap
    blamed: frozenset[str]

    @classmethod
    def of(cls, name: _Name, seen: Seen, data: Data) -> _Part:
        judged = data.part(name).ids
        parts = ("train", "val") if name == "test" else ("train",)  # what chose the encoder may choose again
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
        how = [
            f"{equal} that it was trained on or chosen by" if self.name == "test" else f"{equal} that it was trained on"
        ]
        how += [f"{near} nearly the same as such an image"] if near else []
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
            yield f"leak: {part.sentence} (--allow-seen)"
        elif part.overlap.either:
            yield f"{part.sentence}. The split puts copies or one {part.kind}'s images on both sides"
        if part.overlap.near is None:
            yield (
                f"{_ADJECTIVES[part.name]} images that are nearly the same as one that the encoder was trained on were "
                "not looked for, because there are too many"
            )
        if part.overlap.named:
            yield (
                f"{len(part.overlap.named)} of {part.images} {_ADJECTIVES[part.name]} images belong to a {part.kind} "
                f"with the name of one that the encoder was trained on, though no image is shared. Make sure that it "
                f"is another {part.kind}"
            )
    if not seen.known:
        weights = recipe.encoder.weights
        what = weights.name if isinstance(weights, Path) else f"timm's {recipe.encoder.backbone}"
        yield (
            f"what the weights to start from ({what}) have seen is not known: they carry no record of their training "
            "images, and test images may have been among them"
        )
