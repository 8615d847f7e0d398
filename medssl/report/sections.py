"""A study, cut into the parts of its report: one section holds rows that were tested on one dataset by one split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medssl.io.identities import is_private_id
from medssl.io.plain_text import file_stem
from medssl.io.reading import read_json
from medssl.results.directory import RunDirectory, RunResult
from medssl.results.metrics_table import higher_is_better, lead_metric, metric_title, shown_metrics
from medssl.results.privacy import hidden_folder
from medssl.results.sections import RunData
from medssl.study.results.rows import repeats
from medssl.study.results.summary import Comparison, Estimate, PublishedCell, Row, Summary

__all__ = ["Section", "TestPart", "make_sections"]

_RANKS = "auroc"
_ALIKE = 0.005  # ours: a temperature changes the AUROC of several classes less than a page shows


@dataclass(frozen=True, kw_only=True)
class TestPart:
    """What the numbers of a section were measured on.

    Attributes:
        images: Test images.
        units: What the intervals resample: groups where they are known, else images.
        unit: What one of them is: "patient", "group", "image".
        grouped: Whether groups are known.
    """

    __test__ = False  # no test of pytest's

    images: int
    units: int
    unit: str
    grouped: bool


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that can stand in one table.

    Attributes:
        key: Unique in the report, of letters, digits and dashes.
        title: Dataset and split in words.
        rows: By method, in the order in which their runs were given, and batch size; baselines last.
        comparisons: Tested differences between them.
        published: Published numbers on the dataset.
        confidence: Of every interval.
    """

    key: str
    title: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    published: tuple[PublishedCell, ...]
    confidence: float

    @property
    def runs(self) -> list[RunResult]:
        """Every run of every row."""
        return [run for row in self.rows for run in row.runs]

    @property
    def single(self) -> RunResult | None:
        """The only run, where the section is the page of one run."""
        return self.runs[0] if len(self.runs) == 1 else None

    @property
    def data(self) -> RunData:
        """What the first run says about its images."""
        return self.rows[0].runs[0].data

    @property
    def metrics(self) -> dict[str, Mapping[str, Any]]:
        """Title, direction, unit and source of each metric of its runs, by name, in the order of tables."""
        return {name: facts for run in reversed(self.runs) for name, facts in run.metrics.items()}

    @property
    def metric_titles(self) -> dict[str, str]:
        """Titles, by name, of the metrics that lead and that some row has."""
        return shown_metrics(self.metrics, self._scores)

    @property
    def lead(self) -> str:
        """Name of the metric that rows are compared by: the first that leads."""
        return lead_metric(self.metrics, self._scores)

    @property
    def lead_title(self) -> str:
        """Its title."""
        return self.title_of(self.lead)

    @property
    def _scores(self) -> dict[str, Mapping[str, Estimate]]:
        every = [scores for row in self.rows for scores in row.scores.values()]
        return {str(i): scores for i, scores in enumerate(every)}

    def higher_is_better(self, metric: str) -> bool:
        """Return the direction of a metric."""
        return higher_is_better(metric, self.metrics)

    def is_gain(self, found: Comparison) -> bool:
        """Return whether the first row of a comparison is the better one."""
        return (found.difference > 0) == self.higher_is_better(found.metric)

    def title_of(self, metric: str) -> str:
        """Return the title of a metric, with its unit."""
        return metric_title(metric, self.metrics)

    @property
    def evaluators(self) -> list[str]:
        """What the recipes name, in their order; what an evaluator reports beside itself is left out."""
        named = dict.fromkeys(str(choice["plugin"]) for run in self.runs for choice in run.recipe["evaluators"])
        return [name for name in named if any(name in row.scores for row in self.rows)]

    @property
    def judges(self) -> list[str]:
        """The evaluators without those that say what an earlier one did, with other confidences."""
        found: list[str] = []
        for name in self.evaluators:
            if not any(self._agree(name, other) for other in found):
                found.append(name)
        return found

    def _agree(self, name: str, other: str) -> bool:
        """Whether two evaluators made the same decisions and ranked almost alike, in all runs."""
        for run in self.runs:
            one, two = (run.evaluations.get(each, {}) for each in (name, other))
            matrix, ranks = one.get("confusion_matrix"), [s.get(_RANKS, {}).get("value") or 0.0 for s in (one, two)]
            if not matrix or matrix != two.get("confusion_matrix") or abs(ranks[0] - ranks[1]) > _ALIKE:
                return False
        return True

    @property
    def by_group(self) -> bool:
        """Whether rows are compared by the scores of groups (patients), not of images."""
        return all(row.unit == "group" for row in self.rows)

    @property
    def per(self) -> str:
        """What the scores are about, behind the name of a metric: `` per patient``; empty for images."""
        return f" per {self.test.unit}" if self.by_group else ""

    def scores_of(self, evaluations: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return the scores by which rows are compared, by evaluator.

        Args:
            evaluations: Of a run, or of its baseline.
        """
        if not self.by_group:
            return dict(evaluations)
        return {name: found["per_group"] for name, found in evaluations.items() if "per_group" in found}

    @property
    def fractions(self) -> list[float]:
        """Shares of the labels, the smallest first."""
        return sorted({row.label_fraction for row in self.rows})

    @property
    def main_rows(self) -> list[Row]:
        """Rows with the largest share of labels: those of the main table."""
        return [row for row in self.rows if row.label_fraction == self.fractions[-1]]

    @property
    def families(self) -> list[tuple[str, list[Row]]]:
        """The main rows, those that differ only in batch size together, with their common label."""
        found: dict[str, list[Row]] = {}
        for row in self.main_rows:
            found.setdefault(row.label_without("batch_size"), []).append(row)
        return list(found.items())

    @property
    def test(self) -> TestPart:
        """The test part; that of all folds together where there are folds."""
        row = self.main_rows[0]
        scores: list[Any] = [next(iter(run.evaluations.values()), {}) for run in repeats(row)[0]]
        images = sum(run.data.test for run in repeats(row)[0])
        grouped = any(score.get("bootstrap", {}).get("unit") == "group" for score in scores)
        units = sum(int(score["n_groups"]) for score in scores) if grouped else images
        return TestPart(
            images=images,
            units=units,
            unit=(self.data.group_kind or "group").replace("_", " ") if grouped else "image",
            grouped=grouped,
        )

    def ranked(self, evaluator: str, metric: str | None = None) -> list[tuple[Row, Estimate]]:
        """Main rows that have this metric (the one that leads), the best first, equals by name."""
        metric = metric or self.lead
        sign = -1 if self.higher_is_better(metric) else 1
        found = [
            (row, estimate)
            for row in self.main_rows
            if (estimate := row.scores.get(evaluator, {}).get(metric)) and estimate.value is not None
        ]
        return sorted(found, key=lambda pair: (sign * (pair[1].value or 0.0), pair[0].label))

    def shown_first(self) -> Row:
        """The row whose pictures are shown: pre-trained where there is one, the best by the first evaluator."""
        name = self.evaluators[0] if self.evaluators else ""
        rows = [row for row, _ in self.ranked(name)] or self.main_rows
        return next((row for row in rows if not row.baseline), rows[0])

    def published_rows(self, metric: str | None = None) -> list[tuple[str, dict[str, PublishedCell]]]:
        """Published numbers as rows of the main table: a name, and a cell by evaluator; only those of equal images."""
        metric = metric or self.lead
        every = [cell for cell in self.published if cell.metric == metric and cell.evaluator in self.evaluators]
        cells = [cell for cell in every if self.same_images(cell)]
        places = Counter((cell.method, cell.evaluator) for cell in cells)
        found: dict[str, dict[str, PublishedCell]] = {}
        for cell in cells:
            batch = f", batch {cell.batch_size}" if places[cell.method, cell.evaluator] > 1 else ""
            found.setdefault(f"{cell.method}{batch}", {})[cell.evaluator] = cell
        return list(found.items())

    def same_images(self, cell: PublishedCell) -> bool:
        """Whether a published number is about the same test images: the official part, and as many images."""
        official = cell.split == self.data.split == "official"
        return official and cell.images == self.test.images and not self.by_group

    def name_of(self, key: str) -> str:
        """Return the label of a row."""
        return next(row.label for row in self.rows if row.key == key)

    def between(self, first: Row, second: Row, evaluator: str, metric: str | None = None) -> Comparison | None:
        """How the first row differs from the second (in the metric that leads), whichever way round it was tested."""
        metric = metric or self.lead
        for found in self.comparisons:
            if (found.evaluator, found.metric) == (evaluator, metric):
                if (found.first, found.second) == (first.key, second.key):
                    return found
                if (found.first, found.second) == (second.key, first.key):
                    return _turned(found)
        return None


def make_sections(summary: Summary) -> list[Section]:
    """Cut a summary into sections, in the order of its rows."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in summary.rows:
        found.setdefault(_identity(row), []).append(row)
    together = list(found.values())
    keys = _unique([f"{rows[0].dataset}-{rows[0].split}" for rows in together])
    titles = _titles([rows[0] for rows in together])
    return [_section(key, title, rows, summary) for key, title, rows in zip(keys, titles, together, strict=True)]


def _section(key: str, title: str, rows: Sequence[Row], summary: Summary) -> Section:
    keys = {row.key for row in rows}
    methods = list(dict.fromkeys(row.method for row in rows))
    order = sorted(rows, key=lambda row: (row.baseline, methods.index(row.method), row.batch_size, -row.label_fraction))
    return Section(
        key=key,
        title=title,
        rows=tuple(_shortened(order)),
        comparisons=tuple(
            c for c in summary.comparisons if c.dataset == rows[0].dataset and keys >= {c.first, c.second}
        ),
        published=tuple(summary.published.get(rows[0].dataset, ())),
        confidence=summary.confidence,
    )


def _shortened(rows: Sequence[Row]) -> Iterator[Row]:
    """Leave out what the title says, what all rows share of the data, and the share of labels of the main table."""
    share = max(row.label_fraction for row in rows)
    common = set.intersection(*(set(row.facts) for row in rows))
    for row in rows:
        said = {"split", "label_fraction"} if row.label_fraction == share else {"split"}
        said |= {fact.name for fact in common if fact.name == "data" or fact.name.startswith("dataset.")}
        yield replace(row, facts=tuple(fact for fact in row.facts if fact.name not in said))


def _identity(row: Row) -> tuple[Any, ...]:
    """Tell datasets apart that go by one name: one plugin may have read several folders, or several label columns."""
    data = row.runs[0].data
    return row.dataset, row.split, data.target, data.samples_sha256 or data.images


def _titles(rows: Sequence[Row]) -> list[str]:
    """Name each section by a row of it; where that is one name, add the dataset's options that differ, or a number."""
    titles = [_title(row) for row in rows]
    detailed = []
    for row, title in zip(rows, titles, strict=True):
        alike = [_options(other) for other, its in zip(rows, titles, strict=True) if its == title]
        differing = [f"{k} {v}" for k, v in _options(row).items() if any(other.get(k) != v for other in alike)]
        detailed.append(", ".join([title, *differing]))
    numbers: Counter[str] = Counter()
    for i, title in enumerate(detailed):
        numbers[title] += 1
        detailed[i] = title if numbers[title] == 1 else f"{title} ({numbers[title]})"
    return detailed


def _options(row: Row) -> dict[str, Any]:
    return {k: v for k, v in row.runs[0].recipe.get("dataset", {}).items() if k != "plugin"}


def _title(row: Row) -> str:
    """Name dataset and split, and the set that an option chose, or the folder where a kept result names it."""
    run = row.runs[0]
    folder, name = hidden_folder(run.data.directory), run.dataset_title
    known = is_private_id(folder) or folder.lower() == row.dataset.rpartition(":")[2].lower()
    if name == row.dataset and not known and _has_files(run):
        name = f"{name} {folder}"
    return f"{name}, {row.split} split"


def _has_files(run: RunResult) -> bool:
    """Whether the sample ids are names of files."""
    try:
        parts = read_json(RunDirectory(run.path).splits)["parts"]
        return bool(Path(parts["train"][0]).suffix)
    except (OSError, ValueError, KeyError, IndexError):
        return False


def _unique(names: Sequence[str]) -> Iterator[str]:
    """Yield keys that become names of files, so they also differ where upper and lower case are the same."""
    seen: set[str] = set()
    for name in names:
        plain = key = file_stem(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-"))
        number = 1
        while key.lower() in seen:
            number += 1
            key = f"{plain}-{number}"
        seen.add(key.lower())
        yield key


def _turned(found: Comparison) -> Comparison:
    return replace(
        found,
        first=found.second,
        second=found.first,
        difference=-found.difference,
        low=None if found.high is None else -found.high,
        high=None if found.low is None else -found.low,
    )
