"""Folders are listed as the dataset ``folder`` lists them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medssl.errors import DataError
from medssl.export.images import find_images
from medssl_datasets.folders.files import images_below


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path, "PNG")
    return path


@pytest.fixture
def tree(tmp_path):
    """A folder with all that may lie beside images."""
    root = tmp_path / "images"
    for name in ("b.png", "a/2.PNG", "a/1.png", "scan.png/3.png"):
        draw(root / name)
    for name in ("._b.png", ".ipynb_checkpoints/b.png", "__MACOSX/b.png", "a/.hidden.png"):
        draw(root / name)
    (root / "notes.txt").write_text("")
    draw(tmp_path / "elsewhere" / "5.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "round").symlink_to(root)
    return root


def test_hidden_files_are_left_out_links_are_followed_and_a_folder_with_a_suffix_is_a_folder(tree):
    found = [path.relative_to(tree).as_posix() for path in find_images([tree])]
    assert sorted(found) == images_below(tree)
    assert sorted(found) == ["a/1.png", "a/2.PNG", "b.png", "linked/5.png", "scan.png/3.png"]


def test_a_file_that_is_named_is_taken_whatever_its_name(tree):
    (tree / "a" / "round").unlink()
    hidden = tree / "._b.png"
    assert find_images([hidden, tree / "a"]) == [hidden, tree / "a" / "1.png", tree / "a" / "2.PNG"]


def test_a_folder_without_an_image_is_named(tree):
    with pytest.raises(DataError, match="contains no image"):
        find_images([draw(tree / "empty" / ".hidden.png").parent])
