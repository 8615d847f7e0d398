"""The run directory keeps what is its own and says what it cannot use."""

import io

import pytest
from rich.console import Console

from medssl.contracts.targets import Classes
from medssl.errors import CheckpointError
from medssl.evaluation.metrics import metric_facts
from medssl.results.directory import RunDirectory, RunResult

FACTS = metric_facts(Classes(("a", "b")))
LEADING = ["accuracy", "f1_weighted", "f1_macro", "balanced_accuracy", "auroc", "mcc", "ece", "brier"]


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(tmp_path / "run")


def test_a_claimed_directory_accepts_the_same_recipe_and_no_other(directory):
    directory.claim({"seed": 1, "train": {"epochs": 2}})
    directory.claim({"train": {"epochs": 2}, "seed": 1})
    with pytest.raises(CheckpointError, match="contains a run of another recipe"):
        directory.claim({"seed": 2, "train": {"epochs": 2}})


def test_clearing_removes_the_runs_own_files_only(directory):
    directory.claim({"seed": 1})
    directory.state.write_text("x")
    (directory.path / "notes.txt").write_text("mine")
    directory.clear()
    assert [file.name for file in directory.path.iterdir()] == ["notes.txt"]


def test_a_run_without_content_takes_its_recipe_back_and_one_with_some_does_not(directory):
    directory.claim({"seed": 0})
    directory.splits.write_text("{}")
    directory.abandon()
    assert directory.recipe.exists()
    directory.splits.unlink()
    directory.abandon()
    assert list(directory.path.iterdir()) == []


def test_a_damaged_recipe_is_said_to_be_one(directory):
    directory.make()
    directory.recipe.write_text("a: [")
    with pytest.raises(CheckpointError, match=r"cannot be read.*--force"):
        directory.claim({"seed": 1})


def test_a_finished_run_is_read_back(directory, values):
    directory.make()
    assert directory.finished() is None
    assert directory.finish(values).scores["knn"]["accuracy"].value == 0.5
    assert directory.finished().values == values


@pytest.mark.parametrize(
    ("content", "words"), [("{", "cannot be read"), ("[]", "another schema"), ('{"schema": 99}', "another schema")]
)
def test_a_result_that_cannot_be_used_says_what_to_do(directory, content, words):
    directory.make()
    directory.result.write_text(content)
    with pytest.raises(CheckpointError, match=words):
        directory.load()


def test_a_number_that_json_does_not_know_is_never_written(directory):
    directory.make()
    with pytest.raises(ValueError, match="JSON"):
        directory.finish({"schema": 2, "x": float("nan")})
    assert not directory.result.exists()


def test_a_result_shows_itself_on_a_terminal_and_in_a_notebook(directory, values):
    scores = {key: {"value": 0.5, "low": 0.25, "high": 0.75} for key in FACTS if key in LEADING or key == "log_loss"}
    values |= {"method": "m<1>", "metrics": FACTS, "evaluations": {"knn": scores, "linear": scores}}
    values["data"] |= {"test": 7, "split": "random"}
    result = RunResult(directory.path, values)
    console = Console(file=io.StringIO(), width=100)
    console.print(result)
    text = console.file.getvalue()
    page = result._repr_html_()
    for shown in ("7 test images", "linear", "accuracy", ".500 [.250, .750]"):
        assert shown in text
        assert shown in page
    assert "m&lt;1&gt; on d" in page
    assert page.count("<td>") == 2 * len(LEADING)
