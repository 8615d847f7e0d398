"""After a stated time, a message says what is being waited for."""

from __future__ import annotations

import time

from medssl.io import limits
from medssl.io.waiting import waiting_for


def test_a_long_wait_is_named_and_a_short_one_is_not(capsys, monkeypatch):
    monkeypatch.setattr(limits, "WAIT_SECONDS", 0.05)
    with waiting_for("the import of x"):
        pass
    assert capsys.readouterr().err == ""
    with waiting_for(lambda: "reading of image 7"):
        time.sleep(0.5)
    assert "still waiting after 0 s: reading of image 7. Ctrl-C stops it." in capsys.readouterr().err
