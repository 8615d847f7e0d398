"""The installed readers of image files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from medssl.contracts import Readers
from medssl.contracts.kinds import READER
from medssl.contracts.readers import Reader
from medssl.discovery import discover, load_plugin
from medssl.discovery.guarding import settings_kept
from medssl.discovery.scanning import Plugin
from medssl.errors import PluginError

__all__ = ["installed_readers", "readers_with"]

_log = logging.getLogger("medssl")


@lru_cache(maxsize=1)
def installed_readers() -> Readers:
    """Return all installed readers, each with its default options, by name."""
    return readers_with(())


def readers_with(named: Sequence[tuple[str, Reader]]) -> Readers:
    """Return these readers, and all other installed ones with their default options.

    Another one that cannot be used is said in a warning. Its files stop a run, as far as its suffixes are known and no
    other reader has them.

    Args:
        named: Readers that the user named, each with its plugin's name. They are preferred to the others.

    Raises:
        BreachError: A reader that the user named breaks its contract.
    """
    from medssl.contracts.crossing.readers import suffixes_problems  # noqa: PLC0415  (torch, which `medssl list` does not need)
    from medssl.contracts.crossing.values import require_no_problems  # noqa: PLC0415  (as above)

    for _, reader in named:
        require_no_problems(reader, "suffixes", suffixes_problems(getattr(reader, "suffixes", None)))
    names = {name.rpartition(":")[2] for name, _ in named}
    able, unusable = [reader for _, reader in named], dict[str, str]()
    for plugin in discover(READER.name):
        if plugin.name not in names:
            try:
                able.append(_opened(plugin, unusable))
            except PluginError as error:
                _log.warning("%s Files that only this reader can read are left out, or stop the command.", error)
    if not able:
        raise PluginError(
            "no reader of image files is installed, so no image can be read. Install medssl again: pip install medssl."
        )
    return Readers(able, first=len(named), unusable=unusable)


def _opened(plugin: Plugin, unusable: dict[str, str]) -> Reader:
    """Create a reader with its default options; note the suffixes of one that cannot be used, with the reason."""
    from medssl.contracts.crossing.readers import suffixes_problems  # noqa: PLC0415  (as above)

    suffixes: Any = None
    try:
        kind = load_plugin(READER.name, f"{plugin.distribution}:{plugin.name}")[1]
        suffixes = getattr(kind, "suffixes", None)
        with settings_kept(str(plugin)):
            reader: Reader = kind(kind.Config())
            suffixes = reader.suffixes
        if problems := suffixes_problems(suffixes):
            raise PluginError(f"{plugin} breaks its contract: {'; '.join(problems)}.")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin's constructor may raise anything
        said = str(error) if isinstance(error, PluginError) else f"{plugin} failed: {type(error).__name__}: {error}."
        known = () if suffixes_problems(suffixes) else suffixes
        unusable.update(dict.fromkeys([*known, ""], " ".join(said.split())))
        raise PluginError(unusable[""]) from error
    return reader
