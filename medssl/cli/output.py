"""Standard output of commands with ``--json``: the JSON alone, whatever plugins print."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import click

__all__ = ["print_json", "reserved", "standard_output"]

_own: list[TextIO] = []  # where JSON goes while standard output is reserved


@contextlib.contextmanager
def reserved(args: Sequence[str]) -> Iterator[None]:
    """Reserve standard output for JSON if a command line asks for JSON; all other output goes to standard error.

    Args:
        args: Words of the command line.
    """
    if "--json" not in args:
        yield
        return
    stdout = sys.stdout
    try:
        copy = os.dup(stdout.fileno())
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation):  # no file behind it, as in a notebook
        _own.append(stdout)
        with contextlib.redirect_stdout(sys.stderr):
            try:
                yield
            finally:
                _own.pop()
        return
    stdout.flush()
    os.dup2(sys.stderr.fileno(), stdout.fileno())  # also for what compiled code prints
    with os.fdopen(copy, "w", encoding="utf-8", errors="backslashreplace") as own:
        _own.append(own)
        try:
            yield
        finally:
            _own.pop()  # standard output is not given back: threads and exit functions of plugins print too


def standard_output() -> TextIO:
    """Return standard output, also while it is reserved."""
    return _own[-1] if _own else sys.stdout


def print_json(values: Any) -> None:
    """Print values as JSON to the reserved standard output."""
    text = json.dumps(values, indent=2, default=str)
    if _own:
        _own[-1].write(f"{text}\n")
        _own[-1].flush()
    else:
        click.echo(text)
