"""The store against reading every file anew."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.data.store import building
from medssl.data.store.contents import _sources
from medssl.data.store.decoding import decode_all
from medssl.data.store.store import default_cache, open_store
from medssl.data.store.windows import own_window
from medssl.errors import DataError, PluginError
from medssl.io.machines import machine
from medssl.tools import read_image
from medssl.world.membership import cores


def listing_of(ids):
    return Listing(samples=[Sample(id=name) for name in ids], target=Classes(("only",)))


class Files(Dataset):
    """Every file below the root, and a record of what was read."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        flavour: str = "plain"

    def __init__(self, root, **options):
        super().__init__(self.Config(**options), root)
        self.reads = []

    def index(self):
        paths = sorted(p for p in self.root.rglob("*") if p.is_file())
        return listing_of(p.relative_to(self.root).as_posix() for p in paths)

    def path(self, sample):
        return self.root / sample.id

    def read(self, sample):
        self.reads.append(sample.id)
        return read_image(self.root / sample.id)


class Arrays(Dataset):
    """Images without files."""

    def __init__(self, images, fingerprint=None):
        super().__init__(self.Config(), Path("nowhere"))
        self.images, self.text, self.reads = images, fingerprint, 0

    def index(self):
        return listing_of(self.images)

    def fingerprint(self):
        return self.text

    def read(self, sample):
        self.reads += 1
        return self.images[sample.id]


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def save(folder, **images):
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in images.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return Files(folder)


def settle(folder):
    """Date every file back, as if it had been there for long."""
    for path in folder.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))


def store_of(dataset, cache, **options):
    return open_store(dataset, dataset.index().samples, cache=cache, **{"view_size": 64} | options)


def folders(cache):
    return sorted(path.name for path in (cache / "stores").iterdir())


# ------------------------------------------------------------------------------------------------------ what is stored


def test_images_of_one_size_are_one_array_in_the_samples_order(tmp_path):
    images = {name: noise(9, 7, 3, seed=i) for i, name in enumerate("abcdefgh")}
    dataset = save(tmp_path / "set", **images)
    samples = dataset.index().samples[::-1]
    store = open_store(dataset, samples, view_size=64, cache=tmp_path / "cache")
    assert store.ids == tuple(sample.id for sample in samples)
    assert (len(store), store.channels, store.dtype, store.uniform) == (8, 3, np.uint8, True)
    assert (store.reduced, store.reused, store.skipped) == (False, False, ())
    assert store.nbytes == 8 * 9 * 7 * 3
    np.testing.assert_array_equal(store.array, np.stack([images[name] for name in "hgfedcba"]))
    np.testing.assert_array_equal(store.image(2), images["f"])
    np.testing.assert_array_equal(store.shapes, [[9, 7]] * 8)
    assert store.shapes.dtype == np.int32


def test_images_of_several_sizes_keep_them(tmp_path):
    images = {name: noise(5 + i, 20 - i, 3, seed=i) for i, name in enumerate("abcdef")}
    store = store_of(save(tmp_path / "set", **images), tmp_path / "cache")
    assert not store.uniform
    for i, name in enumerate("abcdef"):
        np.testing.assert_array_equal(store.image(i), images[name])
    with pytest.raises(ValueError, match="several sizes"):
        _ = store.array


def test_pixels_are_read_only_views_on_the_file(tmp_path):
    store = store_of(save(tmp_path / "set", a=noise(8, 8), b=noise(8, 8)), tmp_path / "cache")
    for view in (store.image(0), store.array, store.pixels):
        assert np.shares_memory(view, store.pixels)
        with pytest.raises(ValueError, match="read-only"):
            view[:] = 0


@pytest.mark.parametrize("colour_at", [None, (0, 0), (7, 5), (3, 2)])
def test_equal_channels_become_one_only_if_they_are_so_in_every_pixel_of_every_image(tmp_path, colour_at):
    grey, same = noise(8, 6), np.repeat(noise(8, 6, 1, seed=1), 3, axis=2)
    if colour_at:
        same[colour_at][2] ^= 1
    store = store_of(save(tmp_path / "set", grey=grey, same=same), tmp_path / "cache")
    assert store.channels == (3 if colour_at else 1)
    np.testing.assert_array_equal(store.image(0), np.broadcast_to(grey[:, :, None], (8, 6, store.channels)))
    np.testing.assert_array_equal(store.image(1), same[:, :, : store.channels])


