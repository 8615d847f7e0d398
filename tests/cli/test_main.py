"""The command line's manners: help, lists, mistakes, exit codes."""

import json

import pytest
from click.testing import CliRunner

from medssl.cli import main


@pytest.fixture
def call():
    def run(*words):
        return CliRunner().invoke(main, list(words))

    return run


def test_help_lists_every_command_with_its_line(call):
    result = call("--help")
    assert result.exit_code == 0
    for name in main.list_commands(None):
        assert f"\n  {name} " in result.output


@pytest.mark.parametrize("name", main.list_commands(None))
def test_every_command_has_help_of_its_own(call, name):
    result = call(name, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_a_mistyped_command_is_a_usage_error_that_names_the_closest(call):
    result = call("rnu")
    assert result.exit_code == 2
    assert "Did you mean 'run'?" in result.output


def test_list_shows_names_with_summaries(call):
    result = call("list", "methods")
    assert result.exit_code == 0
    assert "\n  dcl " in result.output
    assert "datasets:" not in result.output


def test_list_as_json_names_the_package_of_each_plugin(call):
    rows = json.loads(call("list", "--json").output)
    assert {"kind", "name", "summary", "distribution", "version", "target"} == set(rows[0])
    assert ("evaluator", "knn") in {(row["kind"], row["name"]) for row in rows}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--method", "dlc", "--dataset", "phantom"), "Did you mean 'dcl'?"),
        (("--method", "phantom", "--dataset", "dcl"), "did you swap --method and --dataset?"),
        (("--dataset", "phantom"), "no method is named"),
        (
            ("--method", "dcl", "--dataset", "phantom", "--epochs", "0"),
            "epochs: expected integer from 1 to 1000000, got '0'",
        ),
        (("--method", "dcl", "--dataset", "phantom", "--set", "temperature"), "It must have the form KEY=VALUE"),
        (("--method", "dcl", "--dataset", "phantom", "--set", "method.temprature=1"), "Did you mean 'temperature'?"),
        (("--method", "dcl", "--dataset", "phantom", "--recipe", "none.yaml"), "cannot be read"),
        (
            ("--method", "dcl", "--dataset", "phantom", "--data-dir", "nowhere"),
            "folder nowhere does not exist",
        ),
        (("--method", "dcl", "--dataset", "phantom", "--device", "gpu"), "no device named 'gpu'"),
        (("--method", "dcl", "--dataset", "phantom", "--backbone", "resnet81"), "Did you mean"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence_and_exit_code_1(call, words, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    result = call("run", *words)
    assert result.exit_code == 1, result.output
    assert text in result.output
    assert "Traceback" not in result.output


def test_an_unknown_flag_is_a_usage_error(call):
    assert call("run", "--methd", "dcl").exit_code == 2


def test_traceback_shows_where_an_error_came_from(call):
    result = call("--traceback", "run", "--method", "dlc", "--dataset", "phantom")
    assert result.exit_code == 1
    assert "no method named 'dlc'" in str(result.exception)


def test_show_prints_options_with_their_sources(call):
    result = call("show", "method", "dcl")
    assert result.exit_code == 0
    assert "temperature: number > 0 = 0.1  # " in result.output
    assert "      Divisor of the cosine similarities.\n" in result.output
    assert "hidden_dim: integer > 0 or null = null  # " in result.output
    assert "; null: the encoder's feature width." in result.output.replace("`", "")


def test_show_says_which_targets_an_evaluator_predicts(call):
    assert "targets: classes, grades, findings\n" in call("show", "evaluator", "calibration").output


def test_show_as_json_can_be_read_by_a_machine(call):
    values = json.loads(call("show", "method", "dcl", "--json").output)
    assert values["options"][0]["name"] == "temperature"


def test_show_of_something_else_says_what_can_be_shown(call):
    result = call("show", "methd", "dcl")
    assert result.exit_code == 1
    assert "Did you mean 'method'?" in result.output


def test_show_of_a_folder_without_a_result_says_so(call, tmp_path):
    result = call("show", str(tmp_path))
    assert result.exit_code == 1
    assert "contains no finished run" in result.output


def test_check_prints_one_line_per_property(call):
    result = call("check", "dcl")
    assert result.exit_code == 0, result.output
    assert "  ok    gradients reach the encoder" in result.output


def test_check_as_json(call):
    values = json.loads(call("check", "dcl", "--json").output)
    assert all(row["ok"] for row in values["checks"])


def test_fetch_of_a_dataset_that_brings_nothing_says_what_is_missing(call, tmp_path):
    result = call("fetch", "folder", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert str(tmp_path) in result.output
    assert call("fetch", "phantom", "--data-dir", str(tmp_path)).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--method", "random", "--dataset", "csv"],
        ["bench", "quick"],
        ["audit", "--dataset", "csv"],
        ["show", "views", "--dataset", "csv"],
        ["check", "csv"],
        ["fetch", "medmnist"],
    ],
)
@pytest.mark.parametrize("name", ["table.csv", "images.zip"])
def test_a_data_folder_that_is_a_file_is_called_a_file(call, tmp_path, words, name):
    (tmp_path / name).write_bytes(b"PK\003\004")
    result = call(*words, "--data-dir", str(tmp_path / name))
    assert result.exit_code == 1
    assert f"--data-dir {tmp_path / name} is a file. A folder is expected. Give the folder" in result.output
    assert "does not exist" not in result.output
