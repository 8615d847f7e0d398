"""Reads how a user names a plugin: by its name, a name of the catalogue, ``PLUGIN:TEXT``, a file, or a run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl import discovery
from medssl.catalog import Catalog
from medssl.contracts.kinds import NONE, Kind
from medssl.discovery import load_plugin
from medssl.errors import CheckpointError, PluginError, did_you_mean
from medssl.io.files import checksum, read_header

__all__ = ["Named", "is_file_of_a_run", "read_name", "require_known"]

_LORA = "lora"  # entry of the header of adapters
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt")


@dataclass(frozen=True)
class Named:
    """A plugin and the options that its name stands for.

    Attributes:
        plugin: Name of the installed plugin.
        options: Options that the name stands for; the user's own take precedence.
    """

    plugin: str
    options: Mapping[str, Any] = field(default_factory=dict)


def read_name(kind: Kind, word: str, catalog: Catalog) -> Named:
    """Find what a word stands for. A word that is nothing else is taken for the name of a plugin.

    Args:
        kind: The kind of plugin.
        word: ``NAME``, a name of the catalogue with ``plugin`` and ``options``, ``PLUGIN:TEXT``, a file or a folder.
        catalog: Knows the names that stand for a plugin with options, and which plugin takes files.

    Raises:
        PluginError: The plugin before the colon takes no text.
        CheckpointError: The file or folder does not exist.
    """
    entry = catalog.entry(kind.name, word)
    if "plugin" in entry:
        return Named(str(entry["plugin"]), entry.get("options") or {})
    before, colon, text = word.partition(":")
    installed = {plugin.name for plugin in discovery.discover(kind.name)}
    if colon and before in installed and text:
        return Named(before, {_argument(kind, before, catalog): text})
    if word not in installed and word != NONE and (reader := catalog.reader(kind.name)) and _is_path(word):
        return _of_file(kind, Path(word), reader)
    return Named(word)


def require_known(kind: Kind, word: str, catalog: Catalog) -> None:
    """Raise an error if a word names nothing that is installed, before torch is imported.

    Raises:
        PluginError: The name is unknown; the message names the closest, also of those in the catalogue.
    """
    before, _, _ = word.partition(":")
    installed = {plugin.name for plugin in discovery.discover(kind.name)}
    named = word if before not in installed or word in installed else before
    entry = catalog.entry(kind.name, word)
    if reason := entry.get("blocked"):
        raise PluginError(f"the {kind.name} '{word}' cannot be used. {reason} Choose another {kind.name}.")
    if "plugin" in entry:
        named = str(entry["plugin"])
    elif catalog.reader(kind.name) and _is_path(word) and word not in installed:
        return
    presets = catalog.presets(kind.name)
    if presets and named not in installed and ":" not in named and named != NONE:
        known = [*presets, *installed]
        raise PluginError(
            f"no {kind.name} named '{word:.200}'.{did_you_mean(word.lower(), known)} `medssl list {kind.plural}` shows "
            f"the names. A repository of the Hugging Face Hub is PLUGIN:OWNER/NAME, a file is its path."
        )
    discovery.find(kind.name, named, packages=catalog.packages(kind.name))


def is_file_of_a_run(header: Mapping[str, str]) -> bool:
    """Whether a safetensors header was written by a run."""
    return "backbone" in header and "feature_dim" in header


def _argument(kind: Kind, plugin: str, catalog: Catalog) -> str:
    _, loaded = load_plugin(kind.name, plugin, catalog.packages(kind.name))
    argument = str(getattr(loaded, "argument", ""))
    if not argument:
        raise PluginError(f"the {kind.name} '{plugin}' takes no text after a colon. Give its name alone.")
    return argument


def _is_path(word: str) -> bool:
    try:
        return Path(word).suffix in _SUFFIXES or "/" in word or Path(word).is_dir()
    except OSError:  # longer than any name
        return False


def _of_file(kind: Kind, path: Path, reader: str) -> Named:
    try:
        file = path / "encoder.safetensors" if path.is_dir() else path
        there = file.is_file()
    except OSError:  # longer than any name
        file, there = path, False
    if not there:
        raise CheckpointError(
            f"there is no encoder at {file!s:.1000}. Give a name of the catalogue, a weights file, or the folder of a "
            "finished run."
        )
    header = read_header(file)
    written = header.get(kind.name)
    if written is None:
        return Named(reader, {"weights": str(file)})
    values = dict(json.loads(written))
    plugin = str(values.pop("plugin"))
    if _LORA in header:
        return Named(plugin, {**values, "adapter": str(file), **_base_beside(file, header)})
    return Named(plugin, {**values, "weights": str(file)})


def _base_beside(file: Path, header: Mapping[str, str]) -> dict[str, str]:
    """Find the weights that adapters were trained beside among the files in their folder, by checksum."""
    wanted = json.loads(header[_LORA]).get("base")
    others = [path for path in sorted(file.parent.glob("*")) if path.suffix in _SUFFIXES and path != file]
    found = next((path for path in others if checksum(path) == wanted), None)
    return {} if found is None else {"weights": str(found)}