def test_a_single_colour_pixel_off_the_coarse_grid_of_a_large_image_counts(tmp_path):
    same = np.repeat(noise(50, 40, 1), 3, axis=2)
    same[33, 17, 0] ^= 128
    store = store_of(save(tmp_path / "set", same=same), tmp_path / "cache")
    np.testing.assert_array_equal(store.image(0), same)


def test_one_16_bit_image_makes_all_16_bits_with_white_as_white(tmp_path):
    deep, flat, colour = noise(4, 5, dtype=np.uint16), noise(4, 5), noise(4, 5, 3)
    store = store_of(save(tmp_path / "set", a=flat, b=deep, c=colour), tmp_path / "cache")
    assert (store.dtype, store.channels) == (np.uint16, 3)
    np.testing.assert_array_equal(store.image(0)[:, :, 1], flat.astype(int) * 257)
    np.testing.assert_array_equal(store.image(1)[:, :, 2], deep)
    np.testing.assert_array_equal(store.image(2), colour.astype(int) * 257)


def test_fine_images_get_a_window_of_their_own_and_8_bits_among_them_the_whole_range(tmp_path):
    twelve, low = noise(40, 50, 1, dtype=np.uint16) // 16, noise(40, 50, 1, dtype=np.uint16) // 256
    dataset = save(tmp_path / "set", a=twelve[..., 0], b=low[..., 0], c=noise(40, 50))
    store = store_of(dataset, tmp_path / "cache")
    assert store.levels.tolist() == [list(own_window(twelve)), list(own_window(low)), [0, 65535]]
    again = store_of(dataset, tmp_path / "cache")
    assert again.reused
    np.testing.assert_array_equal(again.levels, store.levels)


def test_a_store_of_8_bits_notes_no_windows(tmp_path):
    assert store_of(Arrays({"a": noise(9, 9, 3)}), tmp_path).levels is None


def test_a_fine_store_that_an_earlier_version_made_without_windows_is_built_again(tmp_path):
    dataset = save(tmp_path / "set", a=noise(9, 9, dtype=np.uint16))
    expected = store_of(dataset, tmp_path / "cache").levels
    header = next((tmp_path / "cache" / "stores").glob("*/header.json"))
    values = json.loads(header.read_text())
    del values["levels"]
    header.write_text(json.dumps(values))
    rebuilt = store_of(dataset, tmp_path / "cache")
    assert not rebuilt.reused
    np.testing.assert_array_equal(rebuilt.levels, expected)


def test_big_endian_pixels_are_accepted(tmp_path):
    pixels = noise(4, 4, 1, dtype=np.uint16)
    store = store_of(Arrays({"a": pixels.astype(">u2")}), tmp_path)
    np.testing.assert_array_equal(store.image(0), pixels)


# ----------------------------------------------------------------------------------------------------------- reduction


