"""Runs a study from its plan to its summary."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog, load_catalog
from medssl.contracts.kinds import LAUNCHER
from medssl.data.origin import DataOrigin
from medssl.errors import CheckpointError, DataError, MedsslError
from medssl.io.files import clear_unfinished
from medssl.recipe import Choice, Recipe, choose
from medssl.results.directory import RunDirectory, RunResult
from medssl.runs.blame import naming_the_plugin
from medssl.runs.pipeline import Place, require_origin
from medssl.runs.stages.external import require_same_others
from medssl.study.grid import Cell
from medssl.study.launch.crew import Crew
from medssl.study.launch.remote import Remote
from medssl.study.missing import list_cells
from medssl.study.plan import Plan, read_plan
from medssl.study.results.summary import Comparison, Row, Summary, summarise
from medssl.study.schedule.state import CellOutcome, StudyListener, write_state
from medssl.study.schedule.timing import learn_folder

__all__ = ["Study", "bench", "carry_out"]


@dataclass(frozen=True)
class Study:
    """A study after it was run, complete or not.

    Attributes:
        path: Its folder.
        outcomes: Outcome of each cell.
        results: Results of the finished cells.
        catalog: Provides its baselines and published numbers.
        left_out: Encoders and methods of the plan that are left out because their weights are missing, with the reason.
    """

    path: Path
    outcomes: Sequence[CellOutcome]
    results: Sequence[RunResult]
    catalog: Catalog
    left_out: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def summary(self) -> Summary:
        """Rows, tested differences and published numbers."""
        return summarise(self.results, self.catalog)

    @property
    def rows(self) -> Sequence[Row]:
        """Runs that differ only in seed and fold, together: ``study.rows[0].scores["knn"]["accuracy"].value``."""
        return self.summary.rows

    @property
    def comparisons(self) -> Sequence[Comparison]:
        """Paired differences between rows of one dataset, tested."""
        return self.summary.comparisons

    @property
    def failed(self) -> list[CellOutcome]:
        """The cells that failed."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]


def bench(
    plan: Plan | str | Path | None = None,
    *,
    place: Place | None = None,
    jobs: int | None = None,
    launcher: str | Mapping[str, Any] | None = None,
    catalog: Path | None = None,
    listener: StudyListener | None = None,
    settings: Sequence[Mapping[str, Any]] = (),
    **varied: Any,
) -> Study:
    """Run a study, as ``medssl bench`` does. Call it again with the same arguments to continue.

    Args:
        plan: A plan, the name of one in the catalogue, or a YAML file.
        place: Where to read and write.
        jobs: Number of cells to run at the same time; ``None``: one, or as many as the launcher likes.
        launcher: Where the cells run, a name or a mapping of ``plugin`` (the name) and options; ``None``: in processes
            that end with this one.
        catalog: The user's own catalogue file, merged into medssl's.
        listener: Receives progress events.
        settings: Recipe layers above the plan's settings, weakest first: ``[{"train": {"epochs": 30}}]``.
        **varied: Keys of a plan that replace its own: ``methods=[...], datasets=[...], seeds=3``.

    Raises:
        MedsslError: The study as a whole cannot be run. The failure of a single cell is an outcome instead.
    """
    known = load_catalog(catalog)
    chosen = plan if isinstance(plan, Plan) else read_plan(plan, known) if plan is not None else Plan()
    chosen = chosen.merged(**varied)
    place = place or Place()
    chosen, cells, left_out = list_cells(chosen, settings, known, place.data_dir)
    given = {"plugin": launcher} if isinstance(launcher, str) else dict(launcher or {})
    where = choose(LAUNCHER.name, given.pop("plugin"), given, known) if given else None
    study = carry_out(
        chosen,
        cells,
        known,
        layers=settings,
        place=place,
        jobs=jobs,
        launcher=where,
        catalog_file=catalog,
        listener=listener,
    )
    return replace(study, left_out=left_out)


def carry_out(
    plan: Plan,
    cells: Sequence[Cell],
    catalog: Catalog,
    *,
    layers: Sequence[Mapping[str, Any]] = (),
    place: Place,
    jobs: int | None = None,
    launcher: Choice | None = None,
    catalog_file: Path | None = None,
    listener: StudyListener | None = None,
) -> Study:
    """Run the cells of a plan.

    Args:
        plan: The values that vary; written to ``study.json``.
        cells: The cells of the plan, from :func:`~medssl.study.grid.expand`.
        catalog: Provides the published numbers.
        layers: Recipe layers above the plan's settings; written to ``study.json`` too.
        place: Where to read and write.
        jobs: Number of cells to run at the same time; ``None``: one, or as many as the launcher likes.
        launcher: Where the cells run; ``None``: in processes that end with this one.
        catalog_file: The user's own catalogue, for the workers.
        listener: Receives progress events.

    Raises:
        MedsslError: The study's folder cannot be written to, or contains results of other images.
    """
    RunDirectory(place.output).make()
    clear_unfinished(place.output)
    if not place.force:
        _require_origins(cells, catalog, place)
    common: dict[str, Any] = {
        "place": place,
        "catalog_file": catalog_file,
        "listener": listener or StudyListener(),
        "changed": lambda outcomes: write_state(place.output, plan, layers, outcomes),
    }
    if launcher is None:
        outcomes = Crew(cells, jobs=jobs or 1, clock=learn_folder(place.output, catalog), **common).run()
    else:
        outcomes = Remote(cells, launcher=launcher, at_once=jobs, **common).run()
    write_state(place.output, plan, layers, outcomes)
    done = [RunDirectory(place.output / o.cell.recipe.slug) for o in outcomes if o.state == "done"]
    return Study(place.output, outcomes, [directory.load() for directory in done], catalog)


def _require_origins(cells: Sequence[Cell], catalog: Catalog, place: Place) -> None:
    """Refuse a folder with results of other images, because one table would mix both."""
    sources: dict[str, DataOrigin | None] = {}
    for recipe in (cell.recipe for cell in cells):
        result = _finished(RunDirectory(place.output / recipe.slug))
        dataset = json.dumps(recipe.dataset.to_dict())
        if result is not None and dataset not in sources:
            sources[dataset] = _source(recipe, catalog, place)
        if result is not None and (source := sources[dataset]) is not None:
            require_origin(result, recipe, source)
        if result is not None and recipe.external:
            with contextlib.suppress(DataError):  # the images are missing, but the results are still there
                require_same_others(result, recipe, catalog)


def _finished(directory: RunDirectory) -> RunResult | None:
    try:
        return directory.finished()
    except CheckpointError:
        return None  # damaged: the cell will fail and say so; other cells continue


def _source(recipe: Recipe, catalog: Catalog, place: Place) -> DataOrigin | None:
    try:
        with naming_the_plugin(recipe):
            return DataOrigin.of(recipe.data, catalog, place.data_dir)
    except MedsslError:
        return None  # the images are missing or damaged, but the results are still there
