"""Several hospitals in one dataset: one of them left out at a time, and features that tell them apart."""

from __future__ import annotations

import importlib.resources
import json

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main

WORDS = [
    *("run", "--method", "random", "--evaluator", "knn", "--image-size", "16", "--backbone", "test_resnet"),
    *("--set", "encoder.stem=standard", "--set", "evaluate.bootstrap=20", "--device", "cpu", "--split", "site"),
]


@pytest.fixture
def hospitals(tmp_path, monkeypatch):
    """Two hospitals of 12 patients with two images each; one has brighter films."""
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    rows = ["path,label,group,hospital"]
    for i in range(48):
        patient, site = i // 2, i // 2 % 2
        level = np.random.default_rng(i).normal(60 + 90 * site, 20, (20, 20))
        Image.fromarray(np.clip(level, 0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{('ill', 'well')[patient // 2 % 2]},p{patient},{('Bern', 'Porto')[site]}")
    (folder / "list.csv").write_text("\n".join(rows))
    return tmp_path


def test_each_hospital_is_tested_once_with_a_row_of_its_own(hospitals) -> None:
    words = [*WORDS, "--data", str(hospitals / "data"), "--output", str(hospitals / "runs")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "predictions of 2 folds pooled, site split" in done.output
    assert "each site, by a model that has not seen it" in done.output
    found = [json.loads(path.read_text()) for path in sorted((hospitals / "runs").glob("*/result.json"))]
    left_out = {result["data"]["fold"]["left_out"] for result in found}
    assert len(left_out) == 2
    assert all(name in done.output for name in left_out)
    assert "Bern" not in done.stdout
    schema = json.loads((importlib.resources.files("medssl.results") / "result.schema.json").read_text())
    for result in found:
        jsonschema.validate(result, schema)
        told = result["data"]["confounding"]["site_in_features"]
        assert told["value"] == 1.0 > told["chance_high"]  # the films differ
        assert (told["sites"], told["groups"]) == (2, 24)
        warnings = [text for text in result["data"]["warnings"] if "frozen features tell the site" in text]
        assert len(warnings) == 1
    page = next((hospitals / "runs").glob("*/report.html")).read_text()
    assert "Frozen features tell the site (balanced accuracy 1.00" in page