@pytest.mark.parametrize(("shape", "expected"), [((100, 60), (67, 40)), ((41, 300), (40, 293)), ((40, 90), (40, 90))])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_more_than_twice_the_view_is_reduced_as_pillow_does_it(tmp_path, shape, expected, channels):
    pixels = noise(*shape, channels)
    store = store_of(Arrays({"a": pixels}, "one"), tmp_path, view_size=20)
    small = Image.fromarray(pixels.squeeze()).resize(expected[::-1], Image.Resampling.BILINEAR)
    assert store.reduced == (shape != expected)
    np.testing.assert_allclose(store.image(0).squeeze().astype(int), np.asarray(small), atol=channels // 3)


@pytest.mark.parametrize("change", [lambda a: a[::-1, :, ::-1], lambda a: np.broadcast_to(a[:, :, :1], a.shape)])
def test_an_image_in_any_memory_layout_is_reduced(tmp_path, change):
    pixels = change(noise(80, 60, 3))
    pixels.flags.writeable = False
    store = store_of(Arrays({"a": pixels}, "one"), tmp_path, view_size=10)
    small = np.asarray(Image.fromarray(pixels.copy()).resize((20, 27), Image.Resampling.BILINEAR), int)
    np.testing.assert_allclose(store.image(0), small[:, :, : store.channels], atol=1)


def test_a_dataset_is_asked_for_no_more_pixels_than_are_kept(tmp_path):
    asked = []

    class Frugal(Arrays):
        def read_reduced(self, sample, short_side):
            asked.append(short_side)
            return self.images[sample.id][::2, ::2]

    pixels = noise(200, 160, 1)
    store = store_of(Frugal({"a": pixels}, "one"), tmp_path, view_size=20)
    small = Image.fromarray(pixels[::2, ::2, 0]).resize((40, 50), Image.Resampling.BILINEAR)
    assert (asked, store.reduced) == ([40], True)
    np.testing.assert_array_equal(store.image(0).squeeze(), np.asarray(small))


def test_a_reduction_of_16_bits_equals_that_of_8_bits_within_rounding(tmp_path):
    pixels = noise(90, 70, 3)
    eight = store_of(Arrays({"a": pixels}), tmp_path, view_size=10).image(0)
    sixteen = store_of(Arrays({"a": pixels.astype(np.uint16) * 257}), tmp_path, view_size=10).image(0)
    assert sixteen.shape == eight.shape == (26, 20, 3)
    np.testing.assert_allclose(sixteen / 257, eight, atol=1)


def test_a_store_without_reductions_serves_every_view_that_needs_none(tmp_path):
    dataset = save(tmp_path / "set", a=noise(40, 50, 3), b=noise(30, 90, 3))
    first = store_of(dataset, tmp_path / "cache", view_size=25)
    assert not first.reduced
    for view, reused in ((20, True), (64, True), (19, False)):
        dataset.reads.clear()
        store = store_of(dataset, tmp_path / "cache", view_size=view)
        assert (store.reused, bool(dataset.reads)) == (reused, not reused)
        assert (store.key == first.key) == reused
    assert store.reduced
    assert store_of(dataset, tmp_path / "cache", view_size=19).reused
    assert not store_of(dataset, tmp_path / "cache", view_size=18).reused


# --------------------------------------------------------------------------------------------------------------- reuse


def test_the_second_time_no_image_is_decoded(tmp_path):
    dataset = save(tmp_path / "set", a=noise(8, 8), b=noise(9, 8, 3))
    first = store_of(dataset, tmp_path / "cache")
    again = save(tmp_path / "set")
    second = store_of(again, tmp_path / "cache")
    assert again.reads == []
    assert second.reused
    assert (first.ids, first.key, first.built_seconds) == (second.ids, second.key, second.built_seconds)
    np.testing.assert_array_equal(first.pixels, second.pixels)


def test_a_moved_and_touched_copy_finds_the_store(tmp_path):
    store_of(save(tmp_path / "set", a=noise(8, 8)), tmp_path / "cache")
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    settle(tmp_path / "copy")
    assert store_of(Files(tmp_path / "copy"), tmp_path / "cache").reused


def test_files_are_not_even_opened_again_while_size_and_time_are_the_same(tmp_path, monkeypatch):
    dataset = save(tmp_path / "set", a=noise(8, 8))
    settle(tmp_path / "set")
    store_of(dataset, tmp_path / "cache")
    monkeypatch.setattr("medssl.data.store.contents._hash", lambda path: pytest.fail(f"read {path}"))
    assert store_of(dataset, tmp_path / "cache").reused


@pytest.mark.parametrize("settled", [True, False])
def test_changed_pixels_are_noticed(tmp_path, settled):
    dataset = save(tmp_path / "set", a=noise(8, 8), b=noise(8, 8, seed=1))
    if settled:
        settle(tmp_path / "set")
    first = store_of(dataset, tmp_path / "cache")
    save(tmp_path / "set", b=noise(8, 8, seed=2))
    second = store_of(dataset, tmp_path / "cache")
    assert not second.reused
    assert second.key != first.key
    np.testing.assert_array_equal(second.image(1)[:, :, 0], noise(8, 8, seed=2))


def test_a_change_within_one_tick_of_the_clock_is_noticed(tmp_path):
    image = tmp_path / "set" / "a.bmp"
    image.parent.mkdir()
    Image.fromarray(noise(8, 8)).save(image)
    new = time.time() + 3600  # new for the whole test, however long a loaded machine takes
    os.utime(image, (new, new))
    stamp = image.stat()
    store_of(Files(image.parent), tmp_path / "cache")
    Image.fromarray(noise(8, 8, seed=1)).save(image)
    os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert image.stat().st_size == stamp.st_size
    np.testing.assert_array_equal(
        store_of(Files(image.parent), tmp_path / "cache").image(0)[:, :, 0], noise(8, 8, seed=1)
    )


def test_another_selection_order_or_option_is_another_store(tmp_path):
    dataset = save(tmp_path / "set", a=noise(8, 8), b=noise(8, 8, seed=1))
    samples = dataset.index().samples
    keys = {store_of(dataset, tmp_path / "cache").key}
    keys.add(open_store(dataset, samples[:1], view_size=64, cache=tmp_path / "cache").key)
    keys.add(open_store(dataset, samples[::-1], view_size=64, cache=tmp_path / "cache").key)
    keys.add(store_of(Files(tmp_path / "set", flavour="windowed"), tmp_path / "cache").key)
    assert len(keys) == 4


def test_an_edited_reader_does_not_meet_the_old_pixels_and_replaces_them(tmp_path):
    code = tmp_path / "mine.py"
    template = """
from pathlib import Path
import numpy as np
from medssl.contracts import Classes, Dataset, Listing, Sample
class Mine(Dataset):
    def index(self): return Listing(samples=[Sample(id="x")], target=Classes(("a",)))
    def fingerprint(self): return "same"
    def read(self, sample): return np.full((4, 4, 1), VALUE, np.uint8)
"""
    keys = set()
    for value in (1, 2):
        code.write_text(template.replace("VALUE", str(value)))
        spec = importlib.util.spec_from_file_location("mine", code)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        dataset = module.Mine(None, tmp_path)
        store = store_of(dataset, tmp_path / "cache")
        assert (store.image(0) == value).all()
        assert store_of(dataset, tmp_path / "cache").reused
        keys.add(store.key)
        code.unlink()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    assert len(keys) == 1
    assert len(folders(tmp_path / "cache")) == 1


def test_an_edited_reader_of_reduced_images_does_not_meet_the_old_pixels(tmp_path):
    code = tmp_path / "mixin.py"
    for value in (1, 2):
        code.write_text(f"def read_reduced(self, sample, short_side): return self.images[sample.id] * 0 + {value}")
        spec = importlib.util.spec_from_file_location("mixin", code)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kind = type("Mixed", (Arrays,), {"read_reduced": module.read_reduced})
        store = store_of(kind({"a": noise(8, 8, 1)}, "same"), tmp_path / "cache")
        assert (store.image(0) == value).all()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)


