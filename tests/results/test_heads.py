from __future__ import annotations

import json

import pytest
import torch

from medssl.contracts import Kept
from medssl.errors import CheckpointError
from medssl.io.tensors import read_tensors, write_tensors
from medssl.results.heads import Head, Heads, read_heads, write_heads


@pytest.fixture
def heads() -> Heads:
    shared = torch.arange(6.0).reshape(2, 3)

    def head(k: int) -> Head:
        kept = Kept(tensors={"x": shared, "own": torch.tensor([float(k)])}, settings={"k": k, "list": [1, {"a": None}]})
        return Head(evaluator="near", needs="features", package="toy 1", kept=kept, example=torch.full((2, 2), 0.5))

    return Heads(
        by_name={"near": head(1), "near_k5": head(5)},
        left_out={"other": "it cannot"},
        encoder="abc",
        examples=torch.zeros(2, 3),
    )


def test_heads_are_read_as_they_were_written_and_shared_tensors_once(heads, tmp_path):
    file = tmp_path / "heads.safetensors"
    write_heads(file, heads)
    found = read_heads(file)
    assert list(found.by_name) == ["near", "near_k5"]
    assert (found.left_out, found.encoder) == ({"other": "it cannot"}, "abc")
    for name, head in heads.by_name.items():
        read = found.by_name[name]
        assert (read.evaluator, read.needs, read.package) == ("near", "features", "toy 1")
        assert read.kept.settings == head.kept.settings
        assert all(torch.equal(read.kept.tensors[key], value) for key, value in head.kept.tensors.items())
        assert torch.equal(read.example, head.example)
    tensors, _ = read_tensors(file)
    assert sum(value.shape == (2, 3) and value.sum() == 15 for value in tensors.values()) == 1
    write_heads(tmp_path / "again", heads)
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def test_a_missing_file_says_how_to_get_heads(tmp_path):
    with pytest.raises(CheckpointError, match=r"no fitted heads.*earlier version.*medssl evaluate"):
        read_heads(tmp_path / "heads.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header.update(format=2), "has the format 2"),
        (lambda header: header.update(more=1), "At 'more'"),
        (lambda header: header["heads"]["near"].pop("needs"), "At 'heads.near.needs'"),
        (lambda header: header["heads"]["near"]["tensors"].update(x="gone"), "lacks 'gone'"),
    ],
)
def test_a_damaged_or_other_file_is_refused(heads, tmp_path, change, words):
    file = tmp_path / "heads.safetensors"
    write_heads(file, heads)
    tensors, texts = read_tensors(file)
    header = json.loads(texts["medssl"])
    change(header)
    write_tensors(file, tensors, {"medssl": json.dumps(header)})
    with pytest.raises(CheckpointError, match=words):
        read_heads(file)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x80\x04\x95"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    file = tmp_path / "heads.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_heads(file)
