"""A study from its plan to its summary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog, load_catalog
from medssl.data.loading import DataOrigin
from medssl.errors import CheckpointError, MedsslError
from medssl.recipe import Recipe
from medssl.results.directory import RunDirectory, RunResult
from medssl.runs.blame import naming_the_plugin
from medssl.runs.pipeline import Place, require_origin
from medssl.study.grid import Cell, expand
from medssl.study.launch.crew import Crew
from medssl.study.plan import Plan, read_plan
from medssl.study.results.summary import Summary, summarise
from medssl.study.schedule.state import CellOutcome, StudyListener, write_state
from medssl.study.schedule.timing import learn_folder

__all__ = ["Study", "bench", "carry_out"]


@dataclass(frozen=True)
class Study:
    """A study that was carried out, as far as it went.

    Attributes:
        outcomes: What became of each cell.
        results: Of the cells that are done.
        catalog: Names its baselines and published numbers.
    """

    outcomes: Sequence[CellOutcome]
    results: Sequence[RunResult]
    catalog: Catalog

    @cached_property
    def summary(self) -> Summary:
        """Rows, tested differences, published numbers."""
        return summarise(self.results, self.catalog)

    @property
    def failed(self) -> list[CellOutcome]:
        """The cells that failed."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]


def bench(
    plan: Plan | str | Path | None = None,
    *,
    place: Place | None = None,
    jobs: int = 1,
    catalog: Path | None = None,
    listener: StudyListener | None = None,
    settings: Sequence[Mapping[str, Any]] = (),
    **varied: Any,
) -> Study:
    """Carry out a study; what ``medssl bench`` does. The same call again goes on where it stopped.

    Args:
        plan: A plan, the name of one in the catalogue, or a YAML file.
        place: Where to read and write.
        jobs: Cells at a time.
        catalog: A catalogue file of the user's own, merged over medssl's.
        listener: Hears what is going on.
        settings: Recipe layers over the plan's settings, weakest first: ``[{"train": {"epochs": 30}}]``.
        **varied: Keys of a plan that take the place of its own: ``methods=[...], datasets=[...], seeds=3``.

    Raises:
        MedsslError: The plan cannot be carried out at all. A cell that fails is an outcome instead.
    """
    known = load_catalog(catalog)
    chosen = plan if isinstance(plan, Plan) else read_plan(plan, known) if plan is not None else Plan()
    chosen = chosen.merged(**varied)
    place = place or Place()
    cells = expand(chosen, settings, known, place.data_dir)
    return carry_out(
        chosen, cells, known, layers=settings, place=place, jobs=jobs, catalog_file=catalog, listener=listener
    )


def carry_out(
    plan: Plan,
    cells: Sequence[Cell],
    catalog: Catalog,
    *,
    layers: Sequence[Mapping[str, Any]] = (),
    place: Place,
    jobs: int = 1,
    catalog_file: Path | None = None,
    listener: StudyListener | None = None,
) -> Study:
    """Carry out the cells of a plan.

    Args:
        plan: What varies; written down.
        cells: What :func:`~medssl.study.grid.expand` made of it.
        catalog: Holds the published numbers.
        layers: Recipe layers over the plan's settings; written down too.
        place: Where to read and write.
        jobs: Cells at a time.
        catalog_file: A catalogue of the user's own, for the workers.
        listener: Hears what is going on.

    Raises:
        MedsslError: The study's folder cannot be written to, or holds results of other images.
    """
    RunDirectory(place.output).make()
    if not place.force:
        _require_origins(cells, catalog, place)
    crew = Crew(
        cells,
        place=place,
        catalog_file=catalog_file,
        jobs=jobs,
        clock=learn_folder(place.output, catalog),
        listener=listener or StudyListener(),
        changed=lambda outcomes: write_state(place.output, plan, layers, outcomes),
    )
    outcomes = crew.run()
    write_state(place.output, plan, layers, outcomes)
    done = [RunDirectory(place.output / o.cell.recipe.slug) for o in outcomes if o.state == "done"]
    return Study(outcomes, [directory.load() for directory in done], catalog)


def _require_origins(cells: Sequence[Cell], catalog: Catalog, place: Place) -> None:
    """Refuse a folder with results of other images: one table would hold both."""
    sources: dict[str, DataOrigin | None] = {}
    for recipe in (cell.recipe for cell in cells):
        result = _finished(RunDirectory(place.output / recipe.slug))
        dataset = json.dumps(recipe.dataset.to_dict())
        if result is not None and dataset not in sources:
            sources[dataset] = _source(recipe, catalog, place)
        if result is not None and (source := sources[dataset]) is not None:
            require_origin(result, recipe, source)


def _finished(directory: RunDirectory) -> RunResult | None:
    try:
        return directory.finished()
    except CheckpointError:
        return None  # damaged: the cell will say so, and stop no other


def _source(recipe: Recipe, catalog: Catalog, place: Place) -> DataOrigin | None:
    try:
        with naming_the_plugin(recipe):
            return DataOrigin.of(recipe.dataset, catalog, place.data_dir)
    except MedsslError:
        return None  # the images are gone, or no longer whole; what was made of them is still there