def test_a_fingerprint_stands_for_the_files(tmp_path):
    images = {"a": noise(8, 8, 1), "b": noise(8, 8, 1, seed=1)}
    store_of(Arrays(images, "v1"), tmp_path)
    same = Arrays(images, "v1")
    assert store_of(same, tmp_path).reused
    assert same.reads == 0
    other = Arrays(images, "v2")
    assert not store_of(other, tmp_path).reused
    assert other.reads == 2


def test_without_any_fingerprint_all_is_decoded_again_and_the_key_follows_the_pixels(tmp_path):
    images = {"a": noise(8, 8, 1), "b": noise(8, 8, 1, seed=1)}
    dataset = Arrays(images)
    first, second = store_of(dataset, tmp_path), store_of(dataset, tmp_path)
    assert dataset.reads == 4
    assert first.key == second.key
    assert len(folders(tmp_path)) == 1
    np.testing.assert_array_equal(first.array, second.array)
    assert store_of(Arrays(images | {"a": noise(8, 8, 1, seed=2)}), tmp_path).key != first.key
    assert store_of(Arrays({"a": noise(8, 8, 1).reshape(4, 16, 1), "b": images["b"]}), tmp_path).key != first.key


# ---------------------------------------------------------------------------------------------------------- bad images


def spoil(folder, *names):
    for name in names:
        (folder / f"{name}.png").write_bytes(b"no image")


