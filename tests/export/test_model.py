from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import medssl
from medssl.errors import CheckpointError, DataError, OptionError
from medssl.evaluation.pooling import pool_groups
from medssl.io.tensors import read_tensors, write_tensors


@pytest.fixture(scope="module")
def model(finished):
    return medssl.load_model(finished)


def files(finished, images):
    return [images / name for name in finished.predictions().ids]


def test_predictions_equal_those_of_the_run_bit_for_bit(finished, model, images):
    wanted = finished.predictions().by_evaluator
    assert set(model.evaluators) == set(wanted) - {"mlp_train_mode"}
    assert {"knn", "linear", "mlp", "calibration", "calibration_uncalibrated", "finetune"} <= set(model.evaluators)
    for name in model.evaluators:
        found = model.predict(files(finished, images), evaluator=name)
        np.testing.assert_array_equal(found.values, wanted[name], err_msg=name)


def test_equal_bits_survive_the_table(finished, model, images, tmp_path):
    found = model.predict(files(finished, images), evaluator="linear")
    (written,) = found.to_csv(tmp_path / "p.csv")
    with written.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = np.array([[row["probability_bright"], row["probability_dark"]] for row in rows], np.float32)
    np.testing.assert_array_equal(read, finished.predictions().by_evaluator["linear"])
    assert [row["image"] for row in rows] == [str(path) for path in files(finished, images)]
    assert {row["decision"] for row in rows} <= {"bright", "dark"}


def test_the_default_predictor_has_the_lowest_validation_loss(finished, model):
    losses = {name: model.run.evaluations[name]["selected"].get("val_log_loss", np.inf) for name in model.evaluators}
    assert losses[model.choose_evaluator()] == min(losses.values())


def test_the_nearest_images_are_those_of_the_features(finished, model, images):
    found = model.predict(files(finished, images), evaluator="knn", neighbours=2)
    train, test = finished.features()["train"], finished.features()["test"]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train.x, test.x)]
    order = np.argsort(-(unit[1] @ unit[0].T), axis=1)[:, :2]
    assert (found.nearest == np.array(train.ids)[order]).all()
    names = np.array(["bright", "dark"])[train.y]
    assert (found.nearest_values == names[order]).all()


def test_groups_are_pooled_by_their_mean(finished, model, images, tmp_path):
    groups = finished.predictions().groups
    found = model.predict(files(finished, images), evaluator="linear", groups=list(groups))
    names, values, place = found.pooled()
    assert names == tuple(dict.fromkeys(groups))
    for i, name in enumerate(names):
        own = np.array([group == name for group in groups])
        np.testing.assert_allclose(values[i], found.values[own].mean(axis=0), rtol=1e-6)
        assert (place[own] == i).all()
    _, written = found.to_csv(tmp_path / "p.csv")
    assert written.name == "p_groups.csv"
    with written.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == list(names)
    assert sum(int(row["images"]) for row in rows) == len(found)


@pytest.mark.parametrize("name", ["mean", "top-k", "max", "noisy-or"])
def test_groups_are_pooled_as_the_run_chose(finished, model, images, name):
    found = model.predict(files(finished, images), evaluator="linear", groups=list(finished.predictions().groups))
    groups, values, place = replace(found, pooling=name).pooled()
    wanted = pool_groups(found.target, found.values, place, name)
    np.testing.assert_allclose(values, wanted, rtol=1e-6)
    assert found.pooling == finished.evaluations["linear"].get("per_group", {}).get("pooling", {}).get("name", "mean")
    assert len(groups) == len(values)


def test_a_dataset_gives_the_groups(finished, model, images):
    found = model.predict({"plugin": "folder", "group_pattern": r"([bd]\d)_"}, evaluator="knn", data_dir=images)
    assert len(found) == 48
    assert len(found.pooled()[0]) == 12


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (
            np.random.default_rng(0).integers(0, 255, (26, 26, 3), dtype=np.uint8),
            "are grey, and the new ones are in col",
        ),
        (
            np.random.default_rng(0).integers(0, 255, (26, 26, 5), dtype=np.uint8),
            "of 3 channels, but these have 5",
        ),
        (np.full((26, 26), 4000, np.uint16), "8 bits per channel, and the new ones 16"),
    ],
)
def test_images_of_another_kind_are_refused(model, image, words):
    with pytest.raises(DataError, match=words):
        model.predict([image], evaluator="knn")
    if image.ndim == 2 or image.shape[2] == 3:
        assert len(model.predict([image], evaluator="knn", allow_other=True)) == 1


def test_nothing_and_other_predictors_are_refused(model, images):
    with pytest.raises(DataError, match="no image was given"):
        model.predict([], evaluator="knn")
    with pytest.raises(OptionError, match=r"no predictor 'lin'.*linear"):
        model.predict([images], evaluator="lin")
    with pytest.raises(OptionError, match=r"'mlp_train_mode' cannot predict new images: the evaluator .* not support"):
        model.predict([images], evaluator="mlp_train_mode")


def test_an_unreadable_image_is_left_out_and_named(model, images, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = next(iter(sorted(images.rglob("*.png"))))
    with pytest.raises(DataError, match=r"bad\.png"):
        model.predict([good, tmp_path / "bad.png"], evaluator="knn")
    found = model.predict([tmp_path / "bad.png", good], evaluator="knn", on_bad_image="skip", groups=["a", "b"])
    assert (len(found), found.groups) == (1, ("b",))
    assert "bad.png" in found.left_out[0]


def test_a_head_that_predicts_otherwise_or_belongs_to_another_encoder_is_refused(finished, images, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.path, run)
    tensors, header = read_tensors(run / "heads.safetensors")
    write_tensors(run / "heads.safetensors", {**tensors, "linear/weight": -tensors["linear/weight"]}, header)
    good = next(iter(sorted(images.rglob("*.png"))))
    with pytest.raises(CheckpointError, match=r"'linear' .* cannot be restored: it predicts other values.*medssl"):
        medssl.load_model(run).predict([good], evaluator="linear")
    without = json.loads(header["medssl"])
    without["heads"]["linear"]["settings"]["form"] = "spline"
    write_tensors(run / "heads.safetensors", tensors, {"medssl": json.dumps(without)})
    with pytest.raises(CheckpointError, match="cannot be restored: the kept form is 'spline'"):
        medssl.load_model(run).predict([good], evaluator="linear")
    weights, header = read_tensors(run / "encoder.safetensors")
    write_tensors(run / "encoder.safetensors", {name: value * 2 for name, value in weights.items()}, header)
    with pytest.raises(CheckpointError, match="belong to another encoder"):
        medssl.load_model(run)


def test_the_modules_of_heads_compute_their_predictions(finished, model):
    x = finished.features()["test"].x
    import torch

    for name in ("linear", "mlp", "calibration", "calibration_uncalibrated"):
        predictor = model.restored(name)
        with torch.no_grad():
            found = predictor.module()(torch.from_numpy(x))
        torch.testing.assert_close(found, predictor.predict(torch.from_numpy(x)), atol=1e-5, rtol=1e-4)
    assert model.restored("knn").module() is None


def test_a_run_without_heads_says_so(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.path, run)
    (run / "heads.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no fitted heads"):
        medssl.load_model(run)


def test_a_pillow_image_and_a_file_are_the_same(model, images):
    path = next(iter(sorted(images.rglob("*.png"))))
    with Image.open(path) as opened:
        found = model.predict([opened.copy()], evaluator="linear")
    assert found.images == ("000000000",)
    np.testing.assert_array_equal(found.values, model.predict(path, evaluator="linear").values)
