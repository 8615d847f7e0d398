"""A search chooses on the validation part; the test part stays closed until the final run."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import medssl
from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.data.loading import Data
from medssl.errors import OptionError, TrainingError
from medssl.runs.pipeline import Place
from medssl.study.search import tuning
from medssl.study.search.ranges import read_vary
from medssl.study.search.tuning import Search, Tried, final_layers, run_search, search_folder

pytest.importorskip("optuna")

SMALL = {
    "method": "dcl",
    "dataset": {"plugin": "phantom", "patients_per_class": 5, "images_per_patient": 2, "size": 32},
    "views": {"image_size": 32},
    "encoder": {"backbone": "resnet10t"},
    "train": {"epochs": 1, "batch_size": 8, "validate_every": 1},
    "evaluators": ["knn"],
    "evaluate": {"bootstrap": 0, "baseline": False},
    "precision": "float32",
}
SEARCH = Search(
    layers=[SMALL],
    vary=read_vary({"method.temperature": "0.05..1:log", "train.learning_rate": "0.01,0.1"}),
    evaluator="knn",
    metric="auroc",
    trials=3,
)


def search(folder, made=SEARCH):
    return run_search(made, load_catalog(), Place(output=folder))


def trials_of(folder, made=SEARCH):
    text = (search_folder(made, load_catalog(), folder) / "search.json").read_text()
    return json.loads(text)["trials"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return folder, search(folder)


@pytest.mark.slow
def test_the_best_trial_is_the_one_with_the_highest_value(straight):
    folder, tried = straight
    trials = trials_of(folder)
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    best = max(trials, key=lambda trial: trial["value"])
    assert tried == Tried(settings=best["settings"], value=best["value"], complete=3, stopped=0, failed=0)


@pytest.mark.slow
def test_a_continued_search_draws_the_same_settings(straight, tmp_path):
    folder, tried = straight
    search(tmp_path, replace(SEARCH, trials=1))
    assert search(tmp_path) == tried
    assert trials_of(tmp_path) == trials_of(folder)


@pytest.mark.slow
def test_a_killed_trial_is_carried_out_again(straight, tmp_path, monkeypatch):
    folder, tried = straight
    real, calls = tuning.execute, []

    def killed_once(*args, **words):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **words)

    monkeypatch.setattr(tuning, "execute", killed_once)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path)
    assert search(tmp_path) == tried
    assert trials_of(tmp_path) == trials_of(folder)


@pytest.mark.slow
def test_no_trial_opens_the_test_part(straight, tmp_path, monkeypatch):
    real = Data.part

    def guarded(self, name, **words):
        assert name != "test", "the test part must stay closed"
        return real(self, name, **words)

    monkeypatch.setattr(Data, "part", guarded)
    assert search(tmp_path) == straight[1]


@pytest.mark.slow
def test_a_trial_says_whose_scores_it_has(straight):
    folder, _ = straight
    run = search_folder(SEARCH, load_catalog(), folder) / trials_of(folder)[0]["run"]
    result = medssl.load_run(run)
    assert "the test part is closed" in result.warnings[0]
    assert set(result.predictions().ids) == set(result.predictions("val").ids)


@pytest.mark.slow
def test_the_final_run_opens_the_test_part_and_says_how_many_were_compared(straight, tmp_path):
    _, tried = straight
    recipe = tuning.resolve(load_catalog(), final_layers(SEARCH, tried))
    assert not recipe.evaluate.closed
    result = tuning.execute(recipe, catalog=load_catalog(), place=Place(output=tmp_path), listener=tuning.Listener())
    assert result.warnings[0] == "search: 3 settings were compared on the validation part before this run"
    assert not set(result.predictions().ids) & set(result.predictions("val").ids)
    assert str(recipe.method.config.temperature) == tried.settings["method.temperature"].rstrip("0")


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(tmp_path, monkeypatch):
    real, calls = tuning.execute, []

    def diverges_once(*args, **words):
        calls.append(1)
        if len(calls) == 1:
            raise TrainingError("the loss is not finite")
        return real(*args, **words)

    monkeypatch.setattr(tuning, "execute", diverges_once)
    tried = search(tmp_path, replace(SEARCH, trials=2))
    assert (tried.complete, tried.failed) == (1, 1)
    assert trials_of(tmp_path)[0]["failure"] == "the loss is not finite"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluator": "linear"}, "which this recipe does not use. It uses: knn"),
        ({"metric": "aurok"}, "Did you mean 'auroc'"),
        ({"metric": "r2"}, "knn has no r2 on the validation part"),
        ({"vary": read_vary({"method.temprature": "1..2"})}, "Did you mean 'temperature'"),
    ],
)
def test_what_stops_every_trial_stops_the_search(tmp_path, changes, words):
    with pytest.raises(OptionError, match=words):
        search(tmp_path, replace(SEARCH, **changes))


def test_no_final_run_without_a_complete_trial():
    with pytest.raises(OptionError, match="no trial of this search is complete"):
        final_layers(SEARCH, Tried(settings={}, value=None, complete=0, stopped=0, failed=2))


def test_a_bad_trial_is_stopped_early(tmp_path, monkeypatch):
    """Five trials rise to .9 and the sixth stays at .1: the median rule stops it at its second epoch."""
    heard = []

    def trained(recipe, *, catalog, place, listener):
        value = 0.1 if len(heard) == 5 else 0.9
        heard.append(0)
        for epoch in range(3):
            heard[-1] = epoch
            listener.epoch(type("Record", (), {"validation": {"val": value}, "epoch": epoch})())
        scores = {"knn": {"auroc": type("Score", (), {"value": value})()}}
        return type("Result", (), {"scores": scores})()

    monkeypatch.setattr(tuning, "execute", trained)
    tried = search(tmp_path, replace(SEARCH, trials=6))
    assert (tried.complete, tried.stopped) == (5, 1)
    assert heard[5] == 0


@pytest.mark.slow
def test_the_command_prints_the_settings_to_use(tmp_path):
    words = ["tune", "--method", "dcl", "--dataset", "phantom", "--epochs", "1", "--evaluator", "knn", "--trials", "1"]
    words += ["--set", "dataset.patients_per_class=5", "--set", "evaluate.baseline=false", "--output", str(tmp_path)]
    done = CliRunner().invoke(main, [*words, "--vary", "train.learning_rate=0.01..1:log"])
    assert done.exit_code == 0, done.output
    assert "  --set train.learning_rate=" in done.output
    wrong = CliRunner().invoke(main, [*words, "--vary", "nothing"])
    assert "--vary nothing is no setting with a range" in wrong.output
