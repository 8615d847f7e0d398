"""Groups runs into rows of a table: runs that differ only in seed or fold form one row."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from medssl.catalog import Catalog
from medssl.contracts.kinds import METHOD, NONE
from medssl.results.directory import RunResult
from medssl.results.scores import Interval

__all__ = ["Estimate", "Fact", "Row", "group_rows", "network_of", "repeats"]

# the values on the x-axis of a report's curves
_OF_A_CURVE = ("batch_size", "label_fraction")
_KEYS_OF_A_CURVE = ("train.batch_size", "split.label_fraction")
# the settings that identify a repetition: the seeds, and the fold that is the test part
_REPEATED = (("seed",), ("split", "label_seed"), ("split", "fold"))


@dataclass(frozen=True, kw_only=True)
class Estimate(Interval):
    """One metric of one row: the mean over seeds, its interval and its spread.

    The interval is that of :mod:`medssl.evaluation.uncertainty.statistics`.

    Attributes:
        std: Standard deviation over seeds (denominator n - 1); ``None`` for one seed.
        runs: Number of seeds in the mean; the folds of one seed are pooled and count once.
    """

    std: float | None
    runs: int


class Fact(NamedTuple):
    """One setting in which rows of a dataset differ.

    Attributes:
        name: A field of :class:`Row`, or a setting of the recipe by its full name.
        text: Its value in words: ``batch 64``.
    """

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """Runs that differ only in seed and fold.

    Attributes:
        dataset: Name of the dataset.
        method: Name of the method.
        batch_size: Images per step of pre-training.
        split: Protocol of the split.
        label_fraction: Fraction of the training labels that the evaluators saw, 0 to 1.
        backbone: Name of a timm model.
        image_size: Side length of a view in pixels.
        init: Initial weights of pre-training; ``None``: random weights.
        recipe: Name of the catalogue's recipe.
        baseline: Whether other methods are to be compared with this one.
        given: Whether an encoder with given weights was evaluated as it is; other networks and sizes are compared with
            it too.
        runs: The finished runs, by seed and fold.
        key: Identifies the row among those of a dataset. Reports show :attr:`label`.
        facts: The settings, other than the method, that distinguish the row from others of its dataset.
        unit: What the scores are about: ``image``, or ``group`` if all runs have ``evaluate.unit=group``.
        scores: Estimates by evaluator and metric, per unit. Rows are compared by these.
        beside: The same for the other unit; empty if no group has several images.
        variant: Name shared by rows that differ only in batch size and fraction of labels; figures show them alike.
        notes: Remarks that the reader of this row must know.
    """

    dataset: str
    method: str
    batch_size: int
    split: str
    label_fraction: float
    backbone: str
    image_size: int
    init: str | None
    recipe: str
    baseline: bool
    given: bool = False
    runs: tuple[RunResult, ...]
    key: str = ""
    facts: tuple[Fact, ...] = ()
    unit: str = "image"
    scores: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    variant: str = ""
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Short name: ``dcl, batch 64, 10 % of labels``."""
        return self.label_without()

    @property
    def method_shown(self) -> str:
        """Name of the method for readers: an encoder that is only evaluated is frozen."""
        return "frozen" if self.method == NONE else self.method

    def label_without(self, *names: str) -> str:
        """Return the label without some of the facts."""
        return ", ".join([self.method_shown, *(fact.text for fact in self.facts if fact.name not in names)])


def group_rows(results: Sequence[RunResult], catalog: Catalog) -> list[Row]:
    """Group results into rows without scores, in the order in which the first run of each row was given.

    A run that was made twice (same recipe, same images) counts once. If nothing was trained, runs that differ only in
    their training settings are the same run.

    Args:
        results: Finished runs.
        catalog: Says which methods are baselines.
    """
    rows: dict[tuple[str, ...], dict[tuple[int, ...], RunResult]] = {}
    for result in results:
        row = rows.setdefault((json.dumps(_settings(result), sort_keys=True), _images(result)), {})
        row.setdefault(_repetition(result), result)
    return _labelled([_row(list(runs.values()), catalog) for runs in rows.values()])


def repeats(row: Row) -> list[list[RunResult]]:
    """Return the runs of a row by seed: one list of folds for each seed."""
    found: dict[tuple[Any, ...], list[RunResult]] = {}
    for run in row.runs:
        found.setdefault(_repetition(run)[:2], []).append(run)
    return list(found.values())


def _images(result: RunResult) -> str:
    """Identify the decoded images, because one dataset name may be used for several folders."""
    return str(result.data.store.get("key", ""))


def _settings(result: RunResult) -> dict[str, Any]:
    """Return the recipe without the settings that identify a repetition, and without those that had no effect."""
    settings = json.loads(json.dumps(result.recipe))
    settings.get("evaluate", {}).pop("baseline", None)
    if not result.training.epochs:
        settings.pop("train")
    for *sections, name in _REPEATED:
        section = settings
        for key in sections:
            section = section.get(key, {})
        section.pop(name, None)
    return dict(settings)


