"""Two recordings are compared to the bit, and a difference is named."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLD = {
    "made with": {"torch": "2.8", "commit": "a"},
    "runs": {
        "grouped": {"final loss": 0.1 + 0.2, "evaluations.knn.accuracy.value": 0.75, "encoder": "00ff"},
        "study": {"test.knn.accuracy.dcl - random.p": float("nan"), "row.dcl.knn.ece.low": None},
    },
}


@pytest.fixture
def compare(tmp_path):
    def run(new, old=OLD):
        for name, recording in (("old", old), ("new", new)):
            (tmp_path / f"{name}.json").write_text(json.dumps(recording))
        files = [str(tmp_path / f"{name}.json") for name in ("old", "new")]
        command = [sys.executable, "-m", "benchmarks.same_numbers", "compare", *files]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def changed(run, key, value):
    recording = copy.deepcopy(OLD)
    recording["runs"][run][key] = value
    return recording


def test_equal_recordings_pass_whatever_the_commit(compare):
    new = copy.deepcopy(OLD)
    new["made with"]["commit"] = "b"
    called = compare(new)
    assert (called.returncode, called.stderr) == (0, "")
    assert called.stdout == "equal: all of 5 numbers of 2 runs\n"


@pytest.mark.parametrize(
    ("run", "key", "value"),
    [
        ("grouped", "final loss", 0.3),  # the neighbouring double
        ("grouped", "encoder", "00fe"),
        ("study", "test.knn.accuracy.dcl - random.p", 0.5),
        ("study", "row.dcl.knn.ece.low", 0.0),
    ],
)
def test_a_planted_difference_is_found_and_named(compare, run, key, value):
    called = compare(changed(run, key, value))
    assert called.returncode == 1
    head, row, verdict = called.stdout.splitlines()
    assert head.split() == ["run", "key", "old", "new"]
    assert row.startswith(run)
    assert key in row
    assert row.endswith(str(value))
    assert str(OLD["runs"][run][key]) in row
    assert verdict == "1 of 5 numbers of 2 runs differ"


def test_a_number_or_a_run_that_is_gone_is_a_difference(compare):
    new = copy.deepcopy(OLD)
    del new["runs"]["grouped"]["encoder"], new["runs"]["study"]
    called = compare(new)
    assert called.returncode == 1
    assert called.stdout.count("missing") == 3


def test_a_number_more_is_said_and_no_difference(compare):
    called = compare(changed("grouped", "evaluations.linear.accuracy.value", 0.5))
    assert called.returncode == 0
    assert "1 additional number" in called.stdout


def test_another_library_is_named(compare):
    new = copy.deepcopy(OLD)
    new["made with"]["torch"] = "2.9"
    assert "torch: 2.8, now 2.9" in compare(new).stdout