def test_every_bad_image_is_listed_at_once(tmp_path):
    dataset = save(tmp_path / "set", **{name: noise(8, 8) for name in "abcdef"})
    spoil(tmp_path / "set", "b", "e")
    with pytest.raises(DataError) as caught:
        store_of(dataset, tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("2 of 6 images cannot be read.")
    assert str(tmp_path / "set" / "b.png") in message
    assert str(tmp_path / "set" / "e.png") in message
    assert "--on-bad-image skip" in message
    assert Counter(dataset.reads) == Counter(sample.id for sample in dataset.index().samples)
    assert folders(tmp_path / "cache") == []


def test_a_long_list_of_bad_images_is_cut_and_counted(tmp_path):
    dataset = save(tmp_path / "set", good=noise(8, 8))
    spoil(tmp_path / "set", *(f"bad{i:02}" for i in range(25)))
    with pytest.raises(DataError, match=r"(?s)25 of 26 images.*bad19.*\n  and 5 more\n") as caught:
        store_of(dataset, tmp_path / "cache")
    assert "bad20" not in str(caught.value)


def test_skipped_images_are_reported_and_stay_an_error_for_those_who_do_not_skip(tmp_path):
    images = {name: noise(8, 8, seed=i) for i, name in enumerate("abcd")}
    dataset = save(tmp_path / "set", **images)
    spoil(tmp_path / "set", "b")
    for reused in (False, True):
        store = store_of(dataset, tmp_path / "cache", on_bad_image="skip")
        assert store.reused == reused
        assert store.ids == ("a.png", "c.png", "d.png")
        assert [bad.id for bad in store.skipped] == ["b.png"]
        assert "b.png cannot be read" in str(store.skipped[0])
        np.testing.assert_array_equal(store.image(1)[:, :, 0], images["c"])
    with pytest.raises(DataError, match="1 of 4 images"):
        store_of(dataset, tmp_path / "cache")


def test_skipping_everything_is_an_error(tmp_path):
    dataset = save(tmp_path / "set", a=noise(8, 8))
    spoil(tmp_path / "set", "a")
    with pytest.raises(DataError, match="1 of 1 images"):
        store_of(dataset, tmp_path / "cache", on_bad_image="skip")


def test_a_file_that_has_gone_is_a_bad_image(tmp_path):
    dataset = save(tmp_path / "set", a=noise(8, 8), b=noise(8, 8))
    samples = dataset.index().samples
    (tmp_path / "set" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png cannot be read as an image: the file does not exist"):
        open_store(dataset, samples, view_size=64, cache=tmp_path / "cache")


def test_whatever_a_reader_raises_names_the_sample(tmp_path):
    class Broken(Arrays):
        def read(self, sample):
            if sample.id == "b":
                raise ZeroDivisionError("oops")
            return super().read(sample)

    with pytest.raises(DataError, match="  b: ZeroDivisionError: oops"):
        store_of(Broken({"a": noise(4, 4, 1), "b": noise(4, 4, 1)}), tmp_path)


def test_a_fault_in_the_readers_own_code_is_the_plugins_and_not_the_images(tmp_path):
    class Faulty(Arrays):
        def read(self, sample):
            return self.imagse[0]

    dataset = Faulty({"a": np.zeros((4, 4, 1), np.uint8)})
    with pytest.raises(PluginError, match=r"Faulty breaks its contract in read\(\) of 'a': it raised AttributeError"):
        open_store(dataset, dataset.index().samples, view_size=32, cache=tmp_path, on_bad_image="skip")


@pytest.mark.parametrize("on_bad_image", ["fail", "skip"])
@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (noise(4, 4), r"shape \(4, 4\) and type uint8"),
        (noise(4, 4, 0), r"shape \(4, 4, 0\)"),
        (noise(4, 4, 3).astype(np.float32), "type float32"),
        (noise(4, 4, 1).astype(np.int16), "type int16"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        ("pixels", "a str"),
        (None, "is None"),
    ],
)
def test_what_is_no_image_is_the_datasets_mistake_and_names_both(tmp_path, wrong, found, on_bad_image):
    dataset = Arrays({"good": noise(4, 4, 1), "some/odd.png": wrong})
    with pytest.raises(PluginError, match=rf"Arrays breaks its contract in read\(\) of 'some/odd\.png': .*{found}"):
        store_of(dataset, tmp_path, on_bad_image=on_bad_image)
    assert folders(tmp_path) == []


def test_no_samples_and_equal_ids_are_errors(tmp_path):
    dataset = Arrays({"a": noise(4, 4, 1), "b": noise(4, 4, 1)})
    with pytest.raises(DataError, match="no images to store"):
        open_store(dataset, [], view_size=64, cache=tmp_path)
    with pytest.raises(DataError, match="1 sample ids occur more than once, for example 'b'"):
        open_store(dataset, [*dataset.index().samples, Sample(id="b")], view_size=64, cache=tmp_path)


# -------------------------------------------------------------------------------------------------- the cache on a disk


def interrupt_at(count):
    def progress(done, total):
        if done == count:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("damage", ["none", "pixels", "notes", "a torn note"])
@pytest.mark.parametrize("colours", [0, 1])
def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path, monkeypatch, damage, colours):
    monkeypatch.setattr(building, "_NOTED", 8)
    images = {f"i{i:02}": noise(9, 5 + i % 3, 1, seed=i, dtype=(np.uint8, np.uint16)[i % 2]) for i in range(40)}
    images["i39"] = noise(300, 200, 3 if colours else 1, seed=39)
    with pytest.raises(KeyboardInterrupt):
        store_of(Arrays(images, "same"), tmp_path / "cache", progress=interrupt_at(20))
    (left,) = (tmp_path / "cache" / "stores").iterdir()
    file = left / "work" / ("images.jsonl" if "note" in damage else "store/pixels")
    if damage != "none":
        file.write_bytes(file.read_bytes()[: {"pixels": 100, "notes": 0, "a torn note": -5}[damage]])
    dataset, seen = Arrays(images, "same"), []
    store = store_of(dataset, tmp_path / "cache", progress=lambda done, total: seen.append(done))
    assert dataset.reads == (24 if damage == "none" else 40)
    assert seen == list(range(41 - dataset.reads, 41))
    whole = store_of(Arrays(images, "same"), tmp_path / "other")
    np.testing.assert_array_equal(store.pixels, whole.pixels)
    np.testing.assert_array_equal(store.shapes, whole.shapes)
    np.testing.assert_array_equal(store.levels, whole.levels)
    assert (store.key, store.channels, store.reduced) == (whole.key, whole.channels, True)
    assert len(folders(tmp_path / "cache")) == 1


