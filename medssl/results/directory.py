"""The directory of a run and its ``result.json`` (schema 2), as typed values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import yaml
from rich.table import Table

from medssl.errors import CheckpointError
from medssl.io.files import write_atomic
from medssl.io.identities import remember_ids
from medssl.io.json_text import json_text
from medssl.io.reading import parse_json, read_json, read_npz, read_text, read_yaml
from medssl.results.arrays import (
    PartFeatures,
    RunPredictions,
    RunSplit,
    read_epochs,
    read_features,
    read_split,
    read_tested,
)
from medssl.results.external import ExternalScores, read_external
from medssl.results.history import EpochRecord
from medssl.results.metrics_table import metric_rows
from medssl.results.privacy import Desk, hidden_folder, hidden_paths, read_desk, restored
from medssl.results.scores import Baseline, MetricFacts, Scores, read_baseline, read_scores
from medssl.results.sections import Environment, RunData, Training, read_section
from medssl.results.upgrade import SCHEMA, upgraded

__all__ = ["SCHEMA", "RunDirectory", "RunResult", "load_run", "read_arrays", "read_history"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class RunResult:
    """A finished run: ``result.json`` as attributes, and the arrays of the other files.

    The recipe and the diagnostics are mappings, because their keys are the options and measures of plugins.

    Attributes:
        path: The run's directory.
        values: The content of its ``result.json``, in schema 2.
    """

    path: Path
    values: Mapping[str, Any]

    @cached_property
    def method(self) -> str:
        """Name of the method."""
        return self._read("method", str)

    @cached_property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self._read("dataset", str)

    @property
    def dataset_title(self) -> str:
        """The same with what its options choose: ``medmnist pneumoniamnist``, ``breast 400X``."""
        options = self.values.get("recipe", {}).get("dataset")
        name = str(options.get("name") or "") if isinstance(options, Mapping) else ""
        return " ".join(filter(None, (self.dataset, hidden_folder(name), self.values.get("data", {}).get("chosen"))))

    @cached_property
    def seed(self) -> int:
        """The seed of all random draws."""
        return self._read("seed", int)

    @cached_property
    def seconds(self) -> float:
        """Wall time of the call that finished the run."""
        return self._read("seconds", float)

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """Every setting as plain values: ``result.recipe["train"]["epochs"]``. See :doc:`/reference/settings`."""
        return {key: value for key, value in self._read("recipe", dict[str, Any]).items() if key != "hash"}

    @cached_property
    def data(self) -> RunData:
        """The images and their split."""
        return self._read("data", RunData)

    @cached_property
    def training(self) -> Training:
        """The pre-training."""
        return self._read("pretrain", Training)

    @cached_property
    def environment(self) -> Environment:
        """Software and hardware."""
        return self._read("environment", Environment)

    @cached_property
    def scores(self) -> Mapping[str, Scores]:
        """Scores on the test part by evaluator and metric: ``result.scores["knn"]["accuracy"].value``."""
        return read_scores(self.values, self.path / "result.json")

    @cached_property
    def baseline(self) -> Baseline | None:
        """The encoder before training, evaluated on the same images; ``None`` if the run trained nothing."""
        return read_baseline(self.values, self.path / "result.json")

    @cached_property
    def diagnostics(self) -> Mapping[str, Mapping[str, Any]]:
        """Measures of the features, rankings and observations by evaluator, as plain values."""
        return self._read("diagnostics", dict[str, dict[str, Any]]) if "diagnostics" in self.values else {}

    @cached_property
    def external(self) -> Mapping[str, ExternalScores]:
        """Scores on other hospitals' images, by name: ``result.external["leiden"].scores["knn"]``."""
        return read_external(self.values, self.path / "result.json")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the reader, the most serious first."""
        return self.data.warnings

    @property
    def evaluations(self) -> Mapping[str, Any]:
        """:attr:`scores` as plain values, for a page or JSON."""
        return self.values["evaluations"]  # type: ignore[no-any-return]

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Title, direction, unit and source of each metric, by name, in the order of tables."""
        return self.values["metrics"]  # type: ignore[no-any-return]

    @property
    def folder(self) -> str | None:
        """Folder of the images, from ``desk.json``; ``None``: this copy of the run does not know it."""
        known = read_desk(RunDirectory(self.path).desk).directory
        earlier = self.values["data"].get("directory", "")  # earlier versions wrote it into the result
        return known or (earlier if Path(earlier).is_absolute() else None)

    def _read(self, section: str, shape: type[_T]) -> _T:
        return read_section(self.values, section, shape, self.path / "result.json")

    def check(self) -> Self:
        """Read every section.

        Raises:
            CheckpointError: A section is missing or damaged; the message names the entry.
        """
        for name, attribute in vars(type(self)).items():
            if isinstance(attribute, cached_property):
                getattr(self, name)
        self._read("metrics", dict[str, MetricFacts])
        return self

    def predictions(self, part: Literal["test", "val"] = "test") -> RunPredictions:
        """Read the predictions of every evaluator for each image of a part.

        Args:
            part: ``test``, or ``val``: the labelled images of the validation part, on which thresholds are chosen.

        Raises:
            CheckpointError: ``predictions.npz`` or ``splits.json`` is missing or damaged, or the run is of a version
                that did not keep the predictions for the validation part.
        """
        return read_tested(RunDirectory(self.path).predictions, self.split(), self.data.target, part)

    def features(self) -> dict[str, PartFeatures]:
        """Read the frozen features by part: ``train``, ``val``, ``test``.

        Raises:
            CheckpointError: ``features.npz`` is missing or damaged.
        """
        return read_features(RunDirectory(self.path).features)

    def split(self) -> RunSplit:
        """Read the part and the group of each image.

        Raises:
            CheckpointError: ``splits.json`` is missing or damaged.
        """
        return read_split(RunDirectory(self.path).splits)

    def history(self) -> tuple[EpochRecord, ...]:
        """Read one record per epoch of pre-training; empty if nothing was trained.

        Raises:
            CheckpointError: ``history.jsonl`` is missing or damaged.
        """
        return read_epochs(RunDirectory(self.path).history) if self.training.epochs else ()

    def __rich__(self) -> Table:
        """Show the metrics as a table of rich."""
        head, *rows = metric_rows(self.metrics, self.evaluations)
        table = Table(*head, title=self._title)
        for row in rows:
            table.add_row(*row)
        return table

    def _repr_html_(self) -> str:
        """Show the metrics as a table of a notebook."""
        head, *rows = ([escape(cell) for cell in row] for row in metric_rows(self.metrics, self.evaluations))
        body = "".join(
            f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, *cells in rows
        )
        heads = "".join(f"<th>{cell}</th>" for cell in head)
        return (
            f"<table><caption>{escape(self._title)}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )

    @property
    def _title(self) -> str:
        positive = f", positive class: {self.data.positive}" if self.data.positive else ""
        return (
            f"{self.method} on {self.dataset_title}, {self.data.test} test images ({self.data.split} split){positive}"
        )


def load_run(path: Path | str) -> RunResult:
    """Read the result of a finished run.

    Args:
        path: The run's folder.

    Raises:
        CheckpointError: It has no finished run, or ``result.json`` is damaged; the message names the entry.
    """
    return RunDirectory(Path(path)).load()


class RunDirectory:
    """Names and guards the files of one run.

    Args:
        path: The directory; created at the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.desk = path / "desk.json"
        self.splits = path / "splits.json"
        self.history = path / "history.jsonl"
        self.encoder = path / "encoder.safetensors"
        self.adapter = path / "adapter.safetensors"
        self.state = path / "state.pt"
        self.previous_state = path / "state.previous.pt"  # used if state.pt is damaged
        self.features = path / "features.npz"
        self.predictions = path / "predictions.npz"
        self.heads = path / "heads.safetensors"
        self.diagnostics = path / "diagnostics.npz"
        self.external = path / "external.npz"
        self.pictures = path / "pictures.npz"
        self.result = path / "result.json"
        self.report = path / "report.html"

    def clear(self) -> None:
        """Remove the files of an earlier run in this directory, and no others."""
        for file in vars(self).values():
            if isinstance(file, Path) and file != self.path:
                file.unlink(missing_ok=True)

    def claim(self, recipe: Mapping[str, Any], paths: Iterable[str] = ()) -> None:
        """Write ``recipe.yaml`` with private names for its paths, or check that the existing one is the same.

        Args:
            recipe: Plain values.
            paths: Texts in it that are paths.

        Raises:
            CheckpointError: The directory belongs to another recipe, or cannot be written.
        """
        if self.recipe.exists():
            if self.read_recipe() == dict(recipe):
                return
            raise CheckpointError(
                f"{self.path} contains a run of another recipe. Its recipe.yaml differs from the current settings. "
                "Give another --output, or --force to start over here."
            )
        self.make()
        names: dict[str, str] = {}
        hidden = hidden_paths(recipe, paths, names)
        Desk(names=names).write(self.desk)
        text = yaml.safe_dump(hidden, sort_keys=False, allow_unicode=True)
        write_atomic(self.recipe, text.encode(errors="surrogateescape"))

    def remember(self, folder: Path) -> None:
        """Write into ``desk.json`` where the images are."""
        Desk(directory=str(folder), names=read_desk(self.desk).names).write(self.desk)

    def read_recipe(self) -> Any:
        """Read ``recipe.yaml``, with the paths that ``desk.json`` or the user's table knows.

        Raises:
            CheckpointError: It cannot be read.
        """
        return restored(self._read_yaml(), read_desk(self.desk))

    def abandon(self) -> None:
        """Remove ``recipe.yaml`` again if the run has written no other file."""
        files = (file for file in vars(self).values() if isinstance(file, Path))
        if not any(file.is_file() for file in files if file not in (self.recipe, self.desk)):
            self.recipe.unlink(missing_ok=True)
            self.desk.unlink(missing_ok=True)

    def make(self) -> None:
        """Create the directory.

        Raises:
            CheckpointError: It cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"the run directory {self.path} cannot be created. {error}. Give a writable folder with --output."
            ) from error

    def _read_yaml(self) -> Any:
        try:
            return read_yaml(self.recipe)
        except (OSError, ValueError) as error:
            cause = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.recipe} cannot be read. {cause}. Give --force to start over, or another --output."
            ) from error

    def finished(self) -> RunResult | None:
        """Return the result if the run is complete."""
        return self.load() if self.result.exists() else None

    def load(self) -> RunResult:
        """Read ``result.json``.

        Raises:
            CheckpointError: It is missing or damaged, or it has another schema.
        """
        try:
            values = read_json(self.result)
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{self.path} contains no finished run, because result.json is missing. "
                "Run the same command again to continue it."
            ) from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.result} cannot be read. {error}. Run again with --force.") from error
        try:
            known = upgraded(values) if isinstance(values, dict) else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{self.result} is damaged. It is a result of schema 1, but an entry is missing ({error}). "
                "Restore the file from a backup, or run again with --force."
            ) from error
        if known is None:
            raise CheckpointError(
                f"{self.result} has another schema. This version of medssl reads schema {SCHEMA} and schema 1. "
                "Use the version that wrote it, or run again with --force."
            )
        return RunResult(self.path, known).check()

    def finish(self, values: Mapping[str, Any]) -> RunResult:
        """Write ``result.json``, as the last step of a run."""
        write_atomic(self.result, json_text(values).encode())
        self.previous_state.unlink(missing_ok=True)
        remember_ids()
        return self.load()


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file of a run; empty if it is missing or damaged."""
    try:
        return read_npz(path)
    except (OSError, ValueError):
        return {}


def read_history(directory: RunDirectory) -> list[dict[str, Any]]:
    """Read ``history.jsonl``, one mapping per epoch; empty if it is missing or damaged."""
    try:
        return [dict(parse_json(line)) for line in read_text(directory.history).splitlines() if line]
    except (OSError, ValueError, TypeError):
        return []
