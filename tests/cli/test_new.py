"""A new package: whole or not at all. That it installs and runs is shown in architecture/test_third_party.py."""

from __future__ import annotations

import tomllib

import pytest
from click.testing import CliRunner

from medssl.cli import main


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["new", *words])


@pytest.mark.parametrize("kind", ["method", "dataset", "evaluator"])
def test_it_writes_a_package_whose_python_compiles(call, tmp_path, kind):
    outcome = call(kind, "my_plugin")
    assert outcome.exit_code == 0, outcome.output
    folder = tmp_path / "medssl-my-plugin"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == ["README.md", "medssl_my_plugin.py", "pyproject.toml", "tests/test_medssl_my_plugin.py"]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {f"medssl.{kind}s": {"my_plugin": "medssl_my_plugin:MyPlugin"}}
    for path in folder.rglob("*.py"):
        compile(path.read_text(), path.name, "exec")
        assert max(len(line) for line in path.read_text().splitlines()) <= 120


@pytest.mark.parametrize("name", ["My", "9lives", "with-dash", "class", "ünder", ""])
def test_what_cannot_name_a_plugin_is_refused(call, tmp_path, name):
    outcome = call("method", name)
    assert outcome.exit_code == 1
    assert "cannot name a plugin" in outcome.output
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(call, tmp_path):
    outcome = call("method", "dcl")
    assert outcome.exit_code == 1
    assert "The package medssl provides it" in outcome.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(call, tmp_path):
    (tmp_path / "medssl-mine").mkdir()
    outcome = call("dataset", "mine")
    assert outcome.exit_code == 1
    assert "Nothing was written" in outcome.output
    assert list((tmp_path / "medssl-mine").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(call, tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("medssl.scaffold.package.mkdtemp", refuse)
    outcome = call("dataset", "mine")
    assert outcome.exit_code == 1
    assert f"{tmp_path} cannot be written to" in outcome.output
