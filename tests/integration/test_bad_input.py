"""What a user's folder can hold, and what the command says of it: one sentence, exit 1, nothing lost."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main
from medssl.io.identities import private_id

QUICK = [
    *("--method", "random", "--dataset", "folder", "--data-dir", "images", "--image-size", "16"),
    *("--backbone", "resnet10t", "--set", "encoder.stem=standard", "--evaluator", "knn"),
    *("--set", "evaluate.bootstrap=50", "--batch-size", "4"),
]


def draw(path, seed, mode="RGB", size=(20, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return CliRunner().invoke(main, ["run", *QUICK, *words])

    return run


@pytest.fixture
def images(tmp_path):
    for label in ("benign", "malignant"):
        for i in range(12):
            draw(tmp_path / "images" / label / f"{label} ({i}).png", i + 100 * (label == "benign"))
    return tmp_path / "images"


def refused(outcome, *words):
    assert outcome.exit_code == 1, outcome.output
    assert "Traceback" not in outcome.output
    for word in words:
        assert word in outcome.output


def result():
    (found,) = Path("runs").glob("*/result.json")
    return json.loads(found.read_text())


def test_a_good_folder_runs(call, images):
    outcome = call()
    assert outcome.exit_code == 0, outcome.output
    assert result()["data"]["target"]["names"] == ["benign", "malignant"]


def test_a_missing_folder(call):
    refused(call(), "the data folder images does not exist")


def test_a_folder_without_class_folders(call, tmp_path):
    (tmp_path / "images").mkdir()
    refused(call(), "images")


def test_an_empty_class_folder_is_named(call, images):
    (images / "normal").mkdir()
    refused(call(), "normal")
    assert not list(Path("runs").glob("*"))  # no directory of a run that came to nothing


def test_one_class_only(call, images):
    for file in (images / "benign").iterdir():
        file.unlink()
    (images / "benign").rmdir()
    refused(call(), "malignant")


def test_a_class_with_fewer_images_than_parts_is_named(call, images):
    draw(images / "rare" / "1.png", 1)
    refused(call(), "rare")


def test_all_bad_images_are_listed_at_once(call, images):
    (images / "benign" / "text.png").write_text("not an image")
    whole = (images / "malignant" / "malignant (1).png").read_bytes()
    (images / "malignant" / "short.png").write_bytes(whole[: len(whole) // 2])
    refused(call(), "text.png", "short.png", "--on-bad-image skip")


def test_bad_images_can_be_left_out_and_are_reported(call, images):
    (images / "benign" / "text.png").write_text("not an image")
    outcome = call("--on-bad-image", "skip")
    assert outcome.exit_code == 0, outcome.output
    assert result()["data"]["images"] == 24
    assert any(private_id("image", "benign/text.png") in warning for warning in result()["data"]["warnings"])


def test_mixed_kinds_of_files_are_read(call, images):
    for i, mode in enumerate(("L", "RGBA", "P", "1", "LA")):
        draw(images / "benign" / f"kind-{mode}.png", i, mode)
    draw(images / "benign" / "cmyk.jpg", 9, "CMYK")
    sixteen = np.random.default_rng(0).integers(0, 2**16, (20, 20), dtype=np.uint16)
    Image.fromarray(sixteen).save(images / "benign" / "sixteen.png")
    turned = Image.fromarray(np.zeros((10, 30, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(images / "benign" / "turned.jpg", exif=exif)
    outcome = call()
    assert outcome.exit_code == 0, outcome.output
    assert result()["data"]["images"] == 32


def test_one_name_in_two_classes_is_two_images(call, images):
    draw(images / "benign" / "same.png", 1)
    draw(images / "malignant" / "same.png", 2)
    assert call().exit_code == 0
    assert result()["data"]["images"] == 26


def test_other_images_under_the_same_recipe_do_not_return_the_old_result(call, images, tmp_path):
    assert call().exit_code == 0
    images.rename(tmp_path / "others")
    refused(call("--data-dir", "others"), "has a result of this recipe for other images")


def test_images_that_were_changed_since_do_not_return_the_old_result(call, images):
    assert call().exit_code == 0
    some = images / "benign" / "benign (3).png"
    before = some.read_bytes()
    draw(some, 77)
    refused(call(), "files in", "were changed", "--force")
    some.write_bytes(before)
    assert call().exit_code == 0  # what it was made of is there again
    some.rename(images / "malignant" / f"moved-{some.name}")
    refused(call(), "has a result of this recipe for other images", "or their labels", "--force")


def test_a_full_disk_while_results_are_written_is_said_and_the_run_can_go_on(call, images, monkeypatch):
    import os

    real = os.fsync

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    refused(call(), "there is no space left")
    monkeypatch.setattr(os, "fsync", real)
    assert call().exit_code == 0


def test_an_output_that_is_a_file_is_said_to_be_one(call, images, tmp_path):
    (tmp_path / "taken").write_text("")
    refused(call("--output", "taken"), "cannot be created", "--output")
