"""Files of training states and encoders, which are written completely or not at all."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as format_safetensors

from medssl.catalog import load_catalog
from medssl.contracts import HALF, IMAGENET, EncoderPlugin, Preprocessing
from medssl.contracts.kinds import ENCODER
from medssl.errors import CheckpointError, OptionError, PluginError
from medssl.io.files import write_atomic, write_atomic_with
from medssl.io.limits import WEIGHT_BYTES
from medssl.io.reading import check_zip, parse_json, read_content
from medssl.recipe import choose
from medssl.tools.weights import CHECKSUM, parse_weights, sum_of
from medssl.train.encoder.building import Encoder, build_encoder, count_parameters
from medssl.train.encoder.lora import LORA

__all__ = [
    "DamagedError",
    "load_state",
    "preprocessing_of",
    "read_encoder",
    "save_adapter",
    "save_encoder",
    "save_state",
]

_MOST_CHANNELS = 1024
_LARGEST_IMAGE = 8192  # side in pixels, as in the settings of views
_SLACK = 10_000_000  # parameters that a network may have beside those of a file, for instance another classifier


class DamagedError(CheckpointError):
    """A file cannot be read, because it is missing or damaged."""


def save_state(path: Path, state: Mapping[str, Any], *, keep: Path | None = None) -> None:
    """Write a training state: tensors, numbers, texts, and lists and dicts of them.

    Args:
        path: The file.
        state: Its content.
        keep: The new name of the file that was at ``path`` before; ``None``: it is replaced.

    Raises:
        CheckpointError: It cannot be written; the file at ``path`` is unchanged.
    """
    buffer = io.BytesIO()  # torch.save into a file reports a full disk as an unrelated RuntimeError
    torch.save(dict(state), buffer)
    write_atomic_with(path, lambda file: file.write(buffer.getbuffer()), keep=keep, private=True)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state into CPU memory. Only plain data is accepted, so a file cannot run code.

    Raises:
        DamagedError: The file is missing or broken.
    """
    try:
        check_zip(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises nearly any exception for a damaged file
        raise _unreadable(path, "training state", error) from error
    if not isinstance(state, dict):
        raise _unreadable(path, "training state", TypeError(f"it contains a {type(state).__name__}"))
    return state


def save_encoder(path: Path, encoder: Encoder, header: Mapping[str, str]) -> None:
    """Write an encoder as safetensors with timm's names, so that ``timm`` can load it.

    Equal weights and an equal header give byte-identical files.

    Args:
        path: The file.
        encoder: Its name, image size, feature width and origin are written into the header automatically.
        header: Further header entries, for instance the plugin with its options and the recipe's hash.

    Raises:
        CheckpointError: It cannot be written; the previous file is unchanged.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in encoder.network.state_dict().items()}
    write_atomic(path, _with_sorted_header(format_safetensors(tensors, metadata=_entries(encoder, header))))


def save_adapter(path: Path, encoder: Encoder, header: Mapping[str, str]) -> None:
    """Write the adapters of an encoder alone, with the checksum of the weights beside which they were trained.

    Args:
        path: The file.
        encoder: An encoder whose adapters were trained and merged.
        header: As for :func:`save_encoder`.

    Raises:
        CheckpointError: It cannot be written; the previous file is unchanged.
    """
    adapter = encoder.adapter
    if adapter is None:
        return
    entries = {**_entries(encoder, header), LORA: adapter.to_text()}
    write_atomic(path, _with_sorted_header(format_safetensors(dict(adapter.tensors), metadata=entries)))


def _entries(encoder: Encoder, header: Mapping[str, str]) -> dict[str, str]:
    return {
        "backbone": encoder.backbone_name,
        **({"stem": str(encoder.rebuild["stem"])} if "stem" in encoder.rebuild else {}),
        "image_size": str(encoder.image_size),
        "feature_dim": str(encoder.feature_dim),
        **({} if encoder.in_channels == 3 else {"in_channels": str(encoder.in_channels)}),
        **{f"init_{name}": value for name, value in encoder.origin.items()},
        **header,
    }


def _with_sorted_header(content: bytes) -> bytes:
    """Add a checksum, and sort the header's entries: safetensors writes them in the random order of a hash table."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"][CHECKSUM] = sum_of(header, content[start:])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors
    return len(text).to_bytes(8, "little") + text + content[start:]


def read_encoder(path: Path | str, base: Path | str | None = None) -> tuple[Encoder, dict[str, str]]:
    """Build the encoder that :func:`save_encoder` wrote.

    Args:
        path: The ``encoder.safetensors`` of a run, or its ``adapter.safetensors``.
        base: The file of the weights that adapters were trained beside; ``None``: a file in their folder, or the
            published weights.

    Returns:
        The encoder, on the CPU and in evaluation mode, and the file's header.

    Raises:
        CheckpointError: The file is missing, broken, not written by medssl, or does not fit the installed timm.
    """
    path = Path(path)
    try:
        tensors, header = parse_weights(read_content(path, WEIGHT_BYTES))
        if LORA in header:
            return _read_adapted(path, header, base)
        source = _source_of(header)
        _check_header(header, source, sum(value.numel() for value in tensors.values()))
        encoder = build_encoder(source, int(header["image_size"]), 0, int(header.get("in_channels", "3")))
    except KeyError as error:
        raise CheckpointError(
            f"{path} was not written by medssl. Its header has no entry {error}. To use plain timm weights, give "
            "encoder.weights and the name of the backbone."
        ) from error
    except (OSError, ValueError, TypeError, OptionError, PluginError) as error:
        raise _unreadable(path, ENCODER.name, error) from error
    try:
        encoder.network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights of {path} do not fit the network that it names. {' '.join(str(error).split()):.300} Install "
            "the versions of the libraries that it was written with."
        ) from error
    encoder.origin = {name.removeprefix("init_"): text for name, text in header.items() if name.startswith("init_")}
    return encoder.eval(), header


