"""Damaged and hostile texts and arrays: an OSError or a ValueError, soon and without much memory."""

from __future__ import annotations

import io
import os
import socket
import time
import zipfile

import numpy as np
import pytest
import torch

from medssl.io import limits
from medssl.io.reading import (
    check_zip,
    open_regular,
    parse_json,
    parse_yaml,
    read_content,
    read_json,
    read_npz,
    read_text,
    read_yaml,
)


def bomb(levels: int) -> str:
    lines = ["- &a [x,x,x,x,x,x,x,x,x,x]"]
    for before, name in zip("abcdefghi"[:levels], "bcdefghij", strict=False):
        lines.append(f"- &{name} [{','.join([f'*{before}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(9), "more than 50,000 values"),
        ("&a [*a]", "contains itself"),
        ("a: &a {b: {c: *a}}", "contains itself"),
        ("[" * 70 + "]" * 70, "deep"),
        ("[" * 5000, "deep|nesting depth"),
        ("{a: " * 5000, "deep"),
        ("x: " + "1:" * 5000 + "1", "unquoted value of more than 4,096"),
        ("x: " + "9" * 4400, "unquoted value"),
        ("x: 2020-99-99", "month|cannot be read"),
        ("x: [", "expected"),
        ("? [a]\n: b", "unhashable|cannot be read"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("\x00", "special characters|not allowed|control characters"),
        ("%YAML 9.9\n--- x", "version|incompatible"),
    ],
)
def test_hostile_yaml_is_a_value_error_at_once(text: str, said: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)
    assert time.perf_counter() - start < 5


def test_yaml_with_some_aliases_is_read() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}}") == {"a": [1, 2], "b": [1, 2], "c": {"d": 1}}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("{", "not JSON"),
        ("[" * 100 + "]" * 100, "64 deep"),
        ("[" * 200_000, "deep"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "deep"),
        ("9" * 5000, "digit"),
    ],
)
def test_hostile_json_is_a_value_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(text)


def test_json_of_the_usual_depth_is_read() -> None:
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


def test_special_files_are_never_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    own = socket.socket(socket.AF_UNIX)
    own.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name, said in (("pipe", "named pipe"), ("socket", "socket"), ("link", "device"), ("folder", "folder")):
        with pytest.raises(OSError, match=said):
            open_regular(tmp_path / name)
    own.close()
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_file_above_its_limit_is_not_read(tmp_path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(ValueError, match="8,589,934,592 bytes"):
        read_content(tmp_path / "sparse", 2**20)
    (tmp_path / "text").write_bytes(b"a\xff")
    with pytest.raises(ValueError, match=r"not text in UTF-8 \(byte 1\)"):
        read_text(tmp_path / "text")
    (tmp_path / "long.yaml").write_text("x" * (limits.YAML_BYTES + 1))
    with pytest.raises(ValueError, match="are the limit"):
        read_yaml(tmp_path / "long.yaml")
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


# ------------------------------------------------------------------------------------------------------------- arrays


def test_arrays_come_back(tmp_path) -> None:
    arrays = {"x": np.arange(6.0).reshape(2, 3), "id": np.array(["a", "bc"]), "none": np.empty((0, 2))}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_npz(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def npy(shape: str, content: bytes = b"") -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy("(1000000000, 1000000000)"), "claims 8,000,000,000,000,000,000 bytes"),
        (npy("(-5,)"), "claims|negative|damaged"),
        (npy("(90,)", b"12345678"), "claims 720 bytes|damaged|cannot"),
        (npy("(1,)", b"1234567812345678"), "more bytes than its shape"),
        (npy("(" + "1," * 4000 + ")"), "damaged"),
        (b"hello", "damaged"),
        (b"", "damaged"),
        (npy("__import__('os').system('true')"), "damaged"),
    ],
)
def test_an_array_that_claims_too_much_is_refused(tmp_path, content: bytes, said: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(ValueError, match=said):
        read_npz(tmp_path / "a.npz")


def test_python_objects_are_never_read(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([print, None], dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        read_npz(tmp_path / "a.npz")


def test_a_flipped_bit_in_the_numbers_is_found(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(1000.0))
    torch.save({"x": torch.arange(1000.0)}, tmp_path / "a.pt")
    check_zip(tmp_path / "a.pt")
    for name, read in (("a.npz", read_npz), ("a.pt", check_zip)):
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            read(tmp_path / name)


def test_a_file_that_is_no_zip_file_is_a_value_error(tmp_path) -> None:
    for content in (b"", b"abc", b"PK\x03\x04" * 100, bytes(range(256)) * 4):
        (tmp_path / "a").write_bytes(content)
        for read in (read_npz, check_zip):
            with pytest.raises(ValueError, match="damaged"):
                read(tmp_path / "a")


def test_names_that_occur_twice_are_refused(tmp_path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(1))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", buffer.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", buffer.getvalue())
    with pytest.raises(ValueError, match="a name twice"):
        read_npz(tmp_path / "a.npz")
