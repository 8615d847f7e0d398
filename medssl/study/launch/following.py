"""What all ways to run the cells of a study share: outcomes, folders and leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medssl.errors import CheckpointError
from medssl.io.leases import LeaseWatch
from medssl.results.directory import RunDirectory
from medssl.runs.kept.reuse import lease_of_pretraining
from medssl.runs.pipeline import Place
from medssl.study.grid import Cell
from medssl.study.schedule.state import CellOutcome, StudyListener

__all__ = ["Follower"]


class Follower:
    """Knows the outcome of each cell, and finds it in the cell's folder.

    Args:
        cells: The cells, in the order in which they should start.
        place: Where runs read and write.
        catalog_file: The user's own catalogue.
        listener: Receives progress events.
        changed: Called with all outcomes whenever one has changed.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        *,
        place: Place,
        catalog_file: Path | None,
        listener: StudyListener,
        changed: Callable[[Sequence[CellOutcome]], None],
    ) -> None:
        self._place, self._catalog_file, self._listener, self._changed = place, catalog_file, listener, changed
        self._outcomes = {cell.recipe.slug: CellOutcome(cell) for cell in cells}
        self._leases = LeaseWatch()

    def _directory(self, cell: Cell) -> RunDirectory:
        return RunDirectory(self._place.output / cell.recipe.slug)

    def _leased(self, cell: Cell) -> Sequence[Path]:
        """Return the folders whose leases the cell's process takes."""
        return self._directory(cell).path, lease_of_pretraining(cell.recipe, self._place.output)

    def _is_held(self, cell: Cell) -> bool:
        """Whether another process runs the cell or trains its encoder."""
        return any(map(self._leases.is_held, self._leased(cell)))

    def _loaded(self, cell: Cell) -> CellOutcome:
        """Return the outcome of a cell that has a result: it may be damaged."""
        try:
            self._directory(cell).load()
        except CheckpointError as error:
            return CellOutcome(cell, "failed", str(error))
        return CellOutcome(cell, "done")

    def _begin(self, todo: Sequence[Cell]) -> None:
        """Tell how many cells are finished already."""
        self._listener.begin(len(self._outcomes), len(self._outcomes) - len(todo))
        self._changed(list(self._outcomes.values()))

    def _end(self, outcome: CellOutcome) -> None:
        """Keep an outcome and tell it."""
        self._outcomes[outcome.cell.recipe.slug] = outcome
        self._changed(list(self._outcomes.values()))
        self._listener.end(outcome)
