"""The last two states of a training: the older one is used when the newer one is damaged."""

from __future__ import annotations

import logging

import pytest
import torch

from medssl.errors import CheckpointError
from medssl.train.loop.states import States


def state(epoch):
    return {"fingerprint": "one", "epoch": epoch, "weights": torch.full((1000,), float(epoch))}


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "garbage": lambda content: bytes(range(256)) * 20,
    "flipped bit": flip,
    "zeros": lambda content: content[:500] + bytes(len(content) - 500),
    "text": lambda content: b"hello",
}


def test_the_last_state_is_used(tmp_path):
    states = States(tmp_path)
    assert states.restore("one", dict) is None
    for epoch in range(3):
        states.save(state(epoch))
    assert states.restore("one", dict)["epoch"] == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state.previous.pt", "state.pt"]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_the_state_before_a_damaged_one_is_used_and_said(tmp_path, caplog, damage):
    states = States(tmp_path)
    states.save(state(0))
    states.save(state(1))
    last, previous = tmp_path / "state.pt", tmp_path / "state.previous.pt"
    last.write_bytes(damage(last.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert states.restore("one", dict)["epoch"] == 0
    assert "state.pt cannot be read" in caplog.text
    assert "The state before it is used" in caplog.text
    previous.write_bytes(damage(previous.read_bytes()))
    with pytest.raises(CheckpointError, match=r"state\.previous\.pt cannot be read"):
        states.restore("one", dict)


def test_a_process_killed_between_the_renames_leaves_the_previous_state(tmp_path):
    states = States(tmp_path)
    states.save(state(0))
    (tmp_path / "state.pt").rename(tmp_path / "state.previous.pt")
    assert states.restore("one", dict)["epoch"] == 0


def test_a_state_of_another_run_is_refused_even_if_the_one_before_would_do(tmp_path):
    states = States(tmp_path)
    states.save(state(0))
    states.save({**state(1), "fingerprint": "two"})
    with pytest.raises(CheckpointError, match="belongs to another run"):
        states.restore("one", dict)
