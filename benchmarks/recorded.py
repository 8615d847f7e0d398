"""Read every number of finished runs and studies from their files.

The three tables below hold all names of files and fields that ``benchmarks.same_numbers`` uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["RENAMED", "identity", "is_finished", "read_arrays", "read_run", "read_summary", "trained_epochs"]

# Names of files and fields. Add the name of a later edition after the earlier one: the first that exists is read.
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
# Prefixes of keys in earlier recordings, and their names today.
RENAMED: Mapping[str, str] = {
    "array.predictions.label": "array.predictions.y",
    "array.diagnostics.label": "array.diagnostics.y",
    **{f"array.features.{part}_label": f"array.features.{part}_y" for part in ("train", "val", "test")},
}


def read_run(folder: Path) -> dict[str, Any]:
    """Return every number of a finished run by name, and a checksum of each array."""
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
    """Name one run of a study; its directory's name is a key, which may change with the format of recipes."""
    result = json.loads(_file(folder, "result").read_text(encoding="utf-8"))
    fold = _field(result, "fold")
    return f"{_field(result, 'method')}, seed {_field(result, 'seed')}" + ("" if fold is None else f", fold {fold}")


def is_finished(folder: Path) -> bool:
    """Tell whether a run's directory holds its result."""
    return _file(folder, "result").exists()


def trained_epochs(folder: Path) -> int:
    """Count the finished epochs of a run."""
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
    """Return a checksum of the tensors with their names; the file's header does not count, because it may change."""
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
    """Return the value of a field under the first of its names that has one; ``None`` if none has."""
    for place in FIELDS[name]:
        found: Any = values
        for key in place.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            return found
    return None


def _numbers(values: Any, name: str) -> dict[str, Any]:
    """Flatten nested values; texts are left out, because a sentence may be rewritten."""
    if isinstance(values, Mapping):
        pairs: Iterator[tuple[Any, Any]] = iter(values.items())
    elif isinstance(values, Sequence) and not isinstance(values, str):
        pairs = iter(enumerate(values))
    else:
        return {} if isinstance(values, str) else {name: values}
    return {key: number for inner, value in pairs for key, number in _numbers(value, f"{name}.{inner}").items()}
