"""Adds a plugin to a package that ``medssl new`` made."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medssl.contracts.kinds import KINDS, kind_named
from medssl.errors import OptionError
from medssl.scaffold.package import check_name, plugin_words, render

__all__ = ["add_plugin"]

_PROJECT = "pyproject.toml"
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_ENTRY_POINTS = re.compile(r"^\[project\.entry-points\.[\"']([\w.]+)[\"']\][ \t]*(?:#[^\r\n]*)?(?=\r?$)", re.MULTILINE)
_LAST_INCLUDED = re.compile(
    r"^\[tool\.hatch\.build\.targets\.wheel\][^\[]*^include *= *\[[^\]]*[\"'](?=[\s,]*\])", re.MULTILINE
)


def add_plugin(kind: str, name: str, package: Path) -> list[Path]:
    """Write a plugin and its test into an existing package and register it there, completely or not at all.

    In ``pyproject.toml`` one line registers the plugin, and the list of the wheel's files gets its module. Everything
    else in the file stays as it is, byte for byte.

    Args:
        kind: Name of a kind.
        name: Name of the plugin, as users will type it: lower-case letters, digits and underscores.
        package: Folder of a package that :func:`~medssl.scaffold.package.write_package` made.

    Returns:
        The two new files and ``pyproject.toml``.

    Raises:
        OptionError: The folder holds no such package, the name is not valid or taken, or a file exists or cannot be
            written.
    """
    check_name(kind, name)
    text, project = _read_project(package)
    if name in project["project"]["entry-points"].get(kind_named(kind).group, {}):
        raise OptionError(
            f"{package} already contains {kind_named(kind).with_article} '{name}'. Nothing was written. "
            "Choose another name."
        )
    words = plugin_words(kind, name, project["project"]["name"])
    files = {path: content for path, content in render(words).items() if path.endswith(".py")}
    if taken := [path for path in files if os.path.lexists(package / path)]:
        raise OptionError(
            f"{package / taken[0]} already exists. Nothing was written. Choose another name, or remove that file."
        )
    files[_PROJECT] = _registered(text, project, words, package)  # the last: it makes the plugin known
    try:
        _put(files, package)
    except OSError as error:
        raise OptionError(
            f"{package} cannot be written to. {error.strerror}. Nothing was written. Check its permissions."
        ) from error
    return [package / path for path in files]


def _read_project(package: Path) -> tuple[str, dict[str, Any]]:
    """Read ``pyproject.toml`` of a package with plugins: its text, with the line ends of the file, and its values."""
    file = package / _PROJECT
    try:
        text = file.read_bytes().decode()
        project = tomllib.loads(text)
    except OSError as error:
        raise _no_package(package, f"{_PROJECT} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _no_package(package, f"{_PROJECT} is not valid TOML in UTF-8 ({error})") from error
    groups = {kind.group for kind in KINDS}
    points = _at(project, "project", "entry-points")
    if not isinstance(points, dict) or not groups & set(points):
        raise _no_package(package, f"{_PROJECT} registers no plugin")
    if not all(isinstance(points[group], dict) for group in groups & set(points)):
        raise _no_package(package, f"{_PROJECT} has entry points that are no table")
    if not isinstance(_at(project, "project", "name"), str):
        raise _no_package(package, f"{_PROJECT} names no project")
    if not isinstance(_at(project, "tool", "hatch", "build", "targets", "wheel", "include"), list):
        raise _no_package(package, f"{_PROJECT} does not list the modules under tool.hatch.build.targets.wheel")
    return text, project


def _at(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _no_package(package: Path, why: str) -> OptionError:
    return OptionError(
        f"{package} is not a package made by 'medssl new': {why}. Nothing was written. "
        "Give the folder of such a package, or leave --into out to create one."
    )


def _registered(text: str, project: dict[str, Any], words: dict[str, Any], package: Path) -> str:
    """Return the text with the plugin's entry point and its module; parsed, it is the old one plus these two."""
    end = "\r\n" if "\r\n" in text else "\n"
    line = f'{words["name"]} = "{words["module"]}:{words["class_name"]}"'
    module = f"{words['module']}.py"
    changed = _with_entry_point(text, words["group"], line, end)
    if last := _LAST_INCLUDED.search(changed):
        changed = f'{changed[: last.end()]}, "{module}"{changed[last.end() :]}'
    project["project"]["entry-points"].setdefault(words["group"], {})[words["name"]] = line.split('"')[1]
    project["tool"]["hatch"]["build"]["targets"]["wheel"]["include"].append(module)
    try:
        right = tomllib.loads(changed) == project
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise OptionError(
            f"{package / _PROJECT} has another form than 'medssl new' gave it, so it cannot be extended safely. "
            f"Nothing was written. Create the plugin without --into, and copy its two Python files here. Then add "
            f'\'{line}\' to [project.entry-points."{words["group"]}"] and "{module}" to the wheel\'s include.'
        )
    return changed


def _with_entry_point(text: str, group: str, line: str, end: str) -> str:
    """Put a line at the end of the group's table, or a new table after the last one with entry points."""
    tables = list(_ENTRY_POINTS.finditer(text))
    own = [table for table in tables if table[1] == group]
    if not tables:
        return text
    start = (own or tables)[-1].end()
    following = _TABLE.search(text, start)
    body = text[start : following.start() if following else len(text)]
    used = list(re.finditer(r"^[ \t]*[^\s#][^\r\n]*", body, re.MULTILINE))  # comments at the end may belong elsewhere
    place = start + (used[-1].end() if used else 0)
    added = line if own else f'{end}[project.entry-points."{group}"]{end}{line}'
    return f"{text[:place]}{end}{added}{text[place:]}"


def _put(files: dict[str, str], package: Path) -> None:
    """Write texts into a folder in their order; after a failure or an interruption, none of the new files stays."""
    with ExitStack() as undo, TemporaryDirectory(prefix=".medssl-new-", dir=package) as unfinished:
        for number, (path, text) in enumerate(files.items()):
            target = (package / path).resolve()  # a link stays a link
            if not target.parent.is_dir():
                target.parent.mkdir()
                undo.callback(target.parent.rmdir)
            source = Path(unfinished) / str(number)
            source.write_bytes(text.encode())
            if target.exists():
                shutil.copymode(target, source)
            else:
                undo.callback(target.unlink, missing_ok=True)
            source.replace(target)
        undo.pop_all()
