"""Reuses the encoder of another run: runs that differ only in their evaluation share their pre-training."""

from __future__ import annotations

import json

from medssl.errors import CheckpointError
from medssl.io.files import read_header, write_atomic
from medssl.results.arrays import read_epochs
from medssl.results.directory import RunDirectory
from medssl.runs.context import RunContext
from medssl.runs.stages.pretraining import Trained
from medssl.train.encoder.checkpoint import read_encoder
from medssl.train.encoder.lora import read_adapter
from medssl.train.machine.device import choose_layout

__all__ = ["adopt", "find_pretrained"]


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
