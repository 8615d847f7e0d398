"""``medssl show views`` and the augmentations of the catalogue, from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main

LAB = """
augmentations:
  mine: {summary: Ours., base: histology_stain, rotation: 15}
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB)
    return lambda *words: CliRunner().invoke(main, list(words))


def test_a_picture_is_written_and_its_place_printed(call, tmp_path):
    result = call("show", "views", "--dataset", "phantom", "--image-size", "16", "--output", "out/seen.png")
    assert result.exit_code == 0, result.output
    assert result.output == "out/seen.png\n"
    with Image.open(tmp_path / "out" / "seen.png") as sheet:
        assert sheet.mode == "RGB"
        assert min(sheet.size) > 500


def test_without_an_output_it_is_named_after_the_dataset(call, tmp_path):
    assert call("show", "views", "--dataset", "phantom", "--image-size", "16").output == "views-phantom.png\n"
    with Image.open(tmp_path / "views-phantom.png") as sheet:
        assert min(sheet.size) > 500


def test_images_of_sixteen_bits_are_shown_in_their_own_window(call, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(3):
            levels = np.random.default_rng(i).integers(0, 4096, (40, 30)).astype(np.uint16)
            Image.fromarray(levels).save(tmp_path / "set" / name / f"{i}.png")
    words = ("--dataset", "folder", "--data-dir", "set", "--augmentation", "ct_window", "--image-size", "24")
    result = call("show", "views", *words, "--output", "seen.png")
    assert result.exit_code == 0, result.output
    pixels = np.asarray(Image.open(tmp_path / "seen.png").convert("L"))
    first = pixels[100:210, 200:310]  # of the first row, as evaluated
    assert 90 < first.mean() < 165


def test_a_users_augmentation_is_listed_shown_and_drawn(call):
    own = ("--catalog", "lab.yaml")
    assert "  mine             Ours.\n" in call("list", "augmentations", *own).output
    shown = json.loads(call("show", "augmentation", "mine", "--json", *own).output)
    assert (shown["rotation"], shown["stain"], shown["rotate90"]) == (15, 1.0, 0.75)
    words = ("--dataset", "phantom", "--augmentation", "mine", "--image-size", "16")
    assert call("show", "views", *words, *own).exit_code == 0


def test_augmentations_are_listed_beside_plugins(call):
    rows = json.loads(call("list", "--json").output)
    assert {"kind", "name", "summary", "distribution", "version", "target"} == set(rows[-1])
    assert ("augmentation", "xray_lateral") in {(row["kind"], row["name"]) for row in rows}
    assert "methods:" not in call("list", "augmentations").output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--dataset", "phantm"), "Did you mean 'phantom'?"),
        (("--dataset", "phantom", "--method", "dlc"), "Did you mean 'dcl'?"),
        (("--dataset", "phantom", "--augmentation", "histolgy"), "Did you mean 'histology'?"),
        (("--dataset", "phantom", "--set", "views.crop_scale=[0.9,0.1]"), "crop_scale: expected [low, high] with 0 <"),
        (("--dataset", "phantom", "--image-size", "16", "--output", "lab.yaml/x.png"), "cannot write the picture"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence(call, words, text):
    result = call("show", "views", *words)
    assert result.exit_code == 1, result.output
    assert text in result.output
    assert "Traceback" not in result.output


def test_a_dataset_is_needed(call):
    assert call("show", "views").exit_code == 2


def test_options_before_the_thing_to_show_are_understood(call):
    assert json.loads(call("show", "--json", "augmentation", "mri").output)["gamma"] == 0.3
