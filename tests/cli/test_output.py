"""With ``--json``, standard output is the JSON alone, whatever plugins print."""

from __future__ import annotations

import json
import subprocess
import sys

from medssl.cli.output import print_json, reserved

NOISY = """
import atexit, os, sys, threading, time
from medssl.cli.output import print_json, reserved
atexit.register(lambda: print("at the end"))
with reserved(["run", "--json"]):
    print("python"); os.write(1, b"compiled code\\n"); os.system("echo a program")
    print_json({"a": 1})
    print("after"); sys.stdout.flush()
print("after the command")
"""


def test_a_process_prints_json_alone():
    found = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == {"a": 1}
    for words in ("python", "compiled code", "a program", "after the command", "at the end"):
        assert words in found.stderr


def test_without_the_option_nothing_is_reserved(capsys):
    with reserved(["run"]):
        sys.stdout.write("shown\n")
        print_json([1])
    assert capsys.readouterr().out == "shown\n[\n  1\n]\n"
