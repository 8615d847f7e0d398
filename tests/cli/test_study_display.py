"""What a study says while it goes on."""

import pytest

from medssl.catalog import load_catalog
from medssl.cli import study_display
from medssl.cli.study_display import PlainStudy, RichStudy
from medssl.study.grid import expand
from medssl.study.plan import plan_of
from medssl.study.schedule.state import CellOutcome


@pytest.fixture(scope="module")
def cell():
    plan = plan_of(methods=("dcl",), datasets=("phantom",), settings={"train": {"epochs": 4}})
    return expand(plan, [], load_catalog(), None)[0]


def tell(display, cell):
    with display:
        display.begin(3, 1)
        display.start(cell)
        display.stage(cell, "pre-training")
        display.tick(90.0)
        display.epoch(cell, 2, 1.25)
        display.end(CellOutcome(cell, "done"))
        display.wait(cell)
        display.tick(None)
        display.end(CellOutcome(cell, "failed", "the [images] are missing."))


def test_piped_it_is_lines(cell, capsys, monkeypatch):
    monkeypatch.setattr(study_display, "_EVERY", 0.0)
    tell(PlainStudy(), cell)
    assert capsys.readouterr().err.splitlines() == [
        "3 cells, 1 of them already finished",
        f"start   phantom dcl, batch 64, seed 0  ({cell.recipe.slug})",
        "        phantom dcl, batch 64, seed 0: pre-training; about 1 min 30 s left",
        "        phantom dcl, batch 64, seed 0: epoch 2/4, loss 1.2500; about 1 min 30 s left",
        "done    phantom dcl, batch 64, seed 0  [2/3]",
        "wait    phantom dcl, batch 64, seed 0: another process is running it",
        f"FAILED  phantom dcl, batch 64, seed 0 ({cell.recipe.slug}): the [images] are missing.  [3/3]",
    ]


def test_on_a_terminal_it_says_the_same_once(cell, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    tell(RichStudy(), cell)
    said = capsys.readouterr().err
    assert said.count("done    phantom dcl, batch 64, seed 0") == 1
    assert "the [images] are missing." in said
    assert "3/3" in said
