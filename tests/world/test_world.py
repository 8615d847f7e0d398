"""Ranks that are lost, late, too many or that fail end all others with a cause, within the time-out."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from medssl.world import ALONE
from medssl.world.world import joined

pytestmark = pytest.mark.slow

SLACK = 240  # seconds that a busy machine may need for the imports


def endings(processes, timeout):
    said = [process.communicate(timeout=timeout)[1] for process in processes]
    assert not any("Traceback" in text for text in said), said
    return [process.returncode for process in processes], said


def test_a_process_without_the_variables_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with joined() as world:
        assert world is ALONE
        assert world.from_first(lambda: 3) == 3


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_others(start, tmp_path, victim, wait_for):
    ranks = start("endless", tmp_path, 2)
    wait_for((tmp_path / "shared" / "state.pt").exists, seconds=SLACK, process=ranks[0])
    ranks[victim].kill()
    began = time.monotonic()
    codes, said = endings(ranks, SLACK)
    assert time.monotonic() - began < 200  # not the time-out of 300 s
    assert codes[1 - victim] == 1
    assert "Training needs every rank" in said[1 - victim]


def test_a_rank_that_gives_no_sign_ends_the_others_after_the_time_out(start, tmp_path, wait_for):
    ranks = start("endless", tmp_path, 2, MEDSSL_TIMEOUT="8")
    wait_for((tmp_path / "shared" / "state.pt").exists, seconds=SLACK, process=ranks[0])
    ranks[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    said = ranks[0].communicate(timeout=SLACK)[1]
    assert time.monotonic() - began < 120
    ranks[1].kill()
    ranks[1].communicate()
    assert ranks[0].returncode == 1
    assert "Error: " in said


def test_the_cause_of_a_failed_rank_reaches_the_others(start, tmp_path):
    codes, said = endings(start("failing", tmp_path, 2), SLACK)
    assert codes == [1, 1]
    assert said[1].startswith("Error: the disk of this machine is full.")
    assert "rank 1 of 2 has ended: the disk of this machine is full" in said[0]


def test_rank_0_may_work_alone_for_longer_than_the_time_out(do, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_TIMEOUT", "2")
    assert [rank["heard"] for rank in do("alone", tmp_path, 2)] == [{"score": 0.1}] * 2


def test_a_rank_that_does_not_come_is_waited_for_only_so_long(start, tmp_path):
    ranks = start("endless", tmp_path, 2, MEDSSL_TIMEOUT="3")
    ranks[1].kill()
    _, said = endings(ranks, SLACK)
    assert "2 ranks did not meet at 127.0.0.1" in said[0]
    assert "within 3 s" in said[0]


def test_a_port_in_use_is_named(start, tmp_path):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        first, second = start("endless", tmp_path, 2, MASTER_PORT=str(port), MEDSSL_TIMEOUT="3")
        said = first.communicate(timeout=SLACK)[1]
        second.kill()
        second.communicate()
    assert first.returncode == 1
    assert said.startswith(f"Error: port {port} is in use.")


def test_a_batch_smaller_than_the_number_of_ranks_is_refused(start, tmp_path):
    _, said = endings(start("small", tmp_path, 3), SLACK)
    assert "a batch of 2 images cannot be divided among 3 devices" in said[0]
