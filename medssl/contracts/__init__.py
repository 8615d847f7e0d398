"""What a plugin is: the contracts, and the types that pass between the core and a plugin.

A plugin is one class in one file plus one line of package metadata. Of medssl it imports this module, with the types;
:mod:`medssl.tools`, with functions it may call; and :mod:`medssl.errors`. The core does everything else: files and
splits, views, the training loop, devices and precision, checkpoints, metrics, reports.

Shapes: N samples in a batch or a set, V views of each, C channels, H x W pixels, F features, K classes.

The names are listed in ``__init__.pyi`` and imported when they are first used, so that
:mod:`medssl.contracts.kinds` can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from medssl.lazy import lazy_names

_load, __dir__, __all__ = lazy_names(__name__, __file__)
_MOVED = ("IMAGE_SUFFIXES", "Source", "download", "unpack")
_ALSO_HERE = ("read_image",)  # users' scripts import this one from here, and its arguments and results are as before


def __getattr__(name: str) -> Any:
    if name in _ALSO_HERE:
        return getattr(import_module("medssl.tools"), name)
    if name in _MOVED:
        raise ImportError(f"'{name}' is now in medssl.tools. Write `from medssl.tools import {name}`.")
    return _load(name)
