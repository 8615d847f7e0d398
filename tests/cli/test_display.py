"""What a run says while it goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.cli.display import PlainDisplay, RichDisplay, choose_display, reading_images
from medssl.io import waiting
from medssl.recipe import resolve
from medssl.train.loop.records import EpochRecord, StepRecord

PHANTOM = ("--set", "dataset.patients_per_class=4", "--set", "dataset.images_per_patient=2", "--set", "dataset.size=32")
SMALL = (*PHANTOM, "--image-size", "32", "--batch-size", "8", "--evaluator", "knn", "--backbone", "test_resnet")

SPREAD = {"feature_std": None, "effective_rank": None}


@pytest.fixture
def soon(monkeypatch):
    """A minute is short."""
    monkeypatch.setattr(waiting, "MINUTE", 0.1)


@pytest.fixture(scope="module")
def recipe():
    return resolve(load_catalog(), [{"method": "dcl", "dataset": "phantom", "train": {"epochs": 4}}])


def said_during(capsys, seconds=0.3):
    capsys.readouterr()
    time.sleep(seconds)
    return {re.sub(r"\d+ s: ", "0 s: ", line) for line in capsys.readouterr().err.splitlines()}


def test_silence_when_piped_is_broken_in_every_stage_and_within_an_epoch(soon, recipe, capsys):
    with choose_display(recipe, quiet=False) as display:
        assert isinstance(display, PlainDisplay)
        display.stage("data")
        display.progress(5, 900)
        assert "  after 0 s: data, 5 of 900 images read" in said_during(capsys)
        display.stage("pre-training")
        display.step(StepRecord(epoch=0, step=6, total_steps=400, loss=1.25, learning_rate=0.1))
        assert "  after 0 s: pre-training, step 7 of 400, loss 1.2500" in said_during(capsys)
        display.stage("evaluation")
        assert "  after 0 s: evaluation" in said_during(capsys)
        display.close()
        assert said_during(capsys) == set()
    assert said_during(capsys) == set()


def test_a_quiet_display_stays_silent(soon, recipe, capsys):
    with choose_display(recipe, quiet=True) as display:
        display.stage("data")
        assert said_during(capsys) == set()


def test_lines_show_the_first_and_last_epoch(recipe, capsys):
    with PlainDisplay(recipe) as display:
        for epoch in range(4):
            record = EpochRecord(
                epoch=epoch, loss=1.5, learning_rate=0.1, images=8, seconds=2.0, images_per_second=4.0, **SPREAD
            )
            display.epoch(record)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [recipe.slug, *(f"  epoch {n}/4  loss 1.5000  4 images/s" for n in (1, 2, 3, 4))]


def test_on_a_terminal_the_notes_are_above_the_bar(recipe, capsys):
    with RichDisplay(recipe) as display:
        display.stage("data")
        display.progress(1, 2)
        display.note("the [images] are small")
    assert "the [images] are small" in capsys.readouterr().err


def test_commands_without_a_display_count_the_images(soon, capsys):
    with reading_images("duplicates are looked for") as progress:
        assert said_during(capsys) == {"  after 0 s: the images are listed"}
        progress(3, 9)
        assert "  after 0 s: 3 of 9 images read" in said_during(capsys)
        progress(9, 9)
        assert "  after 0 s: duplicates are looked for" in said_during(capsys)


def test_a_long_audit_is_not_silent_and_its_json_is_clean(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(waiting, "MINUTE", 0.01)
    found = CliRunner().invoke(main, ["audit", "--dataset", "phantom", *PHANTOM, "--json"])
    assert found.exit_code == 0
    assert "images are listed" in found.stderr or "images read" in found.stderr
    assert found.stdout.startswith("{")
    assert " s: " not in found.stdout


@pytest.mark.slow
def test_a_resumed_run_says_so(tmp_path):
    words = [sys.executable, "-m", "medssl", "run", "--method", "dcl", "--dataset", "phantom", *SMALL]
    words += ["--epochs", "40", "--device", "cpu", "--set", "evaluate.baseline=false"]
    surroundings = {**os.environ, "MEDSSL_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(words, cwd=tmp_path, env=surroundings, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while not any(len(file.read_bytes().splitlines()) >= 2 for file in tmp_path.glob("runs/*/history.jsonl")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, first = process.communicate()
    assert process.returncode == 143
    assert b"continued" not in first
    done = subprocess.run(words, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=True)
    assert "of 40 epochs were finished by an earlier call" in done.stderr
    assert done.stderr.count("  continued: ") == 1
