"""Writes the folder of a new plugin package."""

from __future__ import annotations

import keyword
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp

from jinja2 import Environment, PackageLoader, StrictUndefined

from medssl import discovery
from medssl.errors import OptionError

__all__ = ["write_package"]

_FILES = {"pyproject.toml": "pyproject.toml", "README.md": "README.md", "{module}.py": "{kind}.py"}
_TEST = "tests/test_{module}.py"


def write_package(kind: str, name: str, parent: Path) -> Path:
    """Write ``medssl-<name>`` below a folder, whole or not at all.

    Args:
        kind: ``method``, ``dataset`` or ``evaluator``.
        name: Of the plugin, as users will type it: lower-case letters, digits and underscores.
        parent: An existing folder.

    Returns:
        The new folder.

    Raises:
        OptionError: The name cannot be one, a plugin of that kind has it, or the folder exists.
    """
    _check_name(kind, name)
    folder = parent / f"medssl-{name.replace('_', '-')}"
    if folder.exists():
        raise OptionError(f"{folder} exists. Nothing was written. Choose another name, or remove that folder.")
    words = {
        "kind": kind,
        "name": name,
        "module": f"medssl_{name}",
        "distribution": folder.name,
        "class_name": "".join(word.capitalize() for word in name.split("_")),
        "group": discovery.GROUPS[kind],
    }
    try:
        unfinished = Path(mkdtemp(prefix=".medssl-new-", dir=parent))
    except OSError as error:
        raise OptionError(f"nothing can be written to {parent}. {error.strerror}. Go to another folder.") from error
    try:
        for path, text in _render(words).items():
            (unfinished / path).parent.mkdir(exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.chmod(0o755)  # mkdtemp keeps others out
        unfinished.rename(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OptionError(f"{folder} cannot be written. {error.strerror}. Nothing is left of it.") from error
    return folder


def _render(words: Mapping[str, str]) -> dict[str, str]:
    environment = Environment(
        loader=PackageLoader("medssl.scaffold", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Python and TOML, not HTML
    )
    files = {**_FILES, _TEST: "test_{kind}.py"}
    return {
        path.format(**words): environment.get_template(template.format(**words) + ".j2").render(words)
        for path, template in files.items()
    }


def _check_name(kind: str, name: str) -> None:
    if not name.isascii() or not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        raise OptionError(
            f"'{name}' cannot name a plugin. It becomes part of a module's name. "
            "Use lower-case letters, digits and underscores, a letter first: my_method."
        )
    owners = [plugin for plugin in discovery.discover(kind) if plugin.name == name]
    if owners:
        raise OptionError(
            f"there is a {kind} '{name}' already. The package {owners[0].distribution} brings it. Choose another name."
        )
