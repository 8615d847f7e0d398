"""Images without labels: a run trains and measures, scores nothing, and labels that come later find held-out images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from medssl.cli import main
from medssl.data.split.splits import load_split

FAST = [
    *("--backbone", "resnet10t", "--image-size", "32", "--set", "encoder.stem=standard"),
    *("--set", "evaluate.bootstrap=20", "--batch-size", "8", "--device", "cpu"),
]


def medssl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> tuple[Path, Path]:
    """A flat folder of 50 images, a run on 40 of them, and a table with labels of all."""
    root = tmp_path_factory.mktemp("scanner")
    (root / "images").mkdir()
    for number in range(50):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"images/{number}.png")
    later = [root / f"images/{number}.png" for number in range(40, 50)]
    kept = [(path, path.read_bytes()) for path in later]
    for path in later:
        path.unlink()
    words = ["--method", "dcl", "--data", root / "images", "--epochs", 1, "--evaluator", "rank", "--evaluator", "knn"]
    result = medssl("run", *words, *FAST, "--output", root / "runs", "--json")
    assert result.exit_code == 0, result.output
    for path, content in kept:
        path.write_bytes(content)
    rows = [f"{number},{'ab'[number % 2]}" for number in range(50)]
    (root / "labels.csv").write_text("\n".join(["image,label", *rows]))
    (run,) = (root / "runs").iterdir()
    return root, run


def test_nothing_is_scored_and_the_features_are_measured(pretrained):
    _, run = pretrained
    values = json.loads((run / "result.json").read_text())
    assert values["data"]["target"] == {"kind": "none"}
    assert values["evaluations"] == {}
    assert values["baseline"] is None
    assert values["diagnostics"]["features"]["effective_rank"] > 1
    assert values["diagnostics"]["rank"]
    assert any("nothing was scored" in warning for warning in values["data"]["warnings"])
    assert values["data"]["labels"]["train"] == 0
    assert (run / "encoder.safetensors").is_file()
    assert (run / "report.html").is_file()


def test_images_are_held_out_for_labels_that_come_later(pretrained):
    _, run = pretrained
    split = load_split(run / "splits.json")
    assert len(split.train) == 28
    assert len(split.val) + len(split.test) == 12


def test_later_labels_never_test_on_pretrained_images(pretrained):
    root, run = pretrained
    words = ["--data", root / "labels.csv", "--evaluator", "knn", *FAST[-2:], "--set", "evaluate.bootstrap=20"]
    result = medssl("evaluate", run, *words, "--output", root / "scored", "--json")
    assert result.exit_code == 0, result.output
    (scored,) = (root / "scored").iterdir()
    before, after = load_split(run / "splits.json"), load_split(scored / "splits.json")
    trained_on = {f"images/{name}" for name in before.train}
    assert trained_on <= set(after.train)
    assert {f"images/{name}" for name in before.test} <= set(after.test)
    seen = json.loads((scored / "result.json").read_text())["data"]["encoder_seen"]
    assert (seen["test"]["either"], seen["test"]["images"]) == (0, len(after.test))


def test_a_method_that_needs_labels_is_refused(pretrained):
    root, _ = pretrained
    result = medssl("run", "--method", "supervised", "--data", root / "images", *FAST, "--output", root / "no")
    assert result.exit_code == 1
    assert "learns from labels, but no image of the dataset" in result.output
