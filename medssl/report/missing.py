"""Finished runs in some folders, and those that are not finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medssl.errors import CheckpointError
from medssl.io.reading import read_json, read_yaml
from medssl.report.words import wording
from medssl.results.directory import RunDirectory, RunResult

__all__ = ["Missing", "find_runs"]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A run that belongs to a report and has no result.

    Attributes:
        name: Of its directory.
        dataset: Name of its dataset; ``None`` where that is not known.
        failure: Why it failed; ``None``: it is not finished.
    """

    name: str
    dataset: str | None = None
    failure: str | None = None

    def __str__(self) -> str:
        return self.name if self.failure is None else f"{self.name}: {self.failure}"


def find_runs(paths: Iterable[Path]) -> tuple[list[RunResult], list[Missing]]:
    """Read the finished runs in some folders.

    Args:
        paths: Run directories, and folders of them.

    Returns:
        The results, each once; and the run directories without a result.

    Raises:
        CheckpointError: There is no finished run, or a result cannot be read.
    """
    folders: dict[Path, None] = {}
    given = list(paths)
    for path in given:
        own = [path] if RunDirectory(path).recipe.exists() or RunDirectory(path).result.exists() else []
        inside = sorted({file.parent for name in ("recipe.yaml", "result.json") for file in path.glob(f"*/{name}")})
        folders |= dict.fromkeys(folder.resolve() for folder in own or inside)
    finished = [folder for folder in folders if RunDirectory(folder).result.exists()]
    if not finished:
        raise CheckpointError(
            f"there is no finished run in {wording.listed([str(path) for path in given])}. A finished run has a "
            "result.json in its directory. Give run directories, or the folder that holds them."
        )
    missing = {folder.name: _unfinished(folder) for folder in folders if folder not in set(finished)}
    for path in given:
        missing |= _failures(path)
    known = {folder.name for folder in finished}
    return [RunDirectory(folder).load() for folder in finished], [m for name, m in missing.items() if name not in known]


def _unfinished(folder: Path) -> Missing:
    try:
        recipe = read_yaml(RunDirectory(folder).recipe)
        return Missing(name=folder.name, dataset=str(recipe["dataset"]["plugin"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Missing(name=folder.name)


def _failures(folder: Path) -> Mapping[str, Missing]:
    """Read why cells of a study have failed, by the names of their run directories."""
    try:
        cells = read_json(folder / "study.json")["cells"]
        return {
            cell["directory"]: Missing(
                name=cell["directory"], dataset=cell.get("dataset"), failure=str(cell.get("message"))
            )
            for cell in cells
            if cell["state"] == "failed"
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
