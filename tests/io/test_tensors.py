from __future__ import annotations

import pytest
import torch

from medssl.io.tensors import read_tensors, write_tensors


def test_tensors_and_header_are_read_as_written_and_files_are_equal(tmp_path):
    tensors = {"b": torch.arange(6).reshape(2, 3), "a": torch.tensor([0.5, float("-inf")])}
    header = {f"k{i}": str(i) for i in range(20)}
    write_tensors(tmp_path / "one", tensors, header)
    found, texts = read_tensors(tmp_path / "one")
    assert texts == header
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    write_tensors(tmp_path / "two", tensors, dict(reversed(header.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{]"])
def test_another_file_is_a_value_error(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        read_tensors(tmp_path / "other")
