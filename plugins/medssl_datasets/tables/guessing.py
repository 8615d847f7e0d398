"""Guesses what the columns of a table mean; every guess names the option that corrects it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.contracts import Understanding
from medssl.errors import DataError, counted, shorten
from medssl.tools import installed_readers
from medssl_datasets.folders.tree import suffix_of
from medssl_datasets.shared.choosing import part_of_list
from medssl_datasets.shared.words import is_missing, missing_in, number, part_of
from medssl_datasets.tables.files import Finder
from medssl_datasets.tables.joining import SPLITS, names_patients
from medssl_datasets.tables.reading import Table, read_table
from medssl_datasets.tables.rows import tables_in

__all__ = ["understand_table"]

_SOME = 200  # rows that are looked at to tell whether a column holds images
_FEW = 60  # different labels of a column of classes; more numbers are a quantity
_LABELS = (
    *("label", "labels", "class", "target", "diagnosis", "dx", "finding", "findings", "findinglabels", "findinglabel"),
    *(
        "pathology",
        "category",
        "grade",
        "kl",
        "klgrade",
        "level",
        "severity",
        "stage",
        "disease",
        "type",
        "birads",
        "y",
    ),
    *("outcome", "result", "contrast", "classname", "annotation"),
)
_ORDERED = ("grade", "kl", "klgrade", "level", "severity", "stage", "birads")
_SITES = frozenset({"hospital", "site", "institution", "center", "centre", "scanner", "clinic", "manufacturer"})
_PEOPLE = frozenset({"sex", "gender", "patientsex", "patientgender"})
_BINARY = frozenset({"0", "1", "0.0", "1.0", "-1", "-1.0", "true", "false", "yes", "no"})


@dataclass
class _Guess:
    """Options in the making, with what to say about them."""

    given: Mapping[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    guesses: list[str] = field(default_factory=list)

    def add(self, option: str, value: Any, default: Any, text: str) -> None:
        """Add an option that the user does not give, and say why."""
        if option not in self.given:
            if value != default:
                self.options[option] = value
            self.guesses.append(f"{text} (dataset.{option})")


def understand_table(path: Path, given: Mapping[str, Any]) -> Understanding | None:
    """Guess the columns of a table; for a folder, of its table that lists most images.

    Returns:
        ``None`` if the path is no table, or no column of it names images.
    """
    if path.is_file():
        found = [_understand(path, path.parent, given)]
    else:
        named = [path / str(given["file"])] if given.get("file") else tables_in(path)
        found = [_understand(file, path, given) for file in named]
    good = sorted((each for each in found if each is not None), key=lambda each: -each.sure)
    if not good:
        return None
    best = good[0]
    others = sorted(str(each.options["file"]) for each in good[1:])
    more = [f"{shorten(others)} also list images and are not used (dataset.file)"] if others else []
    return Understanding(
        sure=min(0.95, best.sure + 0.1 * path.is_file()),
        folder=best.folder,
        options=best.options,
        said=best.said,
        guesses=[*best.guesses, *more],
    )


def _understand(file: Path, folder: Path, given: Mapping[str, Any]) -> Understanding | None:
    try:
        table = read_table(file, given.get("sheet"), keep=True)
    except DataError:
        return None
    guess = _Guess(given)
    finder = Finder(folder, file.parent, str(given.get("path_prefix", "")), installed_readers().is_image)
    matched = _guess_paths(guess, table, finder)
    guess.options["file"] = file.name if file.parent == folder else str(file)
    if matched is None:
        return _unmatched(guess, table, folder)
    columns, share = matched
    guess.said.append(
        f"{file.name} is a table of {counted(len(table.rows), 'row')} and {counted(len(table.header), 'column')}"
    )
    used = set(columns)
    _guess_group(guess, table, used)
    _guess_lists(guess, folder)
    labelled = _guess_label(guess, table, used)
    listed = len(table.rows) * len(columns)
    sure = (0.75 if labelled else 0.4) * share + 0.1 * min(1.0, listed / max(1, len(finder.tree.images)))
    return Understanding(
        sure=sure, folder=folder.resolve(), options=guess.options, said=guess.said, guesses=guess.guesses
    )


def _unmatched(guess: _Guess, table: Table, folder: Path) -> Understanding | None:
    """Understand a table that names image files of which none is there: reading it says what was tried."""
    suffixes = installed_readers().suffixes
    for column in table.header:
        cells = [cell for cell in _cells(table, column) if not is_missing(cell)]
        if cells and all(suffix_of(cell) in suffixes for cell in cells[:_SOME]):
            guess.add("path_column", column, "path", f"the images are in the column '{column}'")
            return Understanding(sure=0.4, folder=folder.resolve(), options=guess.options, guesses=guess.guesses)
    return None


def _guess_paths(guess: _Guess, table: Table, finder: Finder) -> tuple[list[str], float] | None:
    """Find the column of the images, or the columns if each has other images."""
    given = guess.given.get("path_columns") or [guess.given.get("path_column")]
    if given != [None]:
        return [str(column) for column in given], 1.0
    step = max(1, len(table.rows) // _SOME)
    seen = {column: texts for column in table.header if (texts := _image_like(_cells(table, column)[::step]))}
    shares: dict[str, float] = {}
    images: dict[str, set[str]] = {}
    there = {column: finder.find(texts, search=False).paths for column, texts in seen.items()}
    if not any(all(paths) for paths in there.values()):  # else the table says where its images are
        there = {column: finder.find(texts).paths for column, texts in seen.items()}
    for column, paths in there.items():
        found = [path for path in paths if path is not None]
        if found:
            shares[column], images[column] = len(found) / len(paths), set(found)
    if not shares:
        return None
    best = max(shares, key=lambda column: (round(shares[column], 2), len(images[column])))
    several = [c for c in shares if shares[c] >= shares[best] - 0.1 and (c == best or not images[c] & images[best])]
    if len(several) > 1:
        guess.add("path_columns", several, [], f"the images are in the columns {shorten(several)}, several in a row")
    else:
        several = [best]
        guess.add("path_column", best, "path", f"the images are in the column '{best}'")
    finder.list_files()
    cells = [cell for column in several for cell in _cells(table, column)]
    missing = missing_in(cells)
    every = finder.find([cell for cell in cells if cell not in missing] if missing else cells)
    lost = sum(path is None for path in every.paths)
    if lost:
        guess.add("absent", "skip", "fail", f"{lost} of {len(every.paths)} rows match no image and are left out")
    return several, 1 - lost / len(every.paths)


def _image_like(cells: Sequence[str]) -> list[str]:
    """Return the cells of a column that may name images; none if they are zeros and ones, or mostly equal."""
    texts = [cell for cell in cells if not is_missing(cell)]
    alike = all(cell.lower() in _BINARY for cell in texts) or len(set(texts)) * 2 < len(texts)
    return [] if alike else texts


def _cells(table: Table, column: str) -> list[str]:
    return table.at(table.header.index(column))


def _plain(column: str) -> str:
    return "".join(letter for letter in column.lower() if letter.isalnum())


def _guess_group(guess: _Guess, table: Table, used: set[str]) -> None:
    """Find the columns of patients, parts, sites and sex."""
    sex = []
    for column in table.header:
        if column in used:
            continue
        cells = _cells(table, column)
        values = set(cells) - missing_in(cells)
        plain = _plain(column)
        if not len(values) > 1:
            continue
        if (
            (names_patients(column) or plain in ("group", "id"))
            and len(values) < len(cells)
            and "group" not in guess.options
        ):
            if not guess.options.get("group_column") and "group_pattern" not in guess.given:
                guess.add("group_column", column, "group", f"the patients (or slides) are in the column '{column}'")
                used.add(column)
        elif plain in SPLITS and all(map(part_of, values)) and "part_lists" not in guess.given:
            guess.add("part_column", column, "part", f"the parts are in the column '{column}'")
            used.add(column)
        elif plain in _SITES and len(values) < len(cells):
            guess.add("site_column", column, None, f"the sites are in the column '{column}'")
            used.add(column)
        elif plain in _PEOPLE and len(values) <= 4:
            sex.append(column)
    if sex:
        guess.add("subgroup_columns", sex, [], f"subgroups are in the column {shorten(sex)}")
        used.update(sex)


def _guess_lists(guess: _Guess, folder: Path) -> None:
    """Find text files that list the images of a part."""
    if "part_column" in guess.options or "part_column" in guess.given:
        return
    lists = [file.name for file in sorted(folder.glob("*.txt")) if part_of_list(file) is not None]
    if len({part_of_list(folder / name) for name in lists}) > 1:
        guess.add("part_lists", lists, [], f"the parts are listed in {shorten(lists)}")


def _guess_label(guess: _Guess, table: Table, used: set[str]) -> bool:
    """Find the labels: a column of a usual name, several columns of zeros and ones, or a column of few values."""
    if {"label_column", "label_columns", "label_pattern"} & guess.given.keys():
        return str(guess.given.get("label_column", "")).lower() != "none"
    free = [column for column in dict.fromkeys(table.header) if column and column not in used]
    values = {c: sorted((cells := set(_cells(table, c))) - missing_in(cells)) for c in free}
    free = [column for column in free if len(values[column]) > 1]
    named = sorted((c for c in free if _plain(c) in _LABELS), key=lambda c: _LABELS.index(_plain(c)))
    binary = [c for c in free if {cell.lower() for cell in values[c]} <= _BINARY and _plain(c) not in _LABELS]
    if len(binary) > 1 and not named:
        words = f"{len(binary)} columns of zeros and ones are findings: {shorten(binary)}"
        guess.add("label_columns", binary, [], words)
        return True
    few = [c for c in free if 1 < len(values[c]) <= 12 and len(values[c]) * 4 <= len(table.rows)]
    alone = [c for c in values if _plain(c) in _LABELS and len(values[c]) == 1]  # the run refuses it in a sentence
    for column in [*named, *binary, *few, *alone]:
        kind, words = _kind(column, values[column])
        if kind is not None:
            guess.add("label_column", column, "label", f"the labels are in the column '{column}'")
            guess.add("target", kind, "classes", f"the labels are {words}")
            return True
    guess.add("label_column", "none", "label", "no column looks like a label, so the images have none")
    return False


def _kind(column: str, values: Sequence[str]) -> tuple[str | None, str]:
    if any("|" in value for value in values):
        return "findings", "findings joined by a bar"
    whole = all(number(value) is not None for value in values)
    if whole and len(values) <= _FEW:
        if _plain(column) in _ORDERED:
            return "grades", f"{len(values)} grades"
        return "classes", f"{len(values)} classes"
    try:
        for value in values:
            float(value.replace(",", "."))
    except ValueError:
        return ("classes", f"{len(values)} classes") if len(values) <= _FEW * 4 else (None, "")
    return "quantity", f"numbers from {min(values, key=float)} to {max(values, key=float)}"