def test_bad_images_before_an_interruption_are_listed_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_NOTED", 4)
    images = {f"i{i:02}": noise(6, 6, 1, seed=i) if i % 5 else None for i in range(1, 31)}

    class Some(Arrays):
        def read(self, sample):
            if self.images[sample.id] is None:
                raise DataError(f"{sample.id} is bad")
            return super().read(sample)

    for count in (12, 20):
        with pytest.raises(KeyboardInterrupt):
            store_of(Some(images, "x"), tmp_path, on_bad_image="skip", progress=interrupt_at(count))
    dataset = Some(images, "x")
    store = store_of(dataset, tmp_path, on_bad_image="skip")
    assert [bad.id for bad in store.skipped] == [f"i{i:02}" for i in range(5, 31, 5)]
    np.testing.assert_array_equal(store.array, np.stack([image for image in images.values() if image is not None]))
    with pytest.raises(KeyboardInterrupt):
        store_of(Some(images, "y"), tmp_path, progress=interrupt_at(12))
    with pytest.raises(DataError, match="6 of 30 images cannot be read"):
        store_of(Some(images, "y"), tmp_path)
    assert len(folders(tmp_path)) == 1


@pytest.mark.parametrize(("fingerprint", "noted"), [(None, 2), ("same", 1024)])
def test_without_a_checksum_or_with_few_images_an_interrupted_build_leaves_nothing(
    tmp_path, monkeypatch, fingerprint, noted
):
    monkeypatch.setattr(building, "_NOTED", noted)
    images = {f"i{i:02}": noise(8, 8, 1, seed=i) for i in range(40)}
    with pytest.raises(KeyboardInterrupt):
        store_of(Arrays(images, fingerprint), tmp_path, progress=interrupt_at(20))
    assert folders(tmp_path) == []
    np.testing.assert_array_equal(store_of(Arrays(images, fingerprint), tmp_path).image(39), images["i39"])


