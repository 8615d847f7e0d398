"""Imports an optional package, or says how to install it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from medssl.errors import OptionError

__all__ = ["require"]


def require(module: str, tracker: str) -> ModuleType:
    """Import a package that a tracker needs. The tracker's name is also that of the extra.

    Raises:
        OptionError: It is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise OptionError(
            f"the tracker '{tracker}' needs the package {module.partition('.')[0]}. {error}. Install it with "
            f"`pip install medssl[{tracker}]`, or leave the tracker out."
        ) from error
