"""Every file of a run, a store and a study, damaged in ten ways: each command works, or says it in a sentence."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import medssl
from medssl.cli import main
from medssl.errors import MedsslError

pytestmark = pytest.mark.slow

SMALL = [
    *("--dataset", "phantom", "--set", "dataset.images_per_patient=2", "--image-size", "32"),
    *("--backbone", "test_resnet", "--batch-size", "16", "--evaluator", "knn", "--set", "evaluate.bootstrap=20"),
]


def deep(path: Path) -> None:
    nested = "[" * 100_000
    path.write_text(f"a: {nested}" if path.suffix == ".yaml" else nested)


def huge_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b'{"__metadata__":{}}' + bytes(100))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": cut,
    "garbage": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "bit flip": flip,
    "other version": lambda path: path.write_text('{"schema": 99, "format": 99, "method": 3}'),
    "folder": folder,
    "named pipe": pipe,
    "huge header": huge_header,
    "deep nesting": deep,
    "wrong type": lambda path: path.write_text("[1, 2, 3]\n"),
}
RUN_FILES = (
    *("recipe.yaml", "splits.json", "history.jsonl", "encoder.safetensors", "state.pt", "features.npz"),
    *("predictions.npz", "pictures.npz", "result.json", "report.html"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run, an unfinished one, and an image."""
    place = tmp_path_factory.mktemp("made")
    os.environ["MEDSSL_CACHE"] = str(place / "cache")
    command = ["run", "--method", "dcl", "--epochs", "2", *SMALL, "--output", str(place / "runs")]
    outcome = CliRunner().invoke(main, command)
    assert outcome.exit_code == 0, outcome.output
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(place / "image.png")
    yield place
    del os.environ["MEDSSL_CACHE"]


def call(*words: str) -> str:
    """Run a command, which must work or end in one sentence."""
    outcome = CliRunner().invoke(main, list(words))
    assert outcome.exit_code in (0, 1), outcome.output
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), repr(outcome.exception)
    assert "Traceback" not in outcome.output
    assert "--json" in words or len(outcome.output) < 100_000
    return outcome.output


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", RUN_FILES)
def test_a_damaged_file_of_a_run_is_said_in_a_sentence(made, tmp_path, name, damage):
    shutil.copytree(made / "runs", tmp_path / "runs")
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    DAMAGES[damage](run / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        same = ["run", "--method", "dcl", "--epochs", "2", *SMALL, "--output", "runs"]
        call("show", str(run))
        call("report", "runs", "--output", "report")
        if name in ("encoder.safetensors", "recipe.yaml", "splits.json"):
            said = call("embed", str(run), str(made / "image.png"), "--output", "f.npz")
            if name == "encoder.safetensors":
                assert "encoder.safetensors" in said
            call("evaluate", str(run), *SMALL[:4], "--set", "evaluate.bootstrap=20", "--output", "evaluated")
        call(*same)
        with contextlib.suppress(MedsslError):
            result = medssl.load_run(run)
            for read in (result.predictions, result.features, result.split, result.history):
                read()
        (run / "result.json").unlink() if (run / "result.json").is_file() else None
        if name in ("state.pt", "history.jsonl", "splits.json", "recipe.yaml"):
            call(*same)  # continues, or says why it cannot


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["header.json", "pixels", "contents"])
def test_a_damaged_cache_is_built_again(made, tmp_path, name, damage, monkeypatch):
    shutil.copytree(made / "cache", tmp_path / "cache")
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    found = list(tmp_path.glob("cache/contents/*.json" if name == "contents" else f"cache/stores/*/{name}"))
    for path in found:
        DAMAGES[damage](path)
    output = call("run", "--method", "dcl", "--epochs", "2", *SMALL, "--output", str(tmp_path / "runs"), "--json")
    before = json.loads(next((made / "runs").glob("*/result.json")).read_text())
    assert json.loads(output)["evaluations"] == before["evaluations"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["study.json", "plan.yaml", "catalogue.yaml", "recipe.yaml"])
def test_a_damaged_file_of_a_study_is_said_in_a_sentence(made, tmp_path, name, damage):
    shutil.copytree(made / "runs", tmp_path / "runs")
    path = tmp_path / "runs" / name
    path.write_text("methods: [dcl]\n")
    DAMAGES[damage](path)
    call("report", str(tmp_path / "runs"), "--output", str(tmp_path / "report"))
    if name == "plan.yaml":
        assert "plan" in call("bench", str(path), "--dry-run", "--output", str(tmp_path / "runs"))
    if name == "catalogue.yaml" and damage != "empty":  # an empty catalogue adds nothing
        assert "catalogue" in call("list", "--catalog", str(path))
    if name == "recipe.yaml":
        call("run", "--recipe", str(path), "--output", str(tmp_path / "runs"))
