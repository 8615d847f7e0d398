"""`medssl bench` up to the point where it starts to work."""

import pytest
from click.testing import CliRunner

from medssl.cli import main
from medssl.cli.bench import bench


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    return lambda *words: CliRunner().invoke(main, ["bench", *words])


def test_a_dry_run_lists_every_cell_and_starts_none(call, tmp_path):
    outcome = call("quick", "--dataset", "phantom", "--batch-size", "16", "32", "--seeds", "1", "--dry-run")
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.stdout.splitlines()
    assert [line.split("  ")[1] for line in lines[:-1]] == [
        "phantom random, seed 0",
        "phantom supervised, batch 16, seed 0",
        "phantom dcl, batch 16, seed 0",
        "phantom dcl, batch 32, seed 0",
        "phantom simclr, batch 16, seed 0",
        "phantom simclr, batch 32, seed 0",
    ]
    assert lines[-1] == "6 cells, 6 to do: the time is unknown until a first run in runs is finished"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--label-fraction", "0.01", "0.1", "1", "--batch-size", "16", "32", "plan.yaml"],
        ["plan.yaml", "--batch-size", "16", "--label-fraction", "0.01", "0.1", "1", "--batch-size", "32"],
    ],
)
def test_several_numbers_may_follow_one_flag(words):
    params = bench.make_context("bench", words).params
    assert params["label_fractions"] == (0.01, 0.1, 1.0)
    assert params["batch_sizes"] == (16, 32)
    assert params["plan"] == "plan.yaml"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["qick"], "no plan named 'qick'. Did you mean 'quick'?"),
        (["quick"], "the study names no dataset"),
        (["--dataset", "phantom"], "the study names no method"),
        (["--dataset", "phantom", "--method", "dlc"], "Did you mean 'dcl'?"),
        (["--dataset", "phantom", "--method", "dcl", "--evaluator", "knm"], "Did you mean 'knn'?"),
        (["--dataset", "phantom", "--method", "dcl", "--seeds", "0"], "seeds 0. Expected: a whole number"),
        (["--dataset", "phantom", "--method", "dcl", "--label-fraction", "2"], "label_fractions 2.0. Expected"),
        (["--dataset", "phantom", "--method", "dcl", "--epochs", "0"], "epochs: expected integer > 0"),
        (["none.yaml"], "the plan file none.yaml cannot be read"),
    ],
)
def test_a_mistake_is_answered_before_anything_starts(call, tmp_path, words, message):
    outcome = call(*words)
    assert outcome.exit_code == 1
    assert message in outcome.output
    assert list(tmp_path.iterdir()) == []
