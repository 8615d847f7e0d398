"""Writes weights that only a program can read as safetensors. Only ``medssl encoder convert`` uses this module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from medssl.contracts import EncoderCard
from medssl.errors import CheckpointError
from medssl.tools import unwrap

__all__ = ["convert_pickle", "write_converted"]


def convert_pickle(path: Path, target: Path, card: EncoderCard | None, source: str) -> str:
    """Load a pickle without restrictions and write its state dict. This runs whatever program the pickle contains.

    Raises:
        CheckpointError: It cannot be read, or holds no state dict.
    """
    try:
        # the user has agreed to run what the file contains: `medssl encoder convert` asks first
        content = torch.load(path, map_location="cpu", weights_only=False)  # nosec B614
    except Exception as error:  # a pickle may raise anything
        raise CheckpointError(
            f"{path} cannot be read. {type(error).__name__}: {error}. Nothing was written. Download the file again."
        ) from error
    tensors = content if _is_plain(content) else unwrap(_plain(content), path)
    return write_converted(tensors, target, card, source)


def write_converted(tensors: Mapping[str, Tensor], target: Path, card: EncoderCard | None, source: str) -> str:
    """Write tensors with the card in the header.

    Returns:
        What was written, in words.
    """
    header = {"source": source}
    if card is not None:
        header |= {"preprocessing": json.dumps(card.preprocessing.described()), "forbids": json.dumps(card.forbids)}
        header |= {"licence": card.licence} if card.licence else {}
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        save_file(copies, target, metadata=header)
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written. {error}. Give another --output.") from error
    return f"{target}: {len(copies)} tensors of {source}"


def _is_plain(content: object) -> bool:
    return isinstance(content, Mapping) and all(isinstance(value, Tensor) for value in content.values())


def _plain(content: object) -> object:
    """Take the state dict of a module that was stored whole."""
    return content.state_dict() if isinstance(content, torch.nn.Module) else content
