"""The keys of what an encoder has seen: the same image in another form has the same key, another image has not."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.data.audit.looks import LENGTH, look_keys, seen_looks
from medssl.data.audit.overlap import find_overlap
from medssl.data.audit.perceptual import thumbnails
from medssl.data.audit.seen import Seen, SeenImages, file_key, pixel_key, read_seen
from medssl.data.store.store import open_store
from medssl.errors import CheckpointError
from medssl.tools.images import read_image


class Pictures(Dataset):
    """Arrays with groups."""

    def __init__(self, images, groups=None):
        super().__init__(self.Config(), Path())
        self.images, self.groups = images, groups or [None] * len(images)

    def index(self):
        samples = [Sample(id=str(i), y=i % 2, group=group) for i, group in enumerate(self.groups)]
        return Listing(samples=samples, target=Classes(("a", "b")))

    def read(self, sample):
        return self.images[int(sample.id)]


def blobs(seed, side=80):
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 200, (12, 12), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))[:, :, None]


def keys(images, groups, cache):
    dataset = Pictures(images, groups)
    store = open_store(dataset, dataset.index().samples, view_size=64, cache=cache)
    return SeenImages.of("train", dataset, dataset.index().samples, store, cache)


def overlap(stage, images, groups, cache):
    dataset = Pictures(images, groups)
    samples = dataset.index().samples
    store = open_store(dataset, samples, view_size=64, cache=cache)
    judged = [sample.id for sample in samples]
    return find_overlap(Seen((stage,)), dataset, samples, store, judged=judged, cache=cache)


def test_a_pixel_key_does_not_depend_on_what_else_is_in_the_store():
    grey = blobs(0)
    colour, fine = np.repeat(grey, 3, axis=2), grey.astype(np.uint16) * 257
    assert pixel_key(grey) == pixel_key(colour) == pixel_key(fine)
    changed = grey.copy()
    changed[0, 0] += 1
    assert pixel_key(changed) != pixel_key(grey)
    assert pixel_key(grey.reshape(40, 160, 1)) != pixel_key(grey)
    assert file_key(b"x" * 32) != file_key(b"y" * 32)


def test_the_text_holds_everything_and_repeats_no_stage(tmp_path):
    stage = keys([blobs(i) for i in range(5)], ["p", "p", "q", None, None], tmp_path)
    (read,) = Seen.from_text(Seen((stage, stage), known=False).to_text()).stages
    assert (read.images, read.contents, read.groups) == (5, stage.contents, stage.groups)
    np.testing.assert_array_equal(read.looks, stage.looks)
    assert len(read.groups) == 2
    assert len(Seen((stage,)).to_text()) < 5 * 100 + 250


def test_equal_names_of_groups_have_other_keys_in_other_collections(tmp_path):
    one, other = (keys([blobs(i) for i in range(k, k + 3)], ["p"] * 3, tmp_path) for k in (0, 10))
    assert one.group_key("p") in one.groups
    assert one.group_key("p") not in other.groups


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "known": true, "stages": [{}]}'])
def test_damaged_keys_are_an_error(tmp_path, text):
    header = json.dumps({"__metadata__": {"seen": text}}).encode()
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_seen(file)


def test_copies_siblings_and_strangers_are_told_apart(tmp_path):
    stage = keys([blobs(i) for i in range(6)], ["p", "p", "q", "q", "r", "r"], tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(blobs(1)[:, :, 0]).save(buffer, "JPEG", quality=75)
    jpeg = np.asarray(Image.open(buffer))[:, :, None]
    mirrored = np.ascontiguousarray(blobs(3)[:, ::-1])
    images = [blobs(0), jpeg, mirrored, blobs(50), blobs(51), blobs(52)]
    found = overlap(stage, images, [None, None, None, "p", "s", None], tmp_path)
    assert found.equal == {"0"}
    assert found.near == {"1", "2"}
    assert found.group == {"3"}
    assert not found.named


def test_names_alone_are_no_proof(tmp_path):
    stage = keys([blobs(i) for i in range(4)], ["p", "p", "q", "q"], tmp_path)
    found = overlap(stage, [blobs(60), blobs(61)], ["p", "z"], tmp_path)
    assert not found.either
    assert found.named == {"0"}


def test_siblings_of_a_copy_are_known_whatever_the_groups_are_called(tmp_path):
    stage = keys([blobs(i) for i in range(4)], None, tmp_path)
    assert overlap(stage, [blobs(0), blobs(70), blobs(71)], ["x", "x", "y"], tmp_path).group == {"1"}


def test_an_image_without_details_looks_like_no_other():
    flat = np.full((2, 64, 64), 200, np.float32)
    assert not look_keys(flat).any()
    assert not seen_looks(flat, np.zeros((0, LENGTH), np.uint8)).any()


def test_keys_of_looks_stay_as_they_are():
    """Encoders that lie on disks hold them: another key for the same image would be a silent loss."""
    thumb = np.add.outer(np.arange(64) ** 2 % 97, np.arange(64) * 3 % 89).astype(np.float32)[None]
    pinned = np.frombuffer(bytes.fromhex("9cf289c90f80f285d42cb726a681483f52144eb7da2a42b214445d73d7952cea"), np.uint8)
    assert np.unpackbits(look_keys(thumb)[0] ^ pinned).sum() <= 1  # a sum near zero may be rounded to either side


@pytest.mark.slow
def test_different_patients_are_not_flagged_on_real_images(real_data, tmp_path):
    """2,000 blood cells against 2,000 of other patients: four million pairs, each in eight positions."""
    folder = real_data("malaria")
    files = sorted((folder / "cell_images").rglob("*.png"))
    patients = sorted({file.name.split("P")[0].split("N")[0].split("T")[0] for file in files})
    first = set(patients[::2])
    halves = [[], []]
    for file in files:
        halves[file.name.split("P")[0].split("N")[0].split("T")[0] not in first].append(read_image(file))
    known = keys(halves[0], None, tmp_path)
    dataset = Pictures(halves[1])
    store = open_store(dataset, dataset.index().samples, view_size=64, cache=tmp_path)
    assert len(known.looks) > 1500
    assert not seen_looks(thumbnails(store), known.looks).any()
    again = thumbnails(
        open_store(Pictures(halves[0][:100]), Pictures(halves[0][:100]).index().samples, view_size=64, cache=tmp_path)
    )
    assert seen_looks(again, known.looks).all()
