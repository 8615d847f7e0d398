"""A run on small views in bfloat16 names the layers that were computed in float32."""

import importlib.resources
import json

import jsonschema
import pytest
from click.testing import CliRunner
from safetensors import safe_open

from medssl.cli import main

RUN = "run --dataset phantom --epochs 1 --batch-size 16 --backbone test_resnet --evaluator knn"
SETTINGS = (
    "encoder.stem=standard",
    "evaluate.bootstrap=20",
    "dataset.images_per_patient=2",
    "train.validate_every=0",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "side", "precision", "layers"),
    [
        ("swav", 32, "bfloat16", ["layer4.0.conv1"]),  # its small views have 16 px
        ("swav", 32, "float32", []),
        ("simclr", 32, "bfloat16", []),
        ("random", 16, "bfloat16", ["layer4.0.conv1"]),
    ],
)
def test_a_run_names_its_float32_layers(tmp_path, monkeypatch, method, side, precision, layers):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    options = [*RUN.split(), "--method", method, "--image-size", str(side), "--precision", precision]
    options += [word for setting in SETTINGS for word in ("--set", setting)]
    for more in ([], ["--set", "evaluate.bootstrap=30"]):  # the second run takes over the encoder of the first
        done = CliRunner().invoke(main, [*options, *more, "--output", str(tmp_path / "runs")])
        assert done.exit_code == 0, done.output
    results = [json.loads(file.read_text()) for file in sorted((tmp_path / "runs").glob("*/result.json"))]
    schema = json.loads((importlib.resources.files("medssl.results") / "result.schema.json").read_text())
    assert len(results) == 2
    for result in results:
        jsonschema.validate(result, schema)
        environment = result["environment"]
        assert environment["precision"] == precision
        assert environment["float32_layers"] == layers
        assert ("smaller than their stride" in (environment["float32_layers_reason"] or "")) is bool(layers)
    assert sum(result["pretrain"]["reused"] is not None for result in results) == (method != "random")
    for file in (tmp_path / "runs").glob("*/encoder.safetensors"):
        with safe_open(file, "pt") as opened:
            assert json.loads(opened.metadata().get("float32_layers", "[]")) == layers
