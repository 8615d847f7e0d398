"""``medssl check``: one line per property, as it comes, and what it could not look at."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main


@pytest.fixture
def call():
    return lambda *words: CliRunner().invoke(main, ["check", *words])


@pytest.fixture
def images(tmp_path):
    for number in range(8):
        path = tmp_path / "folder" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 6), number).save(path)
    return tmp_path


@pytest.mark.slow
def test_a_dataset_without_files_says_what_was_not_looked_at(call):
    result = call("colorectal")
    assert result.exit_code == 0, result.output
    assert (
        "  -     images can be read (its files are not available; give their folder with --data-dir)\n" in result.output
    )
    assert "  ok    fetch refuses a wrong file\n" in result.output


def test_data_dir_holds_the_dataset_s_folder_as_for_a_run(call, images):
    result = call("folder", "--data-dir", str(images))
    assert result.exit_code == 0, result.output
    assert "  ok    images can be read\n" in result.output
    assert "its files are not available" not in result.output
    assert "  -     fetch refuses a wrong file (it has no fetch(), or needs no files)\n" in result.output


def test_a_breach_is_shown_with_what_was_seen_and_exit_code_1(call, images):
    (images / "folder" / "a" / "0.png").write_bytes(b"no image")
    result = call("folder", "--data-dir", str(images))
    assert result.exit_code == 1
    assert "  FAIL  images can be read\n        it raised DataError: " in result.output


def test_json_tells_what_was_not_seen_from_what_holds(call):
    rows = {row["check"]: row for row in json.loads(call("breast", "--json").output)["checks"]}
    assert rows["missing files are explained"] == {
        "check": "missing files are explained",
        "ok": True,
        "problem": None,
        "not_seen": None,
    }
    assert rows["images can be read"]["not_seen"] == "its files are not available; give their folder with --data-dir"


def test_options_reach_the_plugin(call):
    result = call("medmnist", "--set", "dataset.name=pathmnist")
    assert result.exit_code == 0, result.output
    result = call("medmnist", "--set", "dataset.name=pathmnst")
    assert result.exit_code == 1
    assert "name: expected one of bloodmnist" in result.output


def test_an_evaluator_s_options_read_as_in_a_run(call):
    result = call("knn", "--set", "evaluators.knn.ks=[1]", "--set", "evaluators.knn.report=[]")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("word", ["method.temperature=1", "evaluators.mlp.hidden=3", "evaluators=3", "ks=3"])
def test_an_option_of_something_else_is_refused(call, word):
    result = call("knn", "--set", word)
    assert result.exit_code == 1
    assert f"--set {word} is not an option of the evaluator 'knn'" in result.output
    assert "Write --set evaluators.knn.OPTION=VALUE" in result.output


def test_a_data_folder_is_for_datasets(call):
    result = call("knn", "--data-dir", ".")
    assert result.exit_code == 2
    assert "knn is an evaluator and reads no files. Leave out --data-dir." in result.output


def test_an_unknown_name_suggests_the_closest(call):
    result = call("dlc")
    assert result.exit_code == 1
    assert "Did you mean 'dcl'?" in result.output
