"""Keyed names in the place of identifiers, and the table that looks them up."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medssl.errors import CheckpointError
from medssl.io import identities
from medssl.io.identities import configuration_folder, private_id, remember_ids, revealed

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty configuration folder, and a process that has named nothing yet."""
    monkeypatch.setenv("MEDSSL_CONFIG", str(tmp_path / "config"))
    forget(monkeypatch)
    return tmp_path / "config"


def forget(monkeypatch):
    for name in ("_issued", "_unsaved", "_keys", "_tables"):
        monkeypatch.setattr(identities, name, {})
    monkeypatch.setattr(identities, "_said", set())


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_name_is_the_kind_and_48_bits_of_the_keyed_hash(folder):
    name = private_id("patient", "MÜLLER^ANNA")
    key = (folder / "identities.key").read_bytes()
    expected = hmac.new(key, "patient\0MÜLLER^ANNA".encode(), hashlib.sha256).hexdigest()[:12]
    assert name == f"patient-{expected}"
    assert private_id("patient", "MÜLLER^ANNA") == name
    assert private_id("file", "MÜLLER^ANNA").removeprefix("file-") != expected
    assert private_id("patient", "MÜLLER^ANNE") != name


def test_another_user_has_other_names(folder, tmp_path, monkeypatch):
    name = private_id("patient", "0815")
    monkeypatch.setenv("MEDSSL_CONFIG", str(tmp_path / "other"))
    assert private_id("patient", "0815") != name


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
def test_key_and_table_are_readable_by_their_owner_alone(folder):
    before = os.umask(0)
    try:
        private_id("patient", "0815")
        remember_ids()
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert [(file.name, mode(file)) for file in sorted(folder.iterdir())] == [
        ("identities.jsonl", 0o600),
        ("identities.key", 0o600),
    ]


def test_the_lock_of_a_process_that_was_killed_after_it_wrote_the_table_is_removed(folder, monkeypatch):
    private_id("patient", "Miller")
    remember_ids()
    (folder / "lock").write_bytes(b'{"pid": 999999999}')
    forget(monkeypatch)
    private_id("patient", "Miller")
    remember_ids()
    assert sorted(file.name for file in folder.iterdir()) == ["identities.jsonl", "identities.key"]


def test_the_table_reveals_in_another_process(folder, monkeypatch):
    name = private_id("patient", "m\udcfcller")  # bytes of a name that is no UTF-8
    remember_ids()
    forget(monkeypatch)
    assert revealed(name) == ("patient", "m\udcfcller")
    assert private_id("patient", name) == name, "a name is not named again"
    assert revealed("patient-000000000000") is None


def test_a_text_that_looks_like_a_name_is_still_hidden(folder):
    assert private_id("patient", "patient-123456789012") != "patient-123456789012"


def test_a_table_grows_and_passes_over_a_damaged_line(folder, monkeypatch):
    first = private_id("patient", "a")
    remember_ids()
    with (folder / "identities.jsonl").open("a") as file:
        file.write('["torn", "pat')
    forget(monkeypatch)
    second = private_id("patient", "b")
    remember_ids()
    rows = [json.loads(line) for line in (folder / "identities.jsonl").read_text().splitlines()]
    assert sorted(rows) == sorted([[first, "patient", "a"], [second, "patient", "b"]])


def test_processes_that_start_together_make_one_key_and_one_table(folder):
    code = "import sys; from medssl.tools import private_id as p; print(p('patient', 'x'), p('n', sys.argv[1]))"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], stdout=subprocess.PIPE, text=True) for i in range(6)
    ]
    names = [process.communicate()[0].split() for process in started]
    assert len({first for first, _ in names}) == 1
    assert {revealed(second) for _, second in names} == {("n", str(i)) for i in range(6)}


@pytest.mark.parametrize(("kind", "shown"), [("Patient ID", "patient_id"), ("1st", "id_1st"), ("", "id"), ("ä", "id")])
def test_a_kind_becomes_a_plain_word(folder, kind, shown):
    assert private_id(kind, "x").rpartition("-")[0] == shown


def test_a_damaged_key_is_named(folder):
    folder.mkdir()
    (folder / "identities.key").write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"identities.key is damaged. It has 5 bytes instead of 32"):
        private_id("patient", "x")


def test_without_a_folder_the_key_is_temporary_and_that_is_said_once(folder, caplog):
    folder.write_text("a file where the folder should be")
    name = private_id("patient", "x")
    assert private_id("patient", "x") == name
    private_id("patient", "y")
    assert len(caplog.messages) == 1
    assert "hold for this process only" in caplog.text
    assert "MEDSSL_CONFIG" in caplog.text
    remember_ids()
    assert revealed(name) == ("patient", "x")


def test_without_a_home_the_key_is_temporary(folder, monkeypatch, caplog):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MEDSSL_CONFIG")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("APPDATA", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert configuration_folder() is None
    private_id("patient", "x")
    assert "no home directory" in caplog.text


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/etc/mine"}, "/etc/mine/medssl"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, "/home/a/.config/medssl"),
        ("linux", {}, "/home/a/.config/medssl"),
        ("darwin", {}, "/home/a/Library/Application Support/medssl"),
        ("win32", {"APPDATA": "/c/Roaming"}, "/c/Roaming/medssl"),
        ("win32", {}, "/home/a/AppData/Roaming/medssl"),
        ("linux", {"MEDSSL_CONFIG": "/mnt/safe"}, "/mnt/safe"),
    ],
)
def test_the_folder_follows_the_platform(monkeypatch, platform, variables, expected):
    for name in ("MEDSSL_CONFIG", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/a"))
    assert configuration_folder() == Path(expected)
