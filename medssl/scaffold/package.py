"""Writes the folder of a new plugin package."""

from __future__ import annotations

import inspect
import keyword
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from medssl import discovery
from medssl.contracts.kinds import NONE, Kind, kind_named
from medssl.errors import OptionError

__all__ = ["check_name", "plugin_words", "render", "write_package"]

# path -> its template: the first that exists. A kind without its own template gets the methods of its contract.
_FILES = {
    "pyproject.toml": ("pyproject.toml.j2",),
    "README.md": ("README.md.j2",),
    "{module}.py": ("{kind}.py.j2", "plugin.py.j2"),
    "tests/test_{module}.py": ("test_{kind}.py.j2", "test_plugin.py.j2"),
}


def write_package(kind: str, name: str, parent: Path) -> Path:
    """Write ``medssl-<name>`` into a folder, completely or not at all.

    Args:
        kind: Name of a kind.
        name: Name of the plugin, as users will type it: lower-case letters, digits and underscores.
        parent: An existing folder.

    Returns:
        The new folder.

    Raises:
        OptionError: The name is not valid, a plugin of that kind already has it, or the folder exists.
    """
    check_name(kind, name)
    folder = parent / f"medssl-{name.replace('_', '-')}"
    if folder.exists():
        raise OptionError(f"{folder} already exists. Nothing was written. Choose another name, or remove that folder.")
    try:
        unfinished = Path(mkdtemp(prefix=".medssl-new-", dir=parent))
    except OSError as error:
        raise OptionError(f"{parent} cannot be written to. {error.strerror}. Change to another folder.") from error
    try:
        for path, text in render(plugin_words(kind, name, folder.name)).items():
            (unfinished / path).parent.mkdir(exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.chmod(0o755)  # mkdtemp allows only the owner
        unfinished.rename(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OptionError(f"{folder} cannot be written. {error.strerror}. Nothing was written.") from error
    return folder


def plugin_words(kind: str, name: str, distribution: str) -> dict[str, Any]:
    """Return what the templates need to know about a plugin, by name.

    Args:
        kind: Name of its kind.
        name: Its own name.
        distribution: Name of the package that it belongs to.
    """
    return {
        "kind": kind,
        "name": name,
        "module": f"medssl_{name}",
        "distribution": distribution,
        "class_name": "".join(word.capitalize() for word in name.split("_")),
        "group": kind_named(kind).group,
        **_of_contract(kind_named(kind), name),
    }


def render(words: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a new package's files by their paths, from what :func:`plugin_words` returned."""
    environment = Environment(  # nosec B701 # it writes Python and TOML
        loader=PackageLoader("medssl.scaffold", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return {
        path.format(**words): environment.select_template([each.format(**words) for each in names]).render(words)
        for path, names in _FILES.items()
    }


def _of_contract(kind: Kind, name: str) -> dict[str, Any]:
    """Return the facts about a contract for a template: its module, and the methods that a plugin must define."""
    contract = kind.load_contract()
    module = contract.__module__
    missing = sorted(getattr(contract, "__abstractmethods__", ()))
    return {
        "contract": contract.__name__,
        "contract_module": "medssl.contracts" if module.startswith("medssl.contracts.") else module,
        "abstract": {each: ", ".join(inspect.signature(getattr(contract, each)).parameters) for each in missing},
        "options": ".".join(kind.place_of_options(name)),
    }


def check_name(kind: str, name: str) -> None:
    """Make sure that a new plugin may have this name.

    Raises:
        OptionError: The name is not valid, or a plugin of that kind already has it.
    """
    if not name.isascii() or not name.isidentifier() or name != name.lower() or keyword.iskeyword(name) or name == NONE:
        raise OptionError(
            f"'{name}' cannot name a plugin. It becomes part of a module's name. "
            "Use lower-case letters, digits and underscores, with a letter first: my_method."
        )
    owners = [plugin for plugin in discovery.discover(kind) if plugin.name == name]
    if owners:
        raise OptionError(
            f"{kind_named(kind).with_article} '{name}' already exists. "
            f"The package {owners[0].distribution} provides it. "
            "Choose another name."
        )
