"""Pillow's reader: the usual formats, pages of TIFF files, and white that is zero."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from medssl.conformance.pytest import contract_tests
from medssl.errors import DataError, OptionError
from medssl.recipe import options
from medssl.tools import count_pages, installed_readers, read_image
from medssl_datasets.folder import Folder
from medssl_readers.pillow import Pillow

test_contract = contract_tests("reader", Pillow)

RNG = np.random.default_rng(0)
PAGES = RNG.integers(0, 65536, (5, 6, 4), dtype=np.uint16)


def write_stack(file, pages=PAGES):
    images = [Image.fromarray(page) for page in pages]
    images[0].save(file, save_all=True, append_images=images[1:])
    return file


def set_tag(file, number: int, value: int, page: int = 0) -> None:
    """Change a 16-bit tag of a page of a little-endian TIFF file in place."""
    data = bytearray(file.read_bytes())
    at = struct.unpack("<I", data[4:8])[0]
    for _ in range(page):
        count = struct.unpack("<H", data[at : at + 2])[0]
        at = struct.unpack("<I", data[at + 2 + 12 * count : at + 6 + 12 * count])[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack("<H", data[at : at + 2])[0], 12):
        if struct.unpack("<H", data[entry : entry + 2])[0] == number:
            data[entry + 2 : entry + 12] = struct.pack("<HIHH", 3, 1, value, 0)
            file.write_bytes(data)
            return
    raise AssertionError(f"the page has no tag {number}")


def test_each_page_is_a_frame(tmp_path):
    file = write_stack(tmp_path / "a.tif")
    reader = Pillow(Pillow.Config())
    assert (reader.frames(file), list(reader.chosen(file))) == (5, [0, 1, 2, 3, 4])
    for frame, page in enumerate(PAGES):
        np.testing.assert_array_equal(reader.read(file, frame, None)[:, :, 0], page)
    assert list(Pillow(Pillow.Config(frames="middle")).chosen(file)) == [2]
    with pytest.raises(DataError, match=r"a\.tif cannot be used as an image: it has no page 5"):
        read_image(file, frame=5)


def test_reduced_copies_and_masks_among_the_pages_are_left_out(tmp_path):
    file = tmp_path / "a.tif"
    images = [Image.fromarray(page) for page in PAGES]
    for number, image in enumerate(images):
        image.encoderinfo = {"tiffinfo": {254: 1 if number == 1 else 4 if number == 2 else 0}}
    images[0].save(file, save_all=True, append_images=images[1:], tiffinfo={254: 0})
    assert count_pages(file) == 3
    np.testing.assert_array_equal(read_image(file, frame=1)[:, :, 0], PAGES[3])


def test_other_formats_have_one_frame_and_are_not_opened_for_it(tmp_path):
    assert count_pages(tmp_path / "missing.png") == 1
    with pytest.raises(DataError, match=r"missing\.tif cannot be read as an image: the file does not exist"):
        count_pages(tmp_path / "missing.tif")


def test_white_that_is_zero_is_inverted_at_16_bits_as_at_8(tmp_path):
    stored = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    for name, pixels in (("8.tif", stored), ("16.tif", stored.astype(np.uint16) * 257)):
        Image.fromarray(pixels).save(tmp_path / name)
        set_tag(tmp_path / name, 262, 0)
    np.testing.assert_array_equal(read_image(tmp_path / "8.tif")[:, :, 0], 255 - stored)
    np.testing.assert_array_equal(read_image(tmp_path / "16.tif")[:, :, 0], (255 - stored).astype(np.uint16) * 257)


def test_a_wrong_choice_of_frames_is_found_before_any_file():
    with pytest.raises(OptionError, match="is not a choice of frames"):
        options.build(Pillow.Config, {"frames": "first"}, "reader 'pillow'")


def test_pages_become_samples_of_one_group_and_are_mentioned(tmp_path, caplog):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_stack(tmp_path / name / "1.tif")
        Image.fromarray(PAGES[0]).save(tmp_path / name / "2.png")
    dataset = Folder(Folder.Config(), tmp_path)
    listing = dataset.index()
    assert [(sample.id, sample.group) for sample in listing.samples[:6]] == [
        *((f"a/1.tif#{frame}", "a/1.tif") for frame in range(5)),
        ("a/2.png", None),
    ]
    assert (listing.group_kind, listing.default_split) == ("file", "grouped")
    assert "2 files have several frames or pages: a/1.tif, b/1.tif. They give 10 images" in caplog.text
    np.testing.assert_array_equal(dataset.read(listing.samples[3])[:, :, 0], PAGES[3])
    assert dataset.path(listing.samples[3]) == tmp_path / "a/1.tif"


def test_readers_of_a_dataset_are_the_installed_ones_unless_set(tmp_path):
    dataset = Folder(Folder.Config(), tmp_path)
    assert dataset.readers is installed_readers()
    assert {".png", ".tif"} <= dataset.readers.suffixes
