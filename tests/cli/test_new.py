"""A new package: whole or not at all. That it installs and runs is shown in architecture/test_third_party.py."""

from __future__ import annotations

import importlib.util
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from medssl.cli import main
from medssl.conformance import check_plugin
from medssl.contracts.kinds import KINDS


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["new", *words])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_writes_a_package_whose_python_compiles(call, tmp_path, kind):
    outcome = call(kind.name, "my_plugin")
    assert outcome.exit_code == 0, outcome.output
    folder = tmp_path / "medssl-my-plugin"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == ["README.md", "medssl_my_plugin.py", "pyproject.toml", "tests/test_medssl_my_plugin.py"]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {kind.group: {"my_plugin": "medssl_my_plugin:MyPlugin"}}
    for path in folder.rglob("*.py"):
        compile(path.read_text(), path.name, "exec")
        assert max(len(line) for line in path.read_text().splitlines()) <= 120


@pytest.mark.parametrize("kind", ["encoder", "reader", "tracker", "launcher"])
def test_a_new_plugin_keeps_its_contract(call, tmp_path, kind):
    """The other kinds are tested in architecture/test_third_party.py, from a package that is installed."""
    assert call(kind, "own").exit_code == 0
    spec = importlib.util.spec_from_file_location("medssl_own", tmp_path / "medssl-own" / "medssl_own.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    check_plugin(kind, module.Own)


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


# ------------------------------------------------------------------------------------------- --into: one plugin more


@pytest.fixture
def package(call, tmp_path):
    """A package with the method ``first``."""
    assert call("method", "first").exit_code == 0
    return tmp_path / "medssl-first"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(call, package, *words):
    """Call, expect a refusal that leaves the package as it was, and return the message."""
    before = content(package)
    outcome = call(*words)
    assert outcome.exit_code == 1, outcome.output
    assert content(package) == before
    assert "Nothing was written" in outcome.output
    return outcome.output


def test_two_methods_and_a_dataset_come_into_one_package(call, package):
    before = content(package)
    for kind, name in (("method", "second"), ("dataset", "scans")):
        outcome = call(kind, name, "--into", "medssl-first")
        assert outcome.exit_code == 0, outcome.output
        assert f"next: pip install -e ./medssl-first && medssl check {name}" in outcome.output
    after = content(package)
    new = {"medssl_second.py", "tests/test_medssl_second.py", "medssl_scans.py", "tests/test_medssl_scans.py"}
    assert set(after) == set(before) | new
    assert all(after[name] == text for name, text in before.items() if name != "pyproject.toml")
    project = before["pyproject.toml"].decode()
    first = 'first = "medssl_first:First"\n'
    more = 'second = "medssl_second:Second"\n\n[project.entry-points."medssl.datasets"]\nscans = "medssl_scans:Scans"\n'
    files = ('["medssl_first.py"]', '["medssl_first.py", "medssl_second.py", "medssl_scans.py"]')
    assert after["pyproject.toml"].decode() == project.replace(first, first + more).replace(*files)


def test_an_added_plugin_is_the_one_of_a_new_package(call, package, tmp_path):
    assert call("dataset", "scans", "--into", "medssl-first").exit_code == 0
    assert call("dataset", "scans").exit_code == 0
    alone = content(tmp_path / "medssl-scans")
    added = content(package)
    for name in ("medssl_scans.py", "tests/test_medssl_scans.py"):
        assert added[name] == alone[name]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"medssl_first.py"]', '\n  "medssl_first.py", # mine\n]'),
        ('"medssl_first.py"]', '\n  "medssl_first.py",\n]'),
        ('"medssl.methods"]', "'medssl.methods'] # mine [here]"),
        ('"medssl_first:First"\n', '"medssl_first:First" # mine\n# another\n\n# of the wheel\n'),
        ('[tool.hatch.build.targets.wheel]\ninclude = ["medssl_first.py"]\n', ""),
        ("\n", "\r\n"),
        ('["medssl_first.py"]\n', '["medssl_first.py"]'),
    ],
    ids=["comment in list", "list over lines", "quotes", "comments", "wheel first", "CRLF", "no last line end"],
)
@pytest.mark.parametrize("kind", ["method", "evaluator"])
def test_what_its_owner_wrote_stays_byte_for_byte(call, package, kind, old, new):
    file = package / "pyproject.toml"
    written = file.read_bytes().decode().replace(old, new)
    if not new:
        written = old + "\n" + written
    file.write_bytes(written.encode())
    outcome = call(kind, "more", "--into", str(package))
    if "# mine\n]" in written:  # a comment in the list: the program does not guess
        assert "has another form than" in outcome.output
        assert file.read_bytes().decode() == written
        return
    assert outcome.exit_code == 0, outcome.output
    text = file.read_bytes().decode()
    project = tomllib.loads(text)
    assert project["project"]["entry-points"][f"medssl.{kind}s"]["more"] == "medssl_more:More"
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["include"] == ["medssl_first.py", "medssl_more.py"]
    end = "\r\n" if "\r\n" in written else "\n"
    table = "" if kind == "method" else f'{end}[project.entry-points."medssl.evaluators"]{end}'
    for added in (f'{table}more = "medssl_more:More"{end}', ', "medssl_more.py"'):
        assert text.count(added) == 1
        text = text.replace(added, "")
    assert text == written