def _read_adapted(path: Path, header: dict[str, str], base: Path | str | None) -> tuple[Encoder, dict[str, str]]:
    """Build an encoder from its base weights and the adapters of a file."""
    given = {} if base is None else {"weights": str(base)}
    choice = choose(ENCODER.name, str(path), given, load_catalog())
    source: EncoderPlugin = choice.plugin(choice.config, {})
    channels = int(header.get("in_channels", "3"))
    return build_encoder(source, int(header["image_size"]), 0, channels).eval(), header


def _check_header(header: Mapping[str, str], source: EncoderPlugin, numbers: int) -> None:
    """Check the entries that a network and its images are built from.

    Args:
        header: The entries.
        source: The plugin that they name.
        numbers: Number of numbers in the file's tensors.

    Raises:
        ValueError: An entry is out of range, or names a network that is much larger than the file.
    """
    size = int(header["image_size"])
    if not 1 <= size <= _LARGEST_IMAGE:
        raise ValueError(f"its header names an image size of {size}")
    if not 1 <= (channels := int(header.get("in_channels", "3"))) <= _MOST_CHANNELS:
        raise ValueError(f"its header names {channels} channels")
    if header.get("stem", "standard") not in ("small", "standard"):
        raise ValueError(f"its header names a stem '{header['stem']:.40}'")
    if header.get("normalisation", "half") not in ("imagenet", "half"):
        raise ValueError(f"its header names a normalisation '{header['normalisation']:.40}'")
    window = parse_json(header.get("window", "[0, 1]"))
    if not (len(window) == 2 and all(math.isfinite(end) for end in window) and window[0] < window[1]):
        raise ValueError(f"its header names a window {window!r:.40}")
    layers = parse_json(header.get("float32_layers", "[]"))
    if not (isinstance(layers, list) and all(isinstance(name, str) for name in layers)):
        raise ValueError("its header names no list of float32_layers")
    wanted = count_parameters(source, size)
    if wanted is not None and wanted > 4 * numbers + _SLACK:
        raise ValueError(f"its header names {header['backbone']:.60} of {wanted:,} parameters, but it has {numbers:,}")


def preprocessing_of(header: Mapping[str, str]) -> Preprocessing:
    """Return how the encoder of a file expects images.

    Raises:
        CheckpointError: The header was changed by another program.
    """
    if "preprocessing" not in header:  # a file of an earlier version
        return HALF if header.get("normalisation") == "half" else IMAGENET
    try:
        values = parse_json(header["preprocessing"])
        return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"the header of an encoder file is damaged. Its entry 'preprocessing' cannot be read: {error}. Use the "
            "file that the run wrote."
        ) from error


def _source_of(header: Mapping[str, str]) -> EncoderPlugin:
    """Create the plugin that an encoder file names, for random weights.

    Raises:
        KeyError: The file names none.
    """
    catalog = load_catalog()
    if ENCODER.name in header:
        options = dict(parse_json(header[ENCODER.name]))
        name = str(options.pop("plugin"))
    else:  # a file of an earlier version
        name, options = catalog.default(ENCODER.name), {key: header[key] for key in ("backbone", "stem")}
    choice = choose(ENCODER.name, name, {**options, "weights": None}, catalog)
    source: EncoderPlugin = choice.plugin(choice.config, {})
    return source


def _unreadable(path: Path, what: str, error: Exception) -> DamagedError:
    if isinstance(error, FileNotFoundError):
        return DamagedError(
            f"the {what} {path} does not exist. A run writes it when that stage is finished. Check the path."
        )
    cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return DamagedError(
        f"the {what} {path} cannot be read. {cause}. It is damaged or was written by another program. Delete it and "
        "run again, or start over with --force."
    )
