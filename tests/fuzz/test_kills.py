"""Commands that are killed at random moments, and called again."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import kills

COUNT = os.environ.get("MEDSSL_KILLS", "10")  # 200: the full form


@pytest.mark.fuzz
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_killed_commands_leave_nothing_and_end_as_without_a_kill() -> None:
    command = [sys.executable, "-m", "fuzzing.kills", "--count", COUNT, "--seed", os.environ.get("MEDSSL_SEED", "0")]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{COUNT} kills" in done.stdout


@pytest.mark.fuzz
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_commands_killed_before_each_change_of_a_file_end_as_without_a_kill() -> None:
    kinds = ["audit", "fetch", "export", "prediction"]
    command = [sys.executable, "-m", "fuzzing.kills", "--writes", "--count", "100", "--kinds", *kinds]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_difference_is_a_fault(tmp_path: Path) -> None:
    first = {"a": b"1", "b": b"2", "c": b"3"}
    assert kills._difference(first, dict(first)) == ""
    assert kills._difference(first, {"a": b"1", "b": b"9", ".x.tmp": b""}) == (
        "missing: c; left behind: .x.tmp; different: b"
    )
    (tmp_path / "result.json").write_text('{"seconds": 1.5, "accuracy": 0.5, "seed": 3}')
    assert kills._without_times(tmp_path / "result.json", (tmp_path / "result.json").read_bytes()) == (
        b'{, "accuracy": 0.5, "seed": 3}'
    )


def test_a_command_that_fails_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = kills.House(tmp_path)
    monkeypatch.setattr(house, "_start", lambda kind: os.posix_spawn("/bin/false", ["false"], {}))
    monkeypatch.setattr(house, "_said", lambda kind: "no")
    with pytest.raises(kills.KillError, match="a straight call fails: no"):
        house.learn("run")
    house.seconds["run"], house.straight["run"] = 0.01, {"lost": b"1", "configuration/identities.key": b"2"}
    with pytest.raises(kills.KillError, match="status 1; missing: lost; left behind") as fault:
        house.try_kills("run", random.Random(0), 1)
    said = str(fault.value)
    assert "command: medssl run --method dcl" in said
    assert "after 0.00" in said  # seconds until the kill
    assert "configuration/identities.key at the first difference:" in said
    assert re.search(r"32 \d+\.\d+ configuration/identities\.key", said)  # size and time


def test_a_command_is_killed_before_each_change_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def be(kind: str, folder: Path) -> None:
        os.chdir(folder)
        Path("new").touch()
        if Path("old").exists():
            Path("old").unlink()
        Path("new").rename("old")
        os._exit(0)

    monkeypatch.setattr(kills, "_be", be)
    house = kills.House(tmp_path)
    house.learn("run")
    assert list(house.writes("run").values()) == ["open new", "os.rename new"]
    for number, what in house.writes("run").items():
        house.kill_before("run", number, what)  # the next call makes it good
    house.straight["run"]["more"] = b""
    with pytest.raises(kills.KillError, match=r"missing: more(.|\n)*killed before change 1, os\.rename new"):
        house.kill_before("run", 1, "os.rename new")
