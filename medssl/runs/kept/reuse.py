"""Reuses the encoder of another run: runs that differ only in their evaluation share their pre-training."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from medssl.errors import CheckpointError
from medssl.io.files import read_header, write_atomic
from medssl.io.leases import holding
from medssl.io.locks import BusyError
from medssl.recipe import Recipe
from medssl.results.arrays import read_epochs
from medssl.results.directory import RunDirectory
from medssl.runs.context import RunContext
from medssl.runs.stages.pretraining import Trained
from medssl.train.encoder.checkpoint import read_encoder
from medssl.train.encoder.lora import read_adapter
from medssl.train.machine.device import choose_layout

__all__ = ["adopt", "find_pretrained", "lease_of_pretraining", "turn_to_train"]

_PAUSE = 2.0  # seconds between two looks at an encoder that another process trains


def lease_of_pretraining(recipe: Recipe, output: Path) -> Path:
    """Return the folder whose lease the process has that trains the encoder of a recipe.

    Args:
        recipe: The recipe.
        output: Folder of the run directories.
    """
    return output / f".pretraining-{recipe.pretraining_hash}"


@contextlib.contextmanager
def turn_to_train(context: RunContext, *, patient: bool) -> Iterator[None]:
    """Let one process at a time train an encoder; those that come later find it finished.

    Args:
        context: Of the run.
        patient: Whether to wait for another process.

    Raises:
        BusyError: Another process trains it, and this one does not wait.
    """
    with contextlib.ExitStack() as stack:
        if context.recipe.method.plugin.trains:
            folder = lease_of_pretraining(context.recipe, context.directory.path.parent)
            said = False
            while not _taken(stack, folder, patient):
                if not said:
                    context.listener.note("waiting for the encoder, which another process is training")
                said = True
                time.sleep(_PAUSE)
        yield


def _taken(stack: contextlib.ExitStack, folder: Path, patient: bool) -> bool:
    try:
        folder.mkdir(exist_ok=True)
        stack.enter_context(holding(folder))
    except BusyError:
        if not patient:
            raise
        return False
    except (OSError, CheckpointError) as error:
        if folder.parent.is_dir() and not folder.exists():
            return False  # another process has finished meanwhile, and has removed it
        raise CheckpointError(f"{folder} cannot be written. {error}. Give another --output.") from error
    return True


def find_pretrained(directory: RunDirectory, fingerprint: str) -> RunDirectory | None:
    """Search the neighbouring run directories for a run that finished training the same encoder.

    Args:
        directory: Directory of the run that needs the encoder.
        fingerprint: Key of everything that determines the encoder: settings, split, pixels.
    """
    for path in sorted(directory.path.parent.glob("*/encoder.safetensors")):
        other = RunDirectory(path.parent)
        finished = path.parent != directory.path and other.history.exists()
        if finished and read_header(path).get("pretraining") == fingerprint:
            return other
    return None


def adopt(context: RunContext, source: RunDirectory) -> Trained:
    """Copy encoder and history of another run.

    Raises:
        CheckpointError: The other run's files are damaged.
    """
    encoder, header = read_encoder(source.encoder)
    device = context.machine.device
    choose_layout(device).apply(encoder, device)
    try:
        history = read_epochs(source.history)
    except CheckpointError as error:
        raise CheckpointError(
            f"the encoder of {source.path.name} cannot be reused. {error} Or give another --output."
        ) from error
    write_atomic(context.directory.history, "".join(record.to_json() for record in history).encode())
    encoder.float32_layers = tuple(json.loads(header.get("float32_layers", "[]")))
    if source.adapter.exists():
        encoder.adapter = read_adapter(source.adapter)
    return Trained(encoder, history, source=source, about=json.loads(header.get("about", "{}")))
