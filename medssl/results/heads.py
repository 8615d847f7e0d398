"""The fitted heads of a run in ``heads.safetensors``, with which it predicts new images.

The file holds tensors and, in its header, texts. Nothing in it can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from medssl.contracts import Kept
from medssl.errors import CheckpointError
from medssl.io.reading import parse_json
from medssl.io.tensors import read_tensors, write_tensors
from medssl.results.arrays import cause_of

__all__ = ["Head", "Heads", "read_heads", "write_heads"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Head:
    """One fitted predictor.

    Attributes:
        evaluator: Name of the plugin that fitted it, and can restore it.
        needs: ``features`` or ``images``: the input of the predictor.
        package: Package and version of the plugin, for messages.
        kept: What the predictor returned to be kept.
        example: Its predictions ``(e, O)`` for the examples of the file; ``None`` for a predictor of images.
    """

    evaluator: str
    needs: Literal["features", "images"]
    package: str
    kept: Kept
    example: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Heads:
    """The fitted predictors of a run.

    Attributes:
        by_name: They, by the names under which the result reports them, in its order.
        left_out: By the same names, why a predictor of the result is not kept.
        encoder: Checksum of the run's ``encoder.safetensors``, whose features the heads take.
        examples: ``(e, F)``, features of some training images. A restored head must predict the same for them.
    """

    by_name: Mapping[str, Head]
    left_out: Mapping[str, str] = field(default_factory=dict)
    encoder: str
    examples: Tensor


class _Described(BaseModel):
    """A head in the file's header, without its tensors."""

    model_config = ConfigDict(extra="forbid", strict=True)
    evaluator: str
    needs: Literal["features", "images"]
    package: str
    settings: dict[str, Any]
    tensors: dict[str, str]
    example: str | None


class _Header(BaseModel):
    """The file's header; ``tensors`` and ``example`` of a head name tensors of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: int
    encoder: str
    left_out: dict[str, str]
    heads: dict[str, _Described]


def write_heads(path: Path, heads: Heads) -> None:
    """Write the heads; a tensor that several of them share is written once.

    Raises:
        CheckpointError: The file cannot be written.
    """
    tensors: dict[str, Tensor] = {"examples": heads.examples}
    written: dict[int, str] = {}
    described: dict[str, Any] = {}
    for name, head in heads.by_name.items():
        for key, tensor in head.kept.tensors.items():
            if id(tensor) not in written:
                written[id(tensor)] = f"{name}/{key}"
                tensors[f"{name}/{key}"] = tensor.clone()  # views of one memory are separate tensors in the file
        if head.example is not None:
            tensors[f"{name}/example predictions"] = head.example
        described[name] = {
            "evaluator": head.evaluator,
            "needs": head.needs,
            "package": head.package,
            "settings": dict(head.kept.settings),
            "tensors": {key: written[id(tensor)] for key, tensor in head.kept.tensors.items()},
            "example": None if head.example is None else f"{name}/example predictions",
        }
    header = {"format": _FORMAT, "encoder": heads.encoder, "left_out": dict(heads.left_out), "heads": described}
    write_tensors(path, tensors, {"medssl": json.dumps(header, allow_nan=False)})


def read_heads(path: Path) -> Heads:
    """Read the heads of a run.

    Args:
        path: ``heads.safetensors``.

    Raises:
        CheckpointError: The file is missing, damaged, or of another version.
    """
    try:
        tensors, texts = read_tensors(path)
        values = parse_json(texts["medssl"])
        if isinstance(values, dict) and values.get("format") != _FORMAT:
            raise CheckpointError(
                f"{path} has the format {values.get('format')}, and this version of medssl reads format {_FORMAT}. Use "
                "the version that wrote it, or run again with --force."
            )
        header = _Header.model_validate(values)
        by_name = {name: _head(each, tensors) for name, each in header.heads.items()}
        examples = tensors["examples"]
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} has no fitted heads, because heads.safetensors is missing. The run was made by an earlier "
            "version, or with --keep-heads none. Run it again with --force, or fit new heads on its encoder with "
            "`medssl evaluate`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read. {cause_of(error)}. Run again with --force.") from error
    return Heads(by_name=by_name, left_out=header.left_out, encoder=header.encoder, examples=examples)


def _head(described: _Described, tensors: Mapping[str, Tensor]) -> Head:
    kept = Kept(tensors={key: tensors[name] for key, name in described.tensors.items()}, settings=described.settings)
    return Head(
        evaluator=described.evaluator,
        needs=described.needs,
        package=described.package,
        kept=kept,
        example=None if described.example is None else tensors[described.example],
    )
