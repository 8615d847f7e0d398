"""Files of tensors in the safetensors format, which are written completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as format_safetensors
from torch import Tensor

from medssl.io.files import write_atomic
from medssl.io.limits import HEADER_BYTES, WEIGHT_BYTES
from medssl.io.reading import parse_json, read_content

__all__ = ["read_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors by name and a header of texts. Equal tensors and an equal header give byte-identical files.

    Raises:
        CheckpointError: It cannot be written; the previous file is unchanged.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomic(path, _with_sorted_header(format_safetensors(plain, metadata=dict(header))))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and header into memory of the processor.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a safetensors file.
    """
    content = read_content(path, WEIGHT_BYTES)
    length = int.from_bytes(content[:8], "little")
    if length > min(HEADER_BYTES, len(content) - 8):
        raise ValueError(f"its header claims {length:,} bytes, which do not fit into the file")
    try:
        header = parse_json(content[8 : 8 + length].decode())
        tensors = parse_safetensors(content)
    except SafetensorError as error:
        raise ValueError(f"{error!s:.300}") from error  # it quotes the header
    return dict(tensors), dict(header.get("__metadata__") or {})


def _with_sorted_header(content: bytes) -> bytes:
    """Sort the header's entries, because safetensors writes them in the random order of a hash table."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors
    return len(text).to_bytes(8, "little") + text + content[start:]
