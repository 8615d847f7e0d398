"""Signals say how to continue and set the exit status; threads of a plugin do not keep the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from click import Command
from click.testing import CliRunner

from medssl import cli
from medssl.cli import COMMANDS
from medssl.cli.stopping import SAVED, Stopped, status_of, stoppable, words_of

WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background starts with both ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import medssl.cli as cli
from click.core import Command
wait = lambda: (print("ready", flush=True), time.sleep(60))
cli._LazyGroup.get_command = lambda self, ctx, name: Command(name, callback=wait)
sys.argv = ["medssl", sys.argv[1]]
cli.main()
"""


SIGNALS = {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129, "SIGUSR1": 138, "SIGUSR2": 140, "SIGXCPU": 152}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_says_how_to_continue(name):
    status = SIGNALS[name]
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    said = process.communicate(timeout=20)[1]
    assert process.returncode == status, said
    assert said.startswith("Stopped" if name == "SIGINT" else f"Stopped by {name}. ")
    assert SAVED["run"] in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", SAVED)
def test_each_command_has_words_of_its_own(command, monkeypatch):
    """The process of a command that gets a signal is that of the tests: the commands differ in their words only."""
    stop = Command(command, callback=lambda: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(cli._LazyGroup, "get_command", lambda *_: stop)
    outcome = CliRunner().invoke(cli.main, [command])
    assert (outcome.exit_code, outcome.stderr) == (143, f"Stopped by SIGTERM. {SAVED[command]}\n")


def test_every_long_command_says_what_is_saved():
    assert set(SAVED) == {"run", "bench", "tune", "audit", "fetch", "export", "predict", "evaluate", "embed"}
    assert set(SAVED) < set(COMMANDS)


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as caught, stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert (status_of(caught.value), words_of(caught.value)) == (143, "Stopped by SIGTERM")
    assert signal.getsignal(signal.SIGTERM) == before
    assert (status_of(KeyboardInterrupt()), words_of(KeyboardInterrupt())) == (130, "Stopped")


LEFT = """
import threading, time
import medssl.cli.stopping as stopping
stopping._THREADS_SECONDS = 0.3
threading.Thread(target=time.sleep, args=(60,), name="forgotten").start()
print("done")
stopping.leave(3)
raise SystemExit(3)
"""


def test_a_thread_that_a_plugin_left_does_not_keep_the_process():
    start = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=False, timeout=30)
    assert time.perf_counter() - start < 20
    assert (found.returncode, found.stdout) == (3, "done\n")
    assert "not waiting for threads that a plugin left: 'forgotten'" in found.stderr
