"""Reads weights files: only plain tensors, within limits, and no code in a file is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from medssl.errors import CheckpointError
from medssl.io.limits import HEADER_BYTES, WEIGHT_BYTES
from medssl.io.reading import check_zip, open_regular, parse_json, read_content

__all__ = ["CHECKSUM", "parse_weights", "read_weights", "sum_of", "unwrap"]

CHECKSUM = "sha256"
"""Entry of a header: the checksum of the rest of the file."""

# the entries under which programs store a state dict; DINO: its teacher is the encoder that its paper evaluates
_WRAPPERS = ("state_dict", "model", "teacher", "student", "model_state_dict", "encoder")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict: ``.safetensors``, or a PyTorch file of plain tensors.

    Raises:
        CheckpointError: The file is missing, broken, or contains anything other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return parse_weights(read_content(path, WEIGHT_BYTES))[0]
        return _require_plain(unwrap(_load(path), path))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"the weights file {path} does not exist. It was given with --init or encoder.weights. Check the path."
        ) from error
    except _NotPlainError as error:
        raise CheckpointError(
            f"{path} is not a file of plain weights. It is broken, or contains Python objects, which could run code "
            "when loaded. Save model.state_dict() with torch.save or safetensors and use that file, or convert it with "
            "`medssl encoder convert` if you trust its source."
        ) from error
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"the weights file {path} cannot be read. {cause}. Copy or download it again.") from error


def parse_weights(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file, and compare it with the checksum in its header, if it has one.

    Args:
        content: The file.

    Returns:
        Tensors by name, and the entries of the header without the checksum.

    Raises:
        ValueError: It is damaged.
    """
    length = int.from_bytes(content[:8], "little")
    if length > min(HEADER_BYTES, len(content) - 8):
        raise ValueError(f"its header claims {length:,} bytes, which do not fit into the file")
    try:
        header = parse_json(content[8 : 8 + length].decode())
        tensors = dict(parse_safetensors(content))
    except SafetensorError as error:
        raise ValueError(f"{error!s:.300}") from error  # it quotes the header
    except Exception as error:  # torch, for a type of numbers that it does not have
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error
    entries = header.get("__metadata__") or {}
    if CHECKSUM in entries and entries[CHECKSUM] != sum_of(header, memoryview(content)[8 + length :]):
        raise ValueError("it is damaged: its checksum differs")
    return _require_plain(tensors), {str(name): str(text) for name, text in entries.items() if name != CHECKSUM}


def sum_of(header: Mapping[str, Any], data: bytes | memoryview) -> str:
    """Return the sha256 of a safetensors file: its header without the checksum itself, and the bytes of its tensors.

    Args:
        header: The header: shapes by tensor, and texts under ``__metadata__``.
        data: The bytes of the tensors.
    """
    entries = {name: text for name, text in (header.get("__metadata__") or {}).items() if name != CHECKSUM}
    found = hashlib.sha256(json.dumps({**header, "__metadata__": entries}, sort_keys=True).encode())
    found.update(data)
    return found.hexdigest()


class _NotPlainError(ValueError):
    """A PyTorch file cannot be read as plain data."""


def _load(path: Path) -> Any:
    """Read a PyTorch file of plain data; check the checksums of its members, if it has the usual form of a zip file."""
    with open_regular(path) as file:
        start = file.read(4)
        if start == b"PK\x03\x04":
            check_zip(path)
        elif not start:
            raise ValueError("It is empty")
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError as error:
            raise ValueError("it claims more than the memory holds") from error
        except Exception as error:  # the unpickler raises nearly any exception for a damaged file
            raise _NotPlainError(f"{type(error).__name__}: {error}") from error


def _require_plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Refuse tensors without numbers of their own: sparse, on no device, or one number repeated to any size.

    Raises:
        ValueError: A tensor is such, or all together are too large.
    """
    total = 0
    for name, value in tensors.items():
        stored = value.layout == torch.strided and value.device.type == "cpu"
        size = value.numel() * value.element_size()
        if not stored or size > value.untyped_storage().nbytes():
            raise ValueError(f"the tensor '{name:.80}' does not contain its own numbers")
        total += size
    if total > WEIGHT_BYTES:
        raise ValueError(f"its tensors have more than {WEIGHT_BYTES:,} bytes")
    return tensors


def unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in the content of a checkpoint.

    Raises:
        CheckpointError: There is none.
    """
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"{path} contains no state dict. Expected tensors by name. Save model.state_dict() and use that file."
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}
