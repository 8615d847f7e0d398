"""What is left of a study, by hand."""

import json

import pytest

from medssl.catalog import load_catalog
from medssl.results.directory import SCHEMA, RunDirectory
from medssl.study.grid import expand
from medssl.study.plan import plan_of
from medssl.study.schedule.timing import Clock, learn_folder

SETTINGS = {"train": {"epochs": 10}}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture(scope="module")
def cells(catalog):
    plan = plan_of(methods=("dcl", "simclr"), datasets=("phantom",), label_fractions=(1.0, 0.1), settings=SETTINGS)
    return expand(plan, [], catalog, None)  # dcl, dcl 10 %, simclr, simclr 10 %


def test_nothing_is_said_before_anything_is_known(cells):
    assert Clock().left(cells, {}, set(), 1) is None


def test_cells_that_share_their_pretraining_cost_it_once(cells):
    clock = Clock()
    clock.learn_epoch(cells[0].recipe, 3.0)
    assert clock.left(cells, {}, set(), 1) == pytest.approx(2 * 10 * 3)
    assert clock.left(cells, {}, set(), 2) == pytest.approx(30)
    assert clock.left(cells, {cells[0].recipe.slug: 4}, set(), 1) == pytest.approx(6 * 3 + 30)
    assert clock.left(cells, {}, {cells[0].recipe.pretraining_hash}, 1) == pytest.approx(30)


def test_one_long_cell_bounds_the_time_from_below(cells):
    clock = Clock()
    clock.learn_epoch(cells[0].recipe, 3.0)
    assert clock.left(cells[:1], {}, set(), 8) == pytest.approx(30)


def test_the_most_similar_runs_are_asked_first(cells):
    clock = Clock()
    clock.learn_epoch(cells[0].recipe, 2.0)
    clock.learn_epoch(cells[2].recipe, 8.0)
    assert clock.left([cells[0]], {}, set(), 1) == pytest.approx(20)
    assert clock.left([cells[2]], {}, set(), 1) == pytest.approx(80)


def test_finished_runs_in_the_folder_are_learnt_from(cells, catalog, tmp_path):
    recipe = cells[0].recipe
    directory = RunDirectory(tmp_path / recipe.slug)
    directory.make()
    directory.finish(
        {
            "schema": SCHEMA,
            "method": "m",
            "dataset": "d",
            "seed": 0,
            "recipe": {**recipe.to_dict(), "hash": recipe.hash},
            "environment": {},
            "data": {
                "directory": "d",
                "images": 3,
                "train": 1,
                "val": 1,
                "test": 1,
                "target": {"kind": "classes", "names": ["a", "b"]},
                "split": "random",
            },
            "metrics": {},
            "evaluations": {},
            "diagnostics": {},
            "pretrain": {"epochs": 10, "seconds": 50.0, "reused": None},
            "seconds": 57.0,
        }
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text(json.dumps({"schema": 99}))
    assert learn_folder(tmp_path, catalog).left([cells[0]], {}, set(), 1) == pytest.approx(57)
