"""A job: cells of a study that a launcher has run elsewhere. All of it lies in a folder of the study.

``jobs/NAME/job.json`` has the cells and what a task needs to run them. A cell that fails leaves its message in
``jobs/NAME/failed/``: the tasks of this job do not try it again, and a later job does.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssl.contracts.launchers import Job
from medssl.errors import CheckpointError
from medssl.io.files import write_atomic
from medssl.io.leases import is_locked
from medssl.io.reading import read_json

if TYPE_CHECKING:  # tasks that find nothing to do shall not import torch
    from medssl.runs.pipeline import Place
    from medssl.study.grid import Cell

__all__ = ["StoredJob", "jobs_of", "read_job", "write_job"]

_FOLDER, _FILE, _FAILED = "jobs", "job.json", "failed"
_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """The content of ``job.json``.

    Attributes:
        folder: Folder of the job.
        launcher: Name and options of the launcher.
        cells: The layers of each cell by the name of its run directory.
        catalog_file: The user's own catalogue.
        place: Where its runs read and write: fields of :class:`~medssl.runs.pipeline.Place`. The output is not needed.
        directory: The current folder of the command that submitted it.
        variables: Environment variables of medssl.
        tasks: Number of tasks.
        at_once: Most tasks at the same time.
        handle: What the launcher returned; ``None``: it was not submitted.
    """

    folder: Path
    launcher: Mapping[str, Any]
    cells: Mapping[str, Sequence[Mapping[str, Any]]]
    catalog_file: str | None
    place: Mapping[str, Any]
    directory: str
    tasks: int
    at_once: int | None
    variables: Mapping[str, str] = field(default_factory=dict)
    handle: str | None = None

    @property
    def study(self) -> Path:
        """Folder of the study."""
        return self.folder.parent.parent

    def for_launcher(self) -> Job:
        """Return what the launcher gets."""
        start = (sys.executable, "-P", "-m", "medssl", "work", str(self.folder), "--task")
        return Job(
            name=f"medssl-{self.study.name}"[:40].replace(" ", "-"),
            study=self.study,
            folder=self.folder,
            cells=tuple(self.cells),
            commands=tuple((*start, str(number)) for number in range(self.tasks)),
            directory=Path(self.directory),
            at_once=self.at_once,
        )

    def submitted(self, handle: str) -> StoredJob:
        """Add what the launcher has returned, and write ``job.json`` again."""
        job = replace(self, handle=handle)
        job.save()
        return job

    def save(self) -> None:
        """Write ``job.json`` completely or not at all."""
        _, *stored = fields(self)  # all but the folder itself
        values = {each.name: getattr(self, each.name) for each in stored}
        text = json.dumps({"schema": _SCHEMA, **values}, indent=1, default=str)
        write_atomic(self.folder / _FILE, text.encode(), private=True)

    def fail(self, cell: str, message: str) -> None:
        """Note that a cell has failed."""
        (self.folder / _FAILED).mkdir(exist_ok=True)
        write_atomic(self.folder / _FAILED / f"{cell}.json", json.dumps({"message": message}).encode(), private=True)

    def failure(self, cell: str) -> str | None:
        """Return why a cell has failed in this job; ``None`` if it has not."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return str(read_json(self.folder / _FAILED / f"{cell}.json")["message"])
        return None

    def is_settled(self) -> bool:
        """Whether every cell has a result or has failed in this job, and none is being run again."""
        folders = [self.study / name for name in self.cells if self.failure(name) is None]
        made = all((folder / "result.json").exists() and not is_locked(folder) for folder in folders)
        return made and not self.place.get("force")


def write_job(
    cells: Sequence[Cell], place: Place, launcher: Mapping[str, Any], *, catalog_file: Path | None, at_once: int | None
) -> StoredJob:
    """Write a new job that is not yet submitted. It has a task for each encoder that has to be trained."""
    study = place.output.resolve()
    folder = study / _FOLDER / f"{str(launcher['plugin']).replace(':', '_')}-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be made. {error}. Give a folder that you can write to (--output)."
        ) from error
    job = StoredJob(
        folder=folder,
        launcher=launcher,
        cells={cell.recipe.slug: list(cell.layers) for cell in cells},
        catalog_file=str(catalog_file.resolve()) if catalog_file else None,
        place={**asdict(place), "data_dir": place.data_dir and str(place.data_dir.resolve()), "output": str(study)},
        directory=str(Path.cwd()),
        tasks=len({cell.recipe.pretraining_hash for cell in cells}),
        at_once=at_once,
        variables={key: value for key, value in os.environ.items() if key.startswith("MEDSSL_")},
    )
    job.save()
    return job


def read_job(folder: Path) -> StoredJob:
    """Read ``job.json``.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    file = folder / _FILE
    try:
        values = read_json(file)
        if values.pop("schema") != _SCHEMA:
            raise ValueError("another version of medssl wrote it")
        return StoredJob(folder=folder.resolve(), **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{file} cannot be read. {error}. Run `medssl bench` again to make a new job.") from error


def jobs_of(study: Path) -> Iterator[StoredJob]:
    """Yield the jobs of a study that were submitted."""
    for file in sorted((study / _FOLDER).glob(f"*/{_FILE}")):
        with contextlib.suppress(CheckpointError):
            job = read_job(file.parent)
            if job.handle is not None:
                yield job
