"""A plan of a search says what is searched; a study is no search, and a search no study."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.errors import OptionError
from medssl.study.plan import read_plan
from medssl.study.search.plan import SearchPlan, read_search_plan
from medssl.study.search.ranges import read_vary


def test_the_papers_search_has_every_value_of_its_table_1():
    plan = read_search_plan("paper-probe", load_catalog())
    ranges = read_vary(plan.vary)
    assert ranges["evaluators.mlp.batch_size"].choices == ("16", "32", "64")
    rates = {float(value) for value in ranges["evaluators.mlp.learning_rates"].choices}
    table_1 = {0.01, 0.5, 0.005, 0.1}
    assert rates == table_1
    assert (plan.recipe, plan.trials) == ("paper", 3 * 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("methods: [dcl]", "no ranges under `vary`, so it is no search. Start a study with medssl bench"),
        ("vary: {a.b: '1,2'}\ntrails: 3", "unknown key 'trails'.*Did you mean 'trials'"),
        ("vary: {a.b: '1,2'}\ntrials: many", "trials 'many'. Expected: a whole number"),
        ("vary: [1]", r"vary \[1\]. Expected: a mapping"),
        ("- vary", "contains no plan"),
    ],
)
def test_a_file_that_is_no_search_is_refused(tmp_path, text, words):
    file = tmp_path / "plan.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=words):
        read_search_plan(file, load_catalog())


def test_a_file_is_read_and_is_no_study(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text("vary: {train.batch_size: '8,16'}\nobjective: knn.auroc\nsettings: {train: {epochs: 2}}\n")
    wanted = SearchPlan(vary={"train.batch_size": "8,16"}, objective="knn.auroc", settings={"train": {"epochs": 2}})
    assert read_search_plan(file, load_catalog()) == wanted
    with pytest.raises(OptionError, match=r"is a search of settings\. Start it with medssl tune --plan"):
        read_plan(file, load_catalog())


@pytest.mark.slow
def test_a_plan_of_the_probe_pre_trains_once_and_tries_every_combination(tmp_path):
    pytest.importorskip("optuna")
    file = tmp_path / "plan.yaml"
    file.write_text(
        "vary: {evaluators.mlp.batch_size: '4,8', evaluators.mlp.learning_rates: '0.01,0.1'}\n"
        "objective: mlp.accuracy\ntrials: 4\n"
        "settings: {train: {epochs: 1, batch_size: 8}, evaluate: {baseline: false, bootstrap: 0},\n"
        "  evaluators: {mlp: {epochs: 2}}, encoder: {backbone: resnet10t}}\n"
    )
    words = ["tune", "--plan", str(file), "--method", "dcl", "--dataset", "phantom", "--output", str(tmp_path)]
    words += ["--set", "dataset.patients_per_class=5", "--set", "dataset.images_per_patient=2", "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    import json

    import medssl

    (folder,) = tmp_path.glob("tune-*")
    trials = json.loads((folder / "search.json").read_text())["trials"]
    tried = {tuple(trial["settings"].values()) for trial in trials}
    assert tried == {("4", "0.01"), ("4", "0.1"), ("8", "0.01"), ("8", "0.1")}
    runs = [medssl.load_run(folder / trial["run"]) for trial in trials]
    assert [run.training.reused is None for run in runs] == [True, False, False, False]
