"""Where the numbers come from: data, commands, recipes, versions."""

import shlex
from dataclasses import replace
from pathlib import Path

import yaml

from medssl.report.sections import make_sections
from medssl.report.words.provenance import commands, data_table, environments, features_table, recipes
from medssl.report.words.trust import collapsed_rows, findings
from medssl.study.results.summary import summarise


def section_of(*runs):
    [section] = make_sections(summarise(list(runs)))
    return section


def test_the_command_of_a_run_names_its_own_recipe(make_run, tmp_path):
    run = make_run()
    [found] = commands(section_of(run), tmp_path / "report")
    words = shlex.split(found["command"])
    assert words[:3] == ["medssl", "run", "--recipe"]
    assert Path(words[3]) == Path(found["result"]).with_name("recipe.yaml")
    assert words[4:] == ["--data-dir", "DATA"]
    assert Path(found["result"]).name == "result.json"
    assert found["time"] == "1 min 15 s"


def test_the_data_table_adds_up(make_run):
    run = make_run()
    header, rows = data_table(section_of(run))
    assert header == ["part", "images", "patients", *run.data.target.output_names]
    assert [row[0] for row in rows] == ["train", "val", "test"]
    for row in rows:
        assert int(row[1]) == sum(int(cell) for cell in row[3:]) == run.values["data"][row[0]]


def test_a_run_without_its_split_still_has_its_counts(make_run):
    run = make_run()
    (run.path / "splits.json").unlink()
    header, rows = data_table(section_of(run))
    assert header == ["part", "images", "patients"]
    assert len(rows) == 3


def test_recipes_after_the_first_tell_only_what_differs(make_run):
    (_, first), (label, second) = recipes(section_of(make_run(), make_run(batch_size=8)))
    assert "batch_size: 4" in first
    assert label == "mae, batch 8"
    assert yaml.safe_load(second) == {"train": {"batch_size": 8}}


def test_every_version_is_listed_once(make_run):
    runs = [make_run(), make_run(seed=1), make_run(seed=2)]
    runs[2].values["environment"]["python"] = "3.12"
    found = dict(environments(runs))
    assert found["python"] == "3.11; 3.12"
    assert found["medssl"] == "0.1.0"
    assert "gpu" not in found  # empty


def test_measures_of_the_features_are_means_over_runs(make_run):
    runs = [make_run(), make_run(seed=1)]
    features = {**runs[1].diagnostics["features"], "effective_rank": 12.5}
    runs[1] = replace(runs[1], values={**runs[1].values, "diagnostics": {"features": features}})
    header, [row] = features_table(section_of(*runs))
    assert dict(zip(header, row, strict=True))["effective rank"] == "11"


def test_findings_say_once_which_rows_they_are_about(make_run):
    runs = [
        make_run(warnings=["all"]),
        make_run(seed=1, warnings=["all", "one"]),
        make_run(batch_size=8, warnings=["all"]),
    ]
    assert findings(section_of(*runs)) == ["all.", "mae (batch 4): one."]


def test_a_collapse_in_one_seed_is_found(make_run):
    [(row, kind)] = collapsed_rows(section_of(make_run(), make_run(seed=1, collapsed="complete")))
    assert row.method == "mae"
    assert kind == "complete in 1 of 2 runs"
