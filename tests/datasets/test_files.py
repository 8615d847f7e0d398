"""What all datasets of image files share."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from medssl.contracts import Classes, Listing, Sample
from medssl.errors import DataError
from medssl_datasets.folders import files
from medssl_datasets.folders.files import PublishedTree, images_below, own_split, shorten
from medssl_datasets.folders.tree import _MASK_HINTS
from medssl_datasets.shared.words import MASK_WORDS


class Letters(PublishedTree):
    """Two classes, with images at any depth."""

    name = "letters"
    classes = ("a", "b")
    layouts = (classes,)
    wrappers = ("Outer", "inner")
    expected = "Outer/inner/{a,b}/*.png"

    def index(self) -> Listing:
        found = [Sample(id=f"{n}/{i}", y=k) for k, n in enumerate("ab") for i in images_below(self.tree / n)]
        self.check_classes(found)
        return Listing(samples=found, target=Classes(self.classes))


FACTS = {
    "licence": "CC0",
    "sources": [{"file": "letters.zip", "url": "https://example.org/l", "bytes": 1234, "sha256": "ab" * 32, "x": 1}],
}


def letters(root: Path, facts: dict | None = None) -> Letters:
    return Letters(Letters.Config(), root, facts)


def test_only_visible_images_are_listed_sorted_at_any_depth(tmp_path, write):
    write(tmp_path, ["b/2.png", "b/10.JPG", "a.tif", "b/c/1.jpeg", ".hidden.png", "b/._2.png", ".git/x.png"])
    write(tmp_path, ["__MACOSX/a.png"])
    for junk in ("Thumbs.db", "b/notes.txt", "b/.DS_Store"):
        (tmp_path / junk).write_text("x")
    assert images_below(tmp_path) == ["a.tif", "b/10.JPG", "b/2.png", "b/c/1.jpeg"]


def test_order_does_not_depend_on_the_disk(tmp_path, write, monkeypatch):
    write(tmp_path, [f"{folder}/{name}.png" for folder in "ba" for name in (3, 1, 2)])
    straight = images_below(tmp_path)
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: contextlib.nullcontext(reversed(list(scandir(path)))))
    assert images_below(tmp_path) == straight == sorted(straight)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path, write):
    write(tmp_path / "elsewhere", ["1.png"])
    write(tmp_path / "here", ["0.png"])
    (tmp_path / "here/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here/loop").symlink_to(tmp_path / "here")
    assert images_below(tmp_path / "here") == ["0.png", "linked/1.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(DataError, match="gone cannot be listed"):
        images_below(tmp_path / "gone")


def test_long_lists_are_cut_with_a_count():
    assert shorten("abc", 3) == "a, b, c"
    assert shorten("abcde", 3) == "a, b, c and 2 more"


def test_own_images_prefer_their_parts_then_groups_then_chance():
    plain, grouped = Sample(id="1"), Sample(id="2", group="g")
    train, val, test = (Sample(id=part, part=part) for part in ("train", "val", "test"))
    assert own_split([plain])[0] == "random"
    assert own_split([plain, grouped])[0] == "grouped"
    assert own_split([plain, grouped, train, val])[0] == "grouped", "without a test part there is no official split"
    assert own_split([plain, grouped, train, test])[0] == "official"


@pytest.mark.parametrize("wrapped", [".", "Outer", "outer/INNER", "inner/inner"])
def test_the_tree_is_found_inside_known_wrappers(tmp_path, write, wrapped):
    write(tmp_path / wrapped, ["a/1.png", "b/1.png"])
    dataset = letters(tmp_path)
    samples = dataset.index().samples
    assert [sample.id for sample in samples] == ["a/1.png", "b/1.png"], "ids do not know where the tree lies"
    assert dataset.path(samples[1]) == tmp_path / wrapped / "b/1.png"
    assert dataset.read(samples[1]).shape == (4, 3, 3)


def test_the_shallowest_of_two_copies_counts(tmp_path, write):
    write(tmp_path / "Outer", ["a/1.png", "b/1.png"])
    write(tmp_path / "Outer/inner", ["a/1.png", "a/2.png", "b/1.png"])
    assert [sample.id for sample in letters(tmp_path).index().samples] == ["a/1.png", "b/1.png"]


def test_other_folders_are_not_searched(tmp_path, write):
    write(tmp_path / "unrelated", ["a/1.png", "b/1.png"])
    with pytest.raises(DataError, match="its images are not in"):
        letters(tmp_path).index()


def test_missing_images_are_explained_with_the_file_to_get(tmp_path):
    with pytest.raises(DataError) as error:
        letters(tmp_path / "nowhere", FACTS).index()
    for fact in ("medssl fetch letters", "letters.zip", "1,234", "ab" * 32, "https://example.org/l", "Outer/inner"):
        assert fact in str(error.value)


def test_a_missing_class_folder_is_named_with_what_is_there(tmp_path, write):
    write(tmp_path, ["a/1.png", "bee/1.png"])
    with pytest.raises(DataError, match=r"lacks the folder b\. It has a, bee"):
        letters(tmp_path).index()


def test_an_empty_class_is_named(tmp_path, write):
    write(tmp_path, ["a/1.png"])
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="no images of the class b in"):
        letters(tmp_path).index()


def test_fetch_downloads_and_unpacks_once(tmp_path, write, monkeypatch):
    write(tmp_path / "made", ["Outer/a/1.png", "Outer/b/1.png"])
    archive = shutil.make_archive(str(tmp_path / "letters"), "zip", tmp_path / "made")
    asked = []

    def download(source, directory):
        asked.append((source, directory))
        return Path(archive)

    monkeypatch.setattr(files, "download", download)
    dataset = letters(tmp_path / "data", FACTS)
    dataset.fetch()
    dataset.fetch()
    ((source, directory),) = asked
    assert (source.file, source.bytes, source.sha256, source.licence) == ("letters.zip", 1234, "ab" * 32, "CC0")
    assert directory == tmp_path / "data"
    assert len(dataset.index().samples) == 2


def test_fetch_without_an_address_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"Expected there: Outer/inner"):
        letters(tmp_path).fetch()


def test_counts_that_differ_are_a_warning(tmp_path, write, warned):
    dataset = letters(write(tmp_path, ["a/1.png", "b/1.png", "b/2.png"]))
    dataset.warn_of_counts(dataset.index().samples, {"a": 1, "b": 5})
    assert "b 2 of 5" in warned()
    assert "a 1" not in warned()


def test_every_word_of_a_mask_is_in_the_hint_that_decides_whether_masks_are_searched():
    words = [*MASK_WORDS, "1_mask", "1 ground truth", "1_GT", "1 labels (2)", "1-seg", "1_annotation_3"]
    assert all(any(hint in word.lower() for hint in _MASK_HINTS) for word in words)
