"""Words that people write into tables and folder names: missing values, parts of a split, one class in several ways."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from medssl.contracts import Part

__all__ = [
    "MASK_WORDS",
    "MISSING",
    "fold_of",
    "folded",
    "is_missing",
    "mask_base",
    "missing_in",
    "named_by",
    "number",
    "one_spelling",
    "part_of",
]

#: What spreadsheets, pandas, R and people write for a missing value, in lower case.
MISSING = frozenset(
    {
        *(
            "",
            "nan",
            "na",
            "n/a",
            "n.a.",
            "#n/a",
            "#na",
            "<na>",
            "<nan>",
            "-nan",
            "nat",
            "none",
            "null",
            "nil",
            "(null)",
        ),
        *("#null!", "#value!", "#ref!", "?", "-", "--", "---", "\u2013", "\u2014", ".", "missing", "unknown"),
        *("not available", "not applicable", "(blank)", "blank", "empty"),
    }
)

_PARTS: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "trains"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "tuning"), "val"),
    **dict.fromkeys(("test", "testing", "tests", "tst", "holdout"), "test"),
}
_GENERIC = frozenset(
    {"set", "sets", "data", "dataset", "images", "image", "imgs", "img", "part", "split", "subset", "cases"}
)
_ENDINGS = ("dataset", "set", "data", "images", "imgs", "img")
_FOLD = re.compile(r"(?:cv|k)?[ _-]?(?:fold|split|partition)s?[ _-]?\d+|\d+[ _-]?fold", re.IGNORECASE)

#: Names, in lower case, of folders that hold masks instead of images.
MASK_WORDS = frozenset(
    {
        *("mask", "masks", "label", "labels", "annotation", "annotations", "groundtruth", "groundtruths", "gt", "seg"),
        *("segmentation", "segmentations", "segs", "roi", "rois", "overlay", "overlays", "contours", "bboxes"),
    }
)
_MASK = re.compile(
    r"^(.+?)[ ._-]*(?:masks?|segs?|segmentations?|ground[ _-]?truth|gt|labels?|annotations?)(?:[ _-]*\(?\d+\)?)?$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?\d+(?:\.0*)?")


def is_missing(text: str) -> bool:
    """Whether a text stands for a missing value."""
    return text.strip().lower() in MISSING


def missing_in(texts: Collection[str]) -> set[str]:
    """Return the different ones of some texts that stand for a missing value."""
    if MISSING.isdisjoint(map(str.lower, map(str.strip, texts))):  # a tenth of the time, for a million
        return set()
    return set(filter(is_missing, set(texts)))


def part_of(text: str) -> Part | None:
    """Return the part that a word or a folder's name means (``TRAIN``, ``training_set``, ``valid``), or ``None``."""
    words = [word for word in re.split(r"[^a-z]+", text.lower()) if word]
    stems = [_without_ending(word) for word in words if word not in _GENERIC]
    if "trainval" in stems or {"train", "val"} == set(stems):  # the validation part is drawn from it
        return "train"
    found = {_PARTS.get(stem) for stem in stems}
    return found.pop() if len(found) == 1 else None


def _without_ending(word: str) -> str:
    for ending in _ENDINGS:
        if (stem := word.removesuffix(ending)) in _PARTS:
            return stem
    return word


def fold_of(name: str) -> bool:
    """Whether the name of a folder is that of a fold (``fold1``, ``Fold 2``, ``split_3``)."""
    return _FOLD.fullmatch(name.strip()) is not None


def mask_base(stem: str) -> str | None:
    """Return the name of the image to which a file of this name is the mask (``12_mask``: ``12``), or ``None``."""
    match = _MASK.match(stem)
    return match[1] if match else None


_IDENTIFIED = frozenset({"patient", "subject", "person", "case", "study", "slide", "hospital", "site", "scanner"})
_IDENTIFIER = re.compile(r"(.*?)([ -]*)(?:ids?|no|nr|numbers?|codes?)", re.IGNORECASE)


def named_by(column: str, otherwise: str) -> str:
    """Name what the identifiers of a column stand for: ``patient`` for ``Patient ID``, ``patient_id`` or ``patientid``.

    Args:
        column: Name of the column.
        otherwise: What a column is called whose name says nothing else: ``ID``.
    """
    words = " ".join(column.replace("_", " ").split())
    if (found := _IDENTIFIER.fullmatch(words)) and (found[2] or found[1].lower() in {"", *_IDENTIFIED}):
        words = found[1]
    return (words.lower() if words.istitle() else words) or otherwise


def number(text: str) -> str | None:
    """Return a whole number in its shortest form (``1.0`` and ``01`` are ``1``); ``None`` for other texts."""
    text = text.strip()
    return str(int(text.partition(".")[0])) if _NUMBER.fullmatch(text) else None


def folded(text: str) -> str:
    """Return a text that is equal for two spellings of one name: letter case, spaces and number format are removed."""
    whole = number(text)
    return " ".join(re.split(r"[\s_]+", text.strip().casefold())) if whole is None else whole


def one_spelling(texts: Iterable[str], kept: Sequence[str] = ()) -> tuple[dict[str, str], list[str]]:
    """Choose one spelling of each name.

    Args:
        texts: Names, each as often as it occurs. The most frequent spelling of a name is chosen.
        kept: Names that stay as they are, and take up other spellings of themselves.

    Returns:
        The chosen spelling by text, and a description of each name that had several spellings.
    """
    counts = Counter(texts)
    spellings: dict[str, list[str]] = defaultdict(list)
    for text in sorted(counts, key=lambda text: (-counts[text], len(text), text)):
        spellings[folded(text)].append(text)
    given = {folded(name): name for name in reversed(kept)}
    chosen: dict[str, str] = {}
    several = []
    for fold, ways in spellings.items():
        name = given.get(fold) or _shown(ways[0])
        chosen |= dict.fromkeys(ways, name)
        chosen |= {way: way for way in ways if way in kept}
        written = sorted({way for way in ways if chosen[way] != way and _shown(way) != chosen[way]})
        if written:
            several.append(f"'{name}' (also written {', '.join(map(repr, written[:3]))})")
    return chosen, several


def _shown(text: str) -> str:
    """Write ``1.0`` as ``1``: pandas writes whole numbers like this if a cell of the column is empty."""
    return (number(text) or text) if "." in text else text
