"""The least result of a run, for tests in which nothing is computed."""

import json

import pytest

from medssl.results.directory import SCHEMA


@pytest.fixture(scope="session")
def least_result():
    """The least that the ``result.json`` of a finished run holds."""
    return {
        "schema": SCHEMA,
        "method": "random",
        "dataset": "phantom",
        "seed": 0,
        "recipe": {},
        "environment": {},
        "data": {
            "directory": "phantom",
            "images": 1,
            "train": 1,
            "val": 0,
            "test": 0,
            "split": "grouped",
            "target": {"kind": "classes", "names": ["a", "b"]},
            "store": {"key": "k"},
        },
        "pretrain": {"epochs": 1, "seconds": 2.0},
        "metrics": {},
        "evaluations": {},
        "diagnostics": {},
        "seconds": 3.0,
    }


@pytest.fixture
def finish(least_result):
    """A function that writes the result of a run into its folder."""

    def write(folder):
        folder.mkdir(exist_ok=True)
        (folder / "result.json").write_text(json.dumps(least_result))

    return write


@pytest.fixture
def finish_all(finish):
    """A function that writes the results of all cells of a job."""

    def write(job):
        for name in job.cells:
            finish(job.study / name)

    return write
