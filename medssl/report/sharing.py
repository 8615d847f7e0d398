"""A copy of finished runs that may leave the house: results, encoders and pages without images.

:doc:`/explanation/what-leaves-the-house` describes both zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medssl.catalog import Catalog
from medssl.contracts import Sample
from medssl.errors import CheckpointError
from medssl.io.files import write_atomic
from medssl.io.json_text import json_text
from medssl.report.page import page_of
from medssl.results.directory import RunDirectory, RunResult
from medssl.results.privacy import Veil, hidden_folder, hidden_paths, named_run

__all__ = ["LEFT_OUT", "SharedRun", "share_run"]

#: Files of a run that stay at the desk, and why.
LEFT_OUT = {
    "desk.json": "paths on this computer",
    "splits.json": "names of all images and groups",
    "features.npz": "names and features of all images",
    "predictions.npz": "names and predictions of the test images",
    "diagnostics.npz": "names and measures of the test images",
    "external.npz": "names and predictions of the other images",
    "pictures.npz": "pictures of patients",
    "state.pt": "the state of the training; needed only to continue it",
    "state.previous.pt": "the state before it",
    "worker.log": "messages that may name files",
}
_COPIED = ("encoder.safetensors", "adapter.safetensors", "history.jsonl")
_NOT_HIDDEN = ("recipe", "metrics", "plugins", "method", "dataset", "schema")
README = """This folder holds a run of medssl in a form that may be passed on.

result.json           scores, settings and warnings
report.html           the same as a page, without images
recipe.yaml           the settings; private names stand in the place of paths
history.jsonl         one line per epoch of the training
encoder.safetensors   the weights, with hashes of the training images and of the names of their groups

Images, groups, files and folders have private names such as patient-3f9a2c71e0b4. Only the user who made the run can
look them up. A person who has the encoder and an image can tell whether it was trained on that image. A person who has
the encoder and guesses the name of a group can check the guess.
"""


@dataclass(frozen=True, kw_only=True)
class SharedRun:
    """What :func:`share_run` did.

    Attributes:
        folder: The copy.
        files: Names of the files in it.
        left_out: By name, the files of the run that are not in it, and why.
        others: Number of other files in the folder of the run; they were not copied.
    """

    folder: Path
    files: tuple[str, ...]
    left_out: dict[str, str]
    others: int


def share_run(result: RunResult, output: Path, catalog: Catalog) -> SharedRun:
    """Copy what may leave the house of a finished run.

    Args:
        result: The run.
        output: Folder for the copy; it gets a folder of its own in it.
        catalog: As for the page of the run.

    Raises:
        CheckpointError: The folder exists and is not empty, or cannot be written.
    """
    folder = output / named_run(result.path.resolve())
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} already exists and is not empty. Give another --output, or remove it.")
    RunDirectory(folder).make()
    source, values = RunDirectory(result.path), _hidden_values(result)
    shared = RunResult(folder, values)
    recipe = {key: value for key, value in values["recipe"].items() if key != "hash"}
    texts = {
        "result.json": json_text(values),
        "recipe.yaml": yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
        "README.txt": README,
    }
    for name, text in texts.items():
        write_atomic(folder / name, text.encode(errors="backslashreplace"))
    for name in _COPIED:
        if (source.path / name).is_file():
            write_atomic(folder / name, (source.path / name).read_bytes())
    page = page_of(shared, folder, catalog, images=False)  # its figures are drawn from the copied history
    write_atomic(folder / "report.html", page.encode(errors="backslashreplace"))
    copied = tuple(sorted(file.name for file in folder.iterdir()))
    there = {file.name for file in source.path.iterdir()}
    return SharedRun(
        folder=folder,
        files=copied,
        left_out={name: why for name, why in LEFT_OUT.items() if name in there},
        others=len(there - set(copied) - set(LEFT_OUT)),
    )


def _hidden_values(result: RunResult) -> dict[str, Any]:
    """Hide identifiers in a result; those of an earlier version have ids and paths in them."""
    veil = _veil(result)
    values = dict(result.values)
    target, folder = values["data"]["target"], values["data"].get("directory", "")
    hidden = {key: value if key in _NOT_HIDDEN else veil.values(value) for key, value in values.items()}
    hidden["data"] = {**hidden["data"], "target": target, "directory": hidden_folder(folder)}
    return {**hidden, "recipe": hidden_paths(values["recipe"], (), {})}


def _veil(result: RunResult) -> Veil:
    try:
        split = result.split()
    except CheckpointError:  # the run has only its first zone
        samples: Sequence[Sample] = ()
    else:
        every = (*split.train, *split.val, *split.test, *split.unused)
        samples = [Sample(id=name, group=split.groups.get(name)) for name in every]
    root = Path(result.folder or result.path)
    kind = result.data.group_kind or "group"
    return Veil(samples, frozenset(result.data.target.strata_names), root, kind)
