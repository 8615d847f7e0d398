"""What a run leaves in pictures.npz is read back as it was written."""

import dataclasses

import numpy as np
import pytest

from medssl.results.pictures import Card, FeatureMap, Neighbours, Pictures, _hidden, read_pictures, write_pictures

CARD = Card(id="a/1.png", label="ä class", note="called b, 90\u00a0%", right=False)
FULL = Pictures(
    plain={"a/1.png": b"\xff\xd8one", "b": b""},
    samples=(CARD,),
    views=((b"first", b"second"),),
    augmentation="crop_scale 0.2 to 1",
    neighbours=(Neighbours(query=CARD, found=(Card(id="b", label="c"),)),),
    mistakes={"knn": (CARD,), "linear": ()},
    sheet=b"sheet",
    side=64,
    columns=25,
    map=FeatureMap(how="t-SNE", ids=("x", "y"), label=(0, 3), xy=np.array([[0.0, 1.0], [2.0, -3.5]]), of=7),
)


def same(one, other):
    left, right = dataclasses.asdict(one), dataclasses.asdict(other)
    for values in (left, right):
        if values["map"]:
            values["map"]["xy"] = values["map"]["xy"].tolist()
    return left == right


@pytest.mark.parametrize("pictures", [FULL, Pictures()])
def test_everything_comes_back_with_private_names(tmp_path, pictures):
    file = tmp_path / "pictures.npz"
    write_pictures(file, pictures)
    found = read_pictures(file)
    assert same(found, _hidden(pictures))
    assert not {card.id for card in found.samples} & {card.id for card in pictures.samples}
    write_pictures(file, found)
    assert same(read_pictures(file), found), "a private name is not hidden again"


def test_none_and_damaged_ones_are_none(tmp_path):
    file = tmp_path / "pictures.npz"
    assert read_pictures(file) is None
    write_pictures(file, FULL)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert read_pictures(file) is None
    np.savez(file, index=np.frombuffer(b"{}", np.uint8), jpeg=np.empty(0, np.uint8), end=np.empty(0, int))
    assert read_pictures(file) is None
