"""Packages whose names are imported on first use, so that the packages themselves are imported quickly."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["lazy_names"]

_NAME = re.compile(r"^from (\S+) import (\w+) as \2$", re.MULTILINE)


def lazy_names(package: str, file: str, *more: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Read the public names of a package from its stub ``__init__.pyi``, which type checkers read too.

    The stub has one line for each name: ``from MODULE import NAME as NAME``.

    Args:
        package: ``__name__`` of the package.
        file: Its ``__file__``.
        more: Public names that the package makes itself.

    Returns:
        ``__getattr__``, ``__dir__`` and ``__all__`` of the package.
    """
    homes = {name: home for home, name in _NAME.findall(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))}

    def load(name: str) -> Any:
        if name in homes:
            return getattr(import_module(homes[name]), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    public = sorted([*homes, *more])
    return load, lambda: public, public