@pytest.mark.slow
def test_a_killed_build_goes_on_where_it_stopped(tmp_path, monkeypatch):
    paths = {f"i{i:04}": noise(4, 4, seed=i) for i in range(2500)}
    save(tmp_path / "set", **paths)
    settle(tmp_path / "set")
    killed = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_store import Files, store_of\n"
        "stop = lambda done, total: done == 2000 and os.kill(os.getpid(), 9)\n"
        "store_of(Files(Path(sys.argv[2])), Path(sys.argv[3]), progress=stop)"
    )
    words = [sys.executable, "-c", killed, Path(__file__).parent, tmp_path / "set", tmp_path / "cache"]
    assert subprocess.run(list(map(str, words)), check=False).returncode == -signal.SIGKILL
    monkeypatch.syspath_prepend(Path(__file__).parent)
    dataset = importlib.import_module("test_store").Files(tmp_path / "set")  # the class of the other process
    store = store_of(dataset, tmp_path / "cache")
    assert len(dataset.reads) == 2500 - 1024
    np.testing.assert_array_equal(store.array[..., 0], np.stack(list(paths.values())))
    assert len(folders(tmp_path / "cache")) == 1


def test_progress_counts_every_image_once(tmp_path):
    calls = []
    dataset = save(tmp_path / "set", **{f"i{i:02}": noise(8, 8) for i in range(13)})
    spoil(tmp_path / "set", "i04")
    for _ in range(2):
        store_of(dataset, tmp_path / "cache", on_bad_image="skip", progress=lambda *call: calls.append(call))
    assert calls == [(i + 1, 13) for i in range(13)]


@pytest.mark.parametrize("damage", ["cut", "header", "format", "gone"])
def test_a_damaged_store_is_built_again(tmp_path, damage):
    dataset = save(tmp_path / "set", a=noise(8, 8), b=noise(8, 8))
    store_of(dataset, tmp_path / "cache")
    (folder,) = (tmp_path / "cache" / "stores").iterdir()
    header = folder / "header.json"
    if damage == "cut":
        (folder / "pixels").write_bytes(b"short")
    elif damage == "gone":
        (folder / "pixels").unlink()
    elif damage == "header":
        header.write_text(header.read_text()[:50])
    else:
        header.write_text(json.dumps(json.loads(header.read_text()) | {"format": 0}))
    store = store_of(dataset, tmp_path / "cache")
    assert not store.reused
    np.testing.assert_array_equal(store.image(1)[:, :, 0], noise(8, 8))
    assert store_of(dataset, tmp_path / "cache").reused
    assert folders(tmp_path / "cache") == [folder.name]


def test_a_damaged_list_of_checksums_is_made_again(tmp_path):
    dataset = save(tmp_path / "set", a=noise(8, 8))
    settle(tmp_path / "set")
    for content in ("{", "[]", '{"x": 3}'):
        store_of(dataset, tmp_path / "cache")
        (index,) = (tmp_path / "cache" / "contents").iterdir()
        index.write_text(content)
    assert store_of(dataset, tmp_path / "cache").reused


def test_builds_at_the_same_time_do_no_harm(tmp_path):
    images = {f"i{i:02}": noise(8, 8, 3, seed=i) for i in range(20)}
    save(tmp_path / "set", **images)
    start, stores = threading.Barrier(4), []

    def build():
        dataset = Files(tmp_path / "set")
        start.wait()
        stores.append(store_of(dataset, tmp_path / "cache"))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 4
    for store in stores:
        np.testing.assert_array_equal(store.array, np.stack(list(images.values())))
    assert len(folders(tmp_path / "cache")) == 1


