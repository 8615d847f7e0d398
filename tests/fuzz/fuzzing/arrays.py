"""Weights and arrays: safetensors, training states and ``.npz`` files, with headers that lie and bytes changed."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.example import example_run
from fuzzing.mutating import NUMBERS, ODD, damage, vary
from fuzzing.watching import watched

USES = (
    "torch",
    "medssl.train.encoder.checkpoint",
    "medssl.results.heads",
    "medssl.results.pictures",
    "medssl_encoders.file",
    "medssl_datasets.medmnist",
)
"""Modules that the cases use."""


def check(rng: random.Random, folder: Path) -> None:
    """Write a file of weights or arrays and read it as medssl does.

    Raises:
        MedsslError: medssl refuses it.
    """
    rng.choice(_WAYS)(rng, folder)


@functools.cache
def _file(name: str) -> bytes:
    return (example_run() / name).read_bytes()


# --------------------------------------------------------------------------------------------------------- safetensors


def _safetensors(rng: random.Random, content: bytes) -> bytes:
    """Change the header as plain values, the header as bytes, or the file."""
    way = rng.random()
    if way < 0.25:
        return damage(rng, content)
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    if way < 0.4:
        header = damage(rng, header)
    else:
        values = json.loads(header)
        if way < 0.75 and "__metadata__" in values:
            entries = values["__metadata__"]
            entries.pop("sha256", None)
            name = rng.choice(list(entries))
            odd = rng.choice(ODD)(rng)
            entries[name] = odd if rng.random() < 0.2 else json.dumps(odd) if rng.random() < 0.5 else str(odd)
            if rng.random() < 0.2:
                entries["backbone"] = rng.choice(
                    ("vit_giant_patch14_224", "hf-hub:a/b", "local-dir:/etc", "", "resnet152")
                )
        elif way < 0.95:
            values.get("__metadata__", {}).pop("sha256", None)
            name = rng.choice([each for each in values if each != "__metadata__"])
            values[name] = vary(rng, values[name])
        else:
            values = vary(rng, values)
        header = json.dumps(values).encode()
        header += b" " * (-len(header) % 8)
    size = len(header) if rng.random() < 0.95 else rng.choice(NUMBERS) % 2**64
    return size.to_bytes(8, "little") + header + data


def _encoder(rng: random.Random, folder: Path) -> None:
    from medssl.data.audit.seen import read_seen
    from medssl.train.encoder.checkpoint import preprocessing_of, read_encoder

    path = folder / "encoder.safetensors"
    path.write_bytes(_safetensors(rng, _file("encoder.safetensors")))
    with watched():
        _, header = read_encoder(path)
        preprocessing_of(header)
        read_seen(path)


def _weights(rng: random.Random, folder: Path) -> None:
    from medssl_encoders.file import File

    path = folder / rng.choice(("a.safetensors", "a.safetensors", "a.pt", "a.pth"))
    path.write_bytes(_safetensors(rng, _file("encoder.safetensors")) if path.suffix == ".safetensors" else _pt(rng))
    with watched():
        own = rng.choice(({}, {"backbone": "test_resnet", "stem": "standard"}))
        source = File.of(weights=path, **own)
        assert source.card
        source.build(16)


def _heads(rng: random.Random, folder: Path) -> None:
    from medssl.results.heads import read_heads

    path = folder / "heads.safetensors"
    path.write_bytes(_safetensors(rng, _file("heads.safetensors")))
    with watched():
        read_heads(path)


# ------------------------------------------------------------------------------------------------------------- pickles


class _Code:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("true",)


@functools.cache
def _state_file() -> bytes:
    import torch

    state = {"epoch": 3, "weights": {"a": torch.ones(4, 5), "b": torch.zeros(7)}, "list": [1, "x", 2.5], "none": None}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _pt(rng: random.Random) -> bytes:
    """Return a file of ``torch.save`` with its bytes, its pickle or its members changed."""
    content = _state_file()
    way = rng.random()
    if way < 0.35:
        return damage(rng, content)
    if way < 0.45:
        odd = rng.choice(
            (_Code(), {"a": _Code()}, [1], 5, {"a": 1}, {1: 2}, set(), np.ones(3), {"state_dict": {"state_dict": {}}})
        )
        return pickle.dumps(odd, protocol=rng.choice((0, 2, 4)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            member = old.read(info)
            if info.filename.endswith("data.pkl"):
                if way < 0.55:
                    member = pickle.dumps({"a": _Code()}, protocol=2)
                elif way < 0.8:
                    member = damage(rng, member)
            elif rng.random() < 0.2:
                member = rng.choice((b"", member * 2, member[:-1], b"\xff" * len(member)))
            if rng.random() < 0.05:
                continue
            new.writestr(info.filename, member, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return buffer.getvalue()


def _state(rng: random.Random, folder: Path) -> None:
    from medssl.tools import read_weights
    from medssl.train.encoder.checkpoint import load_state

    path = folder / "state.pt"
    path.write_bytes(_pt(rng))
    with watched():
        if rng.random() < 0.5:
            load_state(path)
        else:
            read_weights(path)


# -------------------------------------------------------------------------------------------------------------- arrays


def _npy(rng: random.Random) -> bytes:
    """Return an array whose header may lie."""
    shapes = (
        "(3, 4)",
        "(3,)",
        "()",
        "(0, 5)",
        "(-1,)",
        "(1099511627776, 1099511627776)",
        "(99999999999,)",
        "(3.5,)",
        "(True,)",
        "'x'",
        "(3",
        "(3, 4, 5, 6)",
    )
    kinds = (
        "'<f4'",
        "'<f8'",
        "'|O'",
        "'<U9999'",
        "'<M8[ns]'",
        "'|V5'",
        "[('a', '<i4')]",
        "'x'",
        "'<i8'",
        "'|b1'",
        "'<c16'",
        "'|S0'",
    )
    shape = rng.choice(shapes) if rng.random() < 0.5 else "(3, 4)"
    kind = rng.choice(kinds) if rng.random() < 0.5 else "'<f4'"
    header = f"{{'descr': {kind}, 'fortran_order': {rng.choice(('False', 'True', 'None'))}, 'shape': {shape}, }}"
    if rng.random() < 0.1:
        header = rng.choice(
            ("", "__import__('os').system('true')", "{" * 3000, "[" * 100_000, header * 3, "9" * 20_000)
        )
    text = header.encode() + b"\n"
    body = rng.choice((np.arange(12, dtype="<f4").tobytes(), b"", pickle.dumps(_Code()), rng.randbytes(500)))
    if rng.random() < 0.7:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", min(len(text), 65535)) + text + body
    return b"\x93NUMPY" + bytes([rng.choice((2, 3, 9)), 0]) + struct.pack("<I", len(text)) + text + body


def _npz(rng: random.Random, content: bytes) -> bytes:
    """Change the bytes, or the members, of an ``.npz`` file."""
    if rng.random() < 0.3:
        return damage(rng, content)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        names = old.namelist()
        for name in names:
            way = rng.random()
            member = old.read(name)
            if way < 0.15:
                member = _npy(rng)
            elif way < 0.2:
                member = damage(rng, member)
            elif way < 0.23:
                continue
            elif way < 0.27:
                member = old.read(rng.choice(names))
            shown = name if way < 0.97 else rng.choice(("x", "../x.npy", name.upper(), "b", "a/"))
            new.writestr(shown, member, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return buffer.getvalue()


def _results(rng: random.Random, folder: Path) -> None:
    from medssl.io.reading import read_npz
    from medssl.results.arrays import read_features, read_split, read_tested
    from medssl.results.directory import load_run
    from medssl.results.pictures import read_pictures

    name = rng.choice(("features.npz", "predictions.npz", "predictions.npz", "pictures.npz"))
    path = folder / name
    path.write_bytes(_npz(rng, _file(name)))
    run = example_run()
    with watched():
        if name == "features.npz":
            read_features(path)
        elif name == "pictures.npz":
            read_pictures(path)
        else:
            split, target = read_split(run / "splits.json"), load_run(run).data.target
            read_tested(path, split, target, rng.choice(("test", "val")))
        with contextlib.suppress(ValueError):  # what it promises for a damaged file
            read_npz(path)


@functools.cache
def _medmnist_file() -> bytes:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 8), ("val", 4), ("test", 4)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 2, (count, 1), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _medmnist(rng: random.Random, folder: Path) -> None:
    from medssl.recipe import options
    from medssl_datasets.medmnist import MedMNIST

    content = _npz(rng, _medmnist_file())
    (folder / "pneumoniamnist.npz").write_bytes(content if rng.random() < 0.9 else _npy(rng))
    with watched():
        dataset = MedMNIST(options.build(MedMNIST.Config, {}, "dataset"), folder, {})
        listing = dataset.index()
        for sample in listing.samples[:: max(1, len(listing.samples) // 5)]:
            image = dataset.read(sample)
            assert (image.ndim, image.dtype) == (3, np.uint8), f"an image of {image.dtype} {image.shape}"


_WAYS: tuple[Callable[[random.Random, Path], None], ...] = (
    *(_encoder, _encoder, _weights, _heads, _state, _state),
    *(_results, _results, _results, _medmnist),
)
