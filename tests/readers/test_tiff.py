"""TIFF stacks with tifffile: axes, channels, numbers, and which files are left to Pillow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medssl.conformance.pytest import contract_tests
from medssl.errors import PluginError
from medssl.recipe import options
from medssl.tools import installed_readers
from medssl_readers.pillow import Pillow
from medssl_readers.tiff import Tiff

tifffile = pytest.importorskip("tifffile")

test_contract = contract_tests("reader", Tiff)

RNG = np.random.default_rng(0)


def reader(**values: Any) -> Tiff:
    return Tiff(options.build(Tiff.Config, values, "reader"))


def write(file: Path, values: np.ndarray, **how: Any) -> Path:
    tifffile.imwrite(file, values, **how)
    return file


def numbers(*shape: int, dtype: Any = np.uint16) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


@pytest.mark.parametrize("form", [{"ome": True}, {"imagej": True}])
def test_channels_become_channels_and_slices_become_frames(tmp_path, form):
    values = numbers(3, 5, 8, 6)  # Z, C, Y, X
    file = write(tmp_path / "a.tif", values, metadata={"axes": "ZCYX"}, **form)
    assert reader().frames(file) == 3
    for k in range(3):
        np.testing.assert_array_equal(reader().read(file, k, None), values[k].transpose(1, 2, 0))
    assert isinstance(installed_readers().reader_of(file), Tiff)


def test_samples_of_a_pixel_become_channels(tmp_path):
    values = numbers(8, 6, 7, dtype=np.uint8)
    for name, how in (("chunky", {"planarconfig": "contig"}), ("planar", {"planarconfig": "separate"})):
        data = values if name == "chunky" else values.transpose(2, 0, 1)
        file = write(tmp_path / f"{name}.tif", data, photometric="minisblack", **how)
        np.testing.assert_array_equal(reader().read(file, 0, None), values)
        assert isinstance(installed_readers().reader_of(file), Tiff)


def test_pages_without_a_name_are_frames_or_channels(tmp_path):
    values = numbers(4, 8, 6)
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        for page in values:
            writer.write(page, metadata=None, contiguous=False)
    assert reader().frames(file) == 4
    np.testing.assert_array_equal(reader().read(file, 2, None)[:, :, 0], values[2])
    np.testing.assert_array_equal(reader(pages="channels").read(file, 0, None), values.transpose(1, 2, 0))
    assert isinstance(installed_readers().reader_of(file), Pillow)


def test_white_is_always_the_largest_value(tmp_path):
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535)):
        values = numbers(8, 6, dtype=dtype)
        file = write(tmp_path / "a.tif", values, photometric="miniswhite")
        np.testing.assert_array_equal(reader().read(file, 0, None)[:, :, 0], white - values)


def test_other_numbers_are_mapped_to_16_bits(tmp_path):
    values = RNG.normal(size=(8, 6)).astype(np.float32)
    read = reader().read(write(tmp_path / "a.tif", values), 0, None)[:, :, 0]
    expected = (values - values.min()) / (values.max() - values.min()) * 65535
    np.testing.assert_allclose(read, expected, atol=0.51)
    signed = numbers(8, 6, dtype=np.int16) - 1000
    read = reader().read(write(tmp_path / "b.tif", signed.astype(np.int16)), 0, None)[:, :, 0]
    np.testing.assert_array_equal(read.astype(int) - 32768, signed)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "I;16"])
def test_usual_files_are_left_to_pillow(tmp_path, mode):
    Image.new(mode, (6, 8)).save(tmp_path / "a.tif")
    assert isinstance(installed_readers().reader_of(tmp_path / "a.tif"), Pillow)


def test_without_tifffile_the_message_names_the_extra(tmp_path, monkeypatch):
    file = write(tmp_path / "a.tif", numbers(8, 6, 7, dtype=np.uint8), photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(PluginError, match=r'this TIFF file needs the package tifffile.*"medssl\[tiff\]"'):
        installed_readers().ids("a.tif", file)


def test_an_empty_page_that_follows_itself_ends(tmp_path):
    """Found by a fuzz test: it never ended."""
    tifffile = pytest.importorskip("tifffile")
    file = tmp_path / "a.tif"
    Image.fromarray(np.zeros((8, 8), np.float32)).save(file)
    with tifffile.TiffFile(file) as opened:
        follows = opened.pages[0].offset + 2 + 12 * len(opened.pages[0].tags)
    content = bytearray(file.read_bytes())
    content[follows : follows + 4] = (follows - 2).to_bytes(4, "little")  # two zeros, so no tags, and then itself
    file.write_bytes(content)
    assert Tiff(Tiff.Config()).frames(file) == 1
