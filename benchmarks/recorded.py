"""What finished runs and studies say, number by number, read from the files they leave.

All that ``benchmarks.same_numbers`` knows of names of files and fields stands in the three tables below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["RENAMED", "identity", "is_finished", "read_arrays", "read_run", "read_summary", "trained_epochs"]

# Where a run says what. A later edition's name goes behind the earlier one: the first that is there counts.
FILES: Mapping[str, tuple[str, ...]] = {
    "result": ("result.json",),
    "split": ("splits.json",),
    "history": ("history.jsonl",),
    "encoder": ("encoder.safetensors",),
    "features": ("features.npz",),
    "predictions": ("predictions.npz",),
    "diagnostics": ("diagnostics.npz",),
}
FIELDS: Mapping[str, tuple[str, ...]] = {
    "method": ("method",),
    "seed": ("seed",),
    "fold": ("data.fold.index",),
    "evaluations": ("evaluations",),
    "diagnostics": ("diagnostics",),
    "final loss": ("pretrain.final_loss",),
    "loss": ("loss",),  # of a line of the history
    "parts": ("parts",),  # of the split
    "comparisons": ("summary.comparisons",),
    "rows": ("summary.rows",),
}
# Beginnings of keys that a recording made earlier may have, and what they are called now.
RENAMED: Mapping[str, str] = {}


def read_run(folder: Path) -> dict[str, Any]:
    """Return every number of a finished run by name, and a checksum of what is too long to keep."""
    result = json.loads(_file(folder, "result").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"final loss": _field(result, "final loss")}
    for section in ("evaluations", "diagnostics"):
        found |= _numbers(_field(result, section), section)
    for part, ids in _field(json.loads(_file(folder, "split").read_text(encoding="utf-8")), "parts").items():
        found[f"split.{part}"] = _checksum("\n".join(sorted(ids)).encode())
    if (history := _file(folder, "history")).exists():
        for number, line in enumerate(history.read_text(encoding="utf-8").splitlines()):
            found[f"loss.{number}"] = _field(json.loads(line), "loss")
    found["encoder"] = _encoder(_file(folder, "encoder"))
    for kind in ("features", "predictions", "diagnostics"):
        if (file := _file(folder, kind)).exists():
            found |= read_arrays(file, f"array.{kind}")
    return found


def identity(folder: Path) -> str:
    """Name one run of a study; its directory's name is a hash, which may change with a recipe's shape."""
    result = json.loads(_file(folder, "result").read_text(encoding="utf-8"))
    fold = _field(result, "fold")
    return f"{_field(result, 'method')}, seed {_field(result, 'seed')}" + ("" if fold is None else f", fold {fold}")


def is_finished(folder: Path) -> bool:
    """Say whether a run's directory holds its result."""
    return _file(folder, "result").exists()


def trained_epochs(folder: Path) -> int:
    """Count the epochs that a run, finished or not, has behind it."""
    history = _file(folder, "history")
    return history.read_text(encoding="utf-8").count("\n") if history.exists() else 0


def read_summary(text: str) -> dict[str, Any]:
    """Return every number of a study's tables, and of its paired tests."""
    values = json.loads(text)
    found: dict[str, Any] = {}
    for row in _field(values, "rows"):
        found |= _numbers(row["scores"], f"row.{row['label']}")
    for test in _field(values, "comparisons") or ():
        name = f"test.{test['evaluator']}.{test['metric']}.{test['first']} - {test['second']}"
        found |= _numbers(test, name)
    return found


def read_arrays(file: Path, name: str) -> dict[str, str]:
    """Return a checksum of each array of an ``.npz`` file."""
    import numpy as np

    with np.load(file, allow_pickle=False) as arrays:
        return {f"{name}.{key}": _checksum(*_bytes(arrays[key])) for key in sorted(arrays)}


def _encoder(file: Path) -> str:
    """Return a checksum over the tensors by name; the file's header may say other things than it did."""
    from safetensors.numpy import load_file

    tensors = load_file(file)
    return _checksum(*(piece for name in sorted(tensors) for piece in (name.encode(), *_bytes(tensors[name]))))


def _bytes(array: Any) -> tuple[bytes, bytes]:
    return f"{array.dtype.str}{array.shape}".encode(), array.tobytes()


def _checksum(*pieces: bytes) -> str:
    return hashlib.sha256(b"\0".join(pieces)).hexdigest()


def _file(folder: Path, kind: str) -> Path:
    places = [folder / name for name in FILES[kind]]
    return next((place for place in places if place.exists()), places[0])


def _field(values: Mapping[str, Any], name: str) -> Any:
    """Look a field up under each of its names; ``None`` where it has no value."""
    for place in FIELDS[name]:
        found: Any = values
        for key in place.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            return found
    return None


def _numbers(values: Any, name: str) -> dict[str, Any]:
    """Flatten nested values; words are left out, since a sentence may be written anew."""
    if isinstance(values, Mapping):
        pairs: Iterator[tuple[Any, Any]] = iter(values.items())
    elif isinstance(values, Sequence) and not isinstance(values, str):
        pairs = iter(enumerate(values))
    else:
        return {} if isinstance(values, str) else {name: values}
    return {key: number for inner, value in pairs for key, number in _numbers(value, f"{name}.{inner}").items()}