def test_what_a_killed_build_left_is_swept_after_a_day(tmp_path):
    old, new = tmp_path / "stores" / ".building-old", tmp_path / "stores" / ".building-new"
    for folder in (old, new):
        (folder / "store").mkdir(parents=True)
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    store_of(Arrays({"a": noise(4, 4, 1)}), tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("left", ["all", "lock", "folder"])
def test_what_a_build_left_that_was_killed_after_its_last_step_goes_when_the_store_is_opened(tmp_path, left):
    images = {"a": noise(4, 4, 1)}
    store_of(Arrays(images, "same"), tmp_path)
    (made,) = (tmp_path / "stores").iterdir()
    hidden = made.with_name(f".building-{made.name}")
    (hidden / "work").mkdir(parents=True)
    (hidden / "work" / "images.jsonl").write_text("{}\n")
    (hidden / "lock").write_text(json.dumps({"pid": 999_999_999, "machine": machine(), "mark": "1"}))
    (made.parent / f".clock.999999999-{machine()}.tmp").touch()
    if left != "all":
        shutil.rmtree(hidden / "work")
    if left == "folder":
        (hidden / "lock").unlink()
    assert store_of(Arrays(images, "same"), tmp_path).reused
    assert list(made.parent.iterdir()) == [made]


def test_a_build_that_runs_is_not_swept_when_its_store_exists(tmp_path, monkeypatch):
    """A damaged store is built again under its name."""
    store_of(Arrays({"a": noise(4, 4, 1)}, "same"), tmp_path)
    (made,) = (tmp_path / "stores").iterdir()
    made.with_name(f".building-{made.name}").mkdir()
    monkeypatch.setattr(building, "is_held", lambda _: True)
    assert store_of(Arrays({"a": noise(4, 4, 1)}, "same"), tmp_path).reused
    assert len(list(made.parent.iterdir())) == 2


def test_a_full_disk_says_how_much_is_needed(tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file, self.left = file, 3

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):  # of a lease, which is short enough
            return getattr(self.file, name)

    class FullPath(type(Path())):
        def open(self, mode="r", *args, **kwargs):
            file = super().open(mode, *args, **kwargs)
            return Full(file) if mode in ("ab", "wb") else file

    monkeypatch.setattr(building, "Path", FullPath)
    dataset = Arrays({f"i{i}": noise(10, 10, 1) for i in range(7)})
    with pytest.raises(DataError, match=rf"no space left in .*{tmp_path.name}.*About 700 bytes.*MEDSSL_CACHE"):
        store_of(dataset, tmp_path)
    assert folders(tmp_path) == []


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=rf"{tmp_path.name}/file.*MEDSSL_CACHE"):
        store_of(Arrays({"a": noise(4, 4, 1)}), tmp_path / "file")


def test_only_a_few_images_wait_in_memory(tmp_path):
    dataset = Arrays({f"i{i:03}": noise(4, 4, 1) for i in range(400)})
    images = decode_all(dataset, dataset.index().samples, 64)
    for _ in range(3):
        next(images)
    time.sleep(0.2)
    assert dataset.reads <= 3 + 16 * cores()
    images.close()
    assert dataset.reads < 400


def test_the_cache_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("MEDSSL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache().name == "medssl"


# ---------------------------------------------------------------------------------------------------------- real images


def test_real_radiographs_of_several_sizes_and_modes(real_data, tmp_path):
    dataset = Files(real_data("pneumonia_fullsize"))
    samples = [sample for sample in dataset.index().samples if sample.id.endswith(".jpeg")]
    store = open_store(dataset, samples, view_size=64, cache=tmp_path)
    assert (len(store), store.dtype, store.channels, store.reduced) == (32, np.uint8, 1, True)
    assert (store.shapes.min(axis=1) == 128).all()
    for i in (0, 15, 31):
        with Image.open(dataset.path(samples[i])) as image:
            width, height = image.size
            np.testing.assert_allclose(
                store.shapes[i], [height * 128 / min(width, height), width * 128 / min(width, height)], atol=0.5
            )
            small = image.convert("L").resize(store.shapes[i][::-1].tolist(), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(store.image(i)[:, :, 0].astype(int), np.asarray(small), atol=1)


def test_real_tiles_of_two_sizes_in_colour(real_data, tmp_path):
    dataset = Files(real_data("colorectal"))
    store = store_of(dataset, tmp_path, view_size=112)
    assert (store.channels, store.reduced, store.uniform) == (3, False, False)
    assert Counter(map(tuple, store.shapes.tolist())) == {(224, 224): 100, (150, 150): 8}
    for i, name in enumerate(store.ids):
        np.testing.assert_array_equal(store.image(i), read_image(dataset.root / name))


def test_the_key_of_a_reader_covers_the_modules_that_it_imports(tmp_path, monkeypatch):
    folder = tmp_path / "own_readers"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_inner.py").write_text("import math\n")
    (folder / "_helper.py").write_text("from own_readers import _inner\n")
    (folder / "reader.py").write_text("from own_readers._helper import _inner\n")
    (folder / "other.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("own_readers.reader")
    importlib.import_module("own_readers.other")
    found = [Path(file).name for file in _sources("own_readers.reader", str(folder / "reader.py"))]
    assert found == ["reader.py", "_helper.py", "_inner.py"]