def test_a_folder_that_is_no_such_package_is_refused(call, tmp_path):
    (tmp_path / "other").mkdir()
    file = tmp_path / "other" / "pyproject.toml"
    assert "pyproject.toml cannot be read (No such file" in refused(call, tmp_path, "method", "a", "--into", "missing")
    assert "other is not a package made by 'medssl new'" in refused(call, tmp_path, "method", "a", "--into", "other")
    for text, why in {
        "[project": "is not valid TOML",
        "\ufeff[project]": "is not valid TOML",
        '[project]\nname = "x"\n': "registers no plugin",
        'project = "x"\n': "registers no plugin",
        '[project]\nname = "x"\nentry-points = {"medssl.methods" = 3}\n': "entry points that are no table",
        '[project.entry-points."medssl.methods"]\na = "b:c"\n': "names no project",
        '[project]\nname = "x"\n[project.entry-points."medssl.methods"]\na = "b:c"\n': "does not list the modules",
    }.items():
        file.write_text(text, encoding="utf-8")
        assert why in refused(call, tmp_path, "method", "a", "--into", "other")
    file.write_bytes(b"\xff")
    assert "is not valid TOML" in refused(call, tmp_path, "method", "a", "--into", "other")


def test_names_and_files_that_are_taken_are_refused(call, package):
    into = ("--into", "medssl-first")
    assert "medssl-first already contains a method 'first'" in refused(call, package, "method", "first", *into)
    assert "medssl_first.py already exists" in refused(call, package, "dataset", "first", *into)
    (package / "tests" / "test_medssl_mine.py").write_text("mine\n")
    assert "test_medssl_mine.py already exists" in refused(call, package, "method", "mine", *into)
    for name, why in {"dcl": "The package medssl provides it", "My": "cannot name a plugin"}.items():
        assert why in call("method", name, *into).output
        assert not (package / f"medssl_{name}.py").exists()


@pytest.mark.parametrize("last", [0, 1, 2])
def test_nothing_is_half_written(call, package, monkeypatch, last):
    """The disk fails at each of the three files in turn."""
    shutil.rmtree(package / "tests")
    replace, done = Path.replace, []

    def fail(self, target):
        if len(done) == last:
            raise OSError(28, "No space left on device")
        done.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    assert "No space left on device" in refused(call, package, "method", "second", "--into", "medssl-first")
    assert not (package / "tests").exists()
    assert len(done) == last