def _repetition(result: RunResult) -> tuple[int, int, int]:
    split = result.recipe["split"]
    return result.seed, int(split.get("label_seed") or 0), int(split.get("fold") or 0)


def _row(runs: Sequence[RunResult], catalog: Catalog) -> Row:
    first = runs[0]
    recipe = first.recipe
    fraction = recipe["split"].get("label_fraction")
    return Row(
        dataset=first.dataset,
        method=first.method,
        batch_size=int(recipe["train"]["batch_size"]),
        split=first.data.split,
        label_fraction=1.0 if fraction is None else float(fraction),
        backbone=network_of(first),
        image_size=int(recipe["views"]["image_size"]),
        init=recipe["encoder"].get("weights"),
        recipe=str(recipe["recipe"]),
        baseline=_is_baseline(first, catalog) or first.method == NONE,
        given=first.training.init is not None and not first.training.epochs,
        runs=tuple(sorted(runs, key=_repetition)),
    )


def network_of(run: RunResult) -> str:
    """Return the name of the encoder's network; results of earlier versions have it in the recipe."""
    named = (run.values.get("encoder") or {}).get("name")
    entry = run.recipe["encoder"]
    return str(named or entry.get("backbone") or entry.get("plugin"))


def _is_baseline(run: RunResult, catalog: Catalog) -> bool:
    """Whether the method is a baseline: the catalogue says so, or it is trained with labels."""
    marked = bool(catalog.entry(METHOD.name, run.method).get("baseline"))
    return marked or run.training.uses_labels


# ------------------------------------------------------------------------------------------------------------ labels


def _labelled(rows: Sequence[Row]) -> list[Row]:
    """Give each row the facts that make its label unique within its dataset."""
    named = []
    for row in rows:
        facts = tuple(_distinctions(row, [other for other in rows if other.dataset == row.dataset]))
        variant = [row.method, *(fact.text for fact in facts if fact.name not in _OF_A_CURVE)]
        named.append(replace(row, facts=facts, variant=", ".join(variant)))
    result = []
    for row in named:
        alike = [other for other in named if (other.dataset, other.label) == (row.dataset, row.label)]
        more = [*_other_settings(row, alike), *_other_evaluators(row, alike)]
        same = [o for o in alike if [*_other_settings(o, alike), *_other_evaluators(o, alike)] == more]
        if len(same) > 1:  # their settings are equal: they used other images
            more.append(Fact("data", f"data {same.index(row) + 1}"))
        curves = [other for other in named if (other.dataset, other.variant) == (row.dataset, row.variant)]
        variant = [row.variant, *(fact.text for fact in _other_settings(row, curves, besides=_KEYS_OF_A_CURVE))]
        found = replace(row, facts=(*row.facts, *more), variant=", ".join(variant))
        result.append(replace(found, key=found.label))
    return result


def _distinctions(row: Row, others: Sequence[Row]) -> Iterator[Fact]:
    """Yield the row's value of each field in which rows of its dataset differ; batch size only if it was trained."""
    given = "" if row.init is None or row.method == NONE else Path(row.init).stem
    for name, text in (
        ("init", given and f"from {given}"),
        ("backbone", "" if row.backbone == given else row.backbone),
        ("image_size", f"{row.image_size} px"),
        ("batch_size", f"batch {row.batch_size}" if row.runs[0].training.epochs else ""),
        ("split", f"{row.split} split"),
        ("label_fraction", f"{100 * row.label_fraction:g} % of labels"),
        ("recipe", f"recipe {row.recipe}"),
    ):
        if text and len({getattr(other, name) for other in others}) > 1:
            yield Fact(name, text)


def _other_settings(row: Row, alike: Sequence[Row], besides: Collection[str] = ()) -> list[Fact]:
    """List the settings in which rows with the same label differ, except those in ``besides``.

    A setting that only some rows have (a view field that was changed) is listed for these rows.
    """
    settings = [dict(_flat(_settings(other.runs[0]))) for other in alike]
    own = settings[alike.index(row)]
    return [
        Fact(key, f"{_short_name(key)} {value}")
        for key, value in own.items()
        if key not in besides
        and any(other.get(key) != value for other in settings)
        and (
            not key.startswith("evaluators.") or all(key in other for other in settings)
        )  # otherwise the whole evaluator is named
    ]


def _other_evaluators(row: Row, alike: Sequence[Row]) -> list[Fact]:
    """Name the evaluators of a row if rows with the same label have different evaluators."""
    evaluators = [" ".join(other.runs[0].scores) for other in alike]
    own = Fact("evaluators", f"by {evaluators[alike.index(row)]}")
    return [own] if len(set(evaluators)) > 1 else []


def _short_name(key: str) -> str:
    """Return the last part of a setting's name; ``split.seed`` is kept whole, because it is not the seed."""
    return key.replace(".", " ") if key.startswith("split.") else key.rpartition(".")[2]


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(values, list) and values and all(isinstance(value, Mapping) for value in values):
        for value in values:
            yield from _flat(value, f"{prefix}.{value.get('plugin', '')}")
    else:
        yield prefix, json.dumps(values).strip('"')
