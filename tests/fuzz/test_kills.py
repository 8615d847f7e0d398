"""Commands that are killed at random moments, and called again."""

from __future__ import annotations

import os
import random
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
    house.seconds["run"] = 0.01
    with pytest.raises(kills.KillError, match="status 1"):
        house.try_kills("run", random.Random(0), 1)
