"""Files of training states and encoders, which are written completely or not at all."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as format_safetensors

from medssl.errors import CheckpointError, OptionError
from medssl.io.files import write_atomic, write_atomic_with
from medssl.recipe.settings import EncoderSettings
from medssl.train.encoder.backbones import Encoder, build_encoder
from medssl.train.encoder.weights import load_weights

__all__ = ["load_state", "read_encoder", "save_encoder", "save_state"]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state: tensors, numbers, texts, and lists and dicts of them.

    Raises:
        CheckpointError: It cannot be written; the previous file is unchanged.
    """
    buffer = io.BytesIO()  # torch.save into a file reports a full disk as an unrelated RuntimeError
    torch.save(dict(state), buffer)
    write_atomic_with(path, lambda file: file.write(buffer.getbuffer()))


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state into CPU memory. Only plain data is accepted, so a file cannot run code.

    Raises:
        CheckpointError: The file is missing or broken.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise _unreadable(path, "training state", error) from error
    if not isinstance(state, dict):
        raise _unreadable(path, "training state", TypeError(f"it contains a {type(state).__name__}"))
    return state


def save_encoder(path: Path, encoder: Encoder, header: Mapping[str, str]) -> None:
    """Write an encoder as safetensors with timm's names, so that ``timm`` can load it.

    Equal weights and an equal header give byte-identical files.

    Args:
        path: The file.
        encoder: Its name, stem, image size, feature width and origin are written into the header automatically.
        header: Further header entries, for instance the normalisation and the recipe's hash.

    Raises:
        CheckpointError: It cannot be written; the previous file is unchanged.
    """
    entries = {
        "backbone": encoder.backbone_name,
        "stem": encoder.stem,
        "image_size": str(encoder.image_size),
        "feature_dim": str(encoder.feature_dim),
        **{f"init_{name}": value for name, value in encoder.origin.items()},
        **header,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in encoder.network.state_dict().items()}
    write_atomic(path, _with_sorted_header(format_safetensors(tensors, metadata=entries)))


def _with_sorted_header(content: bytes) -> bytes:
    """Sort the header's entries, because safetensors writes them in the random order of a hash table."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors
    return len(text).to_bytes(8, "little") + text + content[start:]


def read_encoder(path: Path | str) -> tuple[Encoder, dict[str, str]]:
    """Build the encoder that :func:`save_encoder` wrote.

    Args:
        path: The ``encoder.safetensors`` of a run.

    Returns:
        The encoder, on the CPU and in evaluation mode, and the file's header.

    Raises:
        CheckpointError: The file is missing, broken, not written by medssl, or does not fit the installed timm.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        tensors = parse_safetensors(content)
        header: dict[str, str] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        settings = EncoderSettings(backbone=header["backbone"], stem=header["stem"])  # type: ignore[arg-type]  # checked there
        encoder = build_encoder(settings, int(header["image_size"]), seed=0)
    except KeyError as error:
        raise CheckpointError(
            f"{path} was not written by medssl. Its header has no entry {error}. To use plain timm weights, give "
            "encoder.weights and the name of the backbone."
        ) from error
    except (SafetensorError, OSError, ValueError, OptionError) as error:
        raise _unreadable(path, "encoder", error) from error
    load_weights(encoder.network, tensors, path)
    encoder.origin = {name.removeprefix("init_"): text for name, text in header.items() if name.startswith("init_")}
    return encoder.eval(), header


def _unreadable(path: Path, what: str, error: Exception) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(
            f"the {what} {path} does not exist. A run writes it when that stage is finished. Check the path."
        )
    cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return CheckpointError(
        f"the {what} {path} cannot be read. {cause}. It is damaged or was written by another program. Delete it and "
        "run again, or start over with --force."
    )
