"""Settings of the process that a plugin changes are given back, with a warning that names it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import torch

from medssl.discovery.guarding import settings_kept


def test_settings_are_given_back_and_the_plugin_is_named(caplog, tmp_path):
    folder, limit, stdout = Path.cwd(), sys.getrecursionlimit(), sys.stdout
    with caplog.at_level(logging.WARNING), settings_kept("method 'x'", at_import=True):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        sys.setrecursionlimit(5000)
        sys.stdout = None
        os.chdir(tmp_path)
    assert (Path.cwd(), sys.getrecursionlimit(), sys.stdout) == (folder, limit, stdout)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert "method 'x' changed the current folder and the recursion limit" in caplog.text
    assert "default type of numbers" in caplog.text


def test_nothing_is_said_when_nothing_changed(caplog):
    with caplog.at_level(logging.WARNING), settings_kept("method 'x'"):
        torch.zeros(1)
    assert caplog.text == ""
