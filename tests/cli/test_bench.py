"""`medssl bench` up to the point where it starts to work."""

import huggingface_hub
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.cli.bench import bench
from medssl.cli.card import with_data
from medssl.cli.options import recipe_layers
from medssl.recipe import resolve


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
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
    ]
    assert "left out: imagenet: could not download the weights" in outcome.stderr
    assert lines[-1] == "4 cells, 4 to do: the time is unknown until a first run in runs is finished"
    assert list(tmp_path.iterdir()) == []


def test_the_cells_of_a_path_are_those_of_run(call, tmp_path):
    """A study of --data PATH has the recipe that run --data PATH has, with corrections by --set."""
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (24, 24), 30 * i).save(tmp_path / "pictures" / name / f"P{i}_0.png")
    words = ("--method", "random", "--data", "pictures", "--set", r"dataset.group_pattern=(P\d+)_")
    outcome = call(*words, "--seeds", "1", "--dry-run")
    assert outcome.exit_code == 0, outcome.output
    assert "4 (group), up to 2 images each" in outcome.stderr
    context = main.get_command(None, "run").make_context("run", list(words))
    recipe = resolve(load_catalog(), recipe_layers(with_data(context.params, load_catalog())))
    assert f"({recipe.slug})" in outcome.stdout
    refused = call(*words, "--dataset", "folder", "--dataset", "csv")
    assert "--dataset names several" in refused.output


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
        (["--dataset", "phantom", "--method", "dcl", "--epochs", "0"], "epochs: expected integer from 1 to"),
        (["none.yaml"], "the plan file none.yaml cannot be read"),
    ],
)
def test_a_mistake_is_answered_before_anything_starts(call, tmp_path, words, message):
    outcome = call(*words)
    assert outcome.exit_code == 1
    assert message in outcome.output
    assert list(tmp_path.iterdir()) == []


def test_a_batch_larger_than_the_training_part_is_foreseen(call):
    small = (
        "--dataset",
        "phantom",
        "--set",
        "dataset.images_per_patient=1",
        "--set",
        "split.fractions=[0.1, 0.1, 0.8]",
    )
    given = call("quick", *small, "--batch-size", "128", "--seeds", "1", "--dry-run")
    assert given.exit_code == 0, given.output
    assert (
        "phantom dcl, batch 128, seed 0 will fail: a batch of 128 is larger than the training part of" in given.output
    )
    fitted = call("quick", *small, "--seeds", "1", "--dry-run")
    assert "the batch size is" in fitted.stderr
    assert "will fail" not in fitted.output
