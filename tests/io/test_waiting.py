"""After a stated time, a message says what is being waited for."""

from __future__ import annotations

import time

from medssl.io import limits, waiting
from medssl.io.waiting import waiting_for


def test_a_long_wait_is_named_and_a_short_one_is_not(capsys, monkeypatch):
    monkeypatch.setattr(limits, "WAIT_SECONDS", 0.05)
    with waiting_for("the import of x"):
        pass
    assert capsys.readouterr().err == ""
    with waiting_for(lambda: "reading of image 7"):
        time.sleep(0.5)
    assert "still waiting after 0 s: reading of image 7. Ctrl-C stops it." in capsys.readouterr().err


def test_silence_is_broken_once_a_minute(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "MINUTE", 0.05)
    with waiting.said_each_minute(lambda: "5 of 9 images read"):
        time.sleep(0.5)
    said = capsys.readouterr().err.splitlines()
    assert len(said) >= 3
    assert set(said) == {"  after 0 s: 5 of 9 images read"}
    time.sleep(0.2)
    assert capsys.readouterr().err == ""
