"""Options: build a checked, frozen dataclass from values as a user writes them, and describe its fields in words.

A plugin's ``Config`` and the core's settings are plain frozen dataclasses with typed fields. :func:`build` makes one
from a recipe file or the command line; :func:`describe` lists its fields for people.
"""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from medssl.errors import OptionError, PluginError, did_you_mean
from medssl.io.reading import parse_yaml

__all__ = ["Option", "build", "describe"]

ConfigT = TypeVar("ConfigT")


# ---------------------------------------------------------------------------------------------------------- building


def build(config_class: type[ConfigT], values: Mapping[str, Any] | None, where: str) -> ConfigT:
    """Make a config from values as a YAML file or ``--set`` gives them.

    A text is read as its field's type (``"0.2"``, ``"1e-3"``, ``"true"``), else as YAML (``"[0.2, 1]"``). ``"null"`` is
    ``None`` if the field allows it. A truth value is never accepted as a number, and numbers must be finite.

    Args:
        config_class: A dataclass; annotations may use ``annotated_types`` bounds, ``Literal``, tuples, ``| None``.
        values: Options by name; options that are left out keep their defaults. ``None`` is an empty section.
        where: What the options belong to, for messages: ``train``, ``method 'NAME'``.

    Raises:
        OptionError: A name is unknown, a value has the wrong type or is out of range, or the dataclass itself raises a
            ValueError. One message lists all problems.
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise OptionError(f"{where}: expected options by name, got {_shown(values)}. Write them as `name: value`.")
    hints = _hints(config_class)
    settable = {option.name: option for option in _fields(config_class)}
    problems, checked = [], {}
    for name, value in values.items():
        if name not in settable:
            known = f"Options: {', '.join(settable)}." if settable else "It has no options."
            problems.append(f"no option '{name}'.{did_you_mean(str(name), settable)} {known}")
            continue
        try:
            checked[name] = _check(hints[name], value)
        except ValueError as error:
            reason = f" ({error})" if str(error) else ""
            problems.append(f"{name}: expected {_words(hints[name])}, got {_shown(value)}{reason}.")
    problems += [f"{n}: must be set." for n, o in settable.items() if _default(o) is MISSING and n not in values]
    if not problems:
        try:
            return config_class(**checked)
        except ValueError as error:
            problems.append(str(error))
            raise OptionError(_joined(where, problems)) from error
        except OptionError:  # says itself what is wrong
            raise
        except Exception as error:  # a plugin's own check, which may raise anything
            raise PluginError(
                f"{where}: the options cannot be built. {config_class.__module__}.{config_class.__qualname__} raised "
                f"{type(error).__name__}: {error}. A wrong value should be a ValueError; tell the plugin's authors."
            ) from error
    raise OptionError(_joined(where, problems))


def _joined(where: str, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return f"{where}: {problems[0]}"
    return "\n  ".join([f"{where}: {len(problems)} options cannot be used.", *problems])


def _check(hint: Any, value: Any) -> Any:
    """Validate one value. A text is read as the type first and as YAML second.

    Raises:
        ValueError: The value does not fit. Its message is empty, or the reason that the field's own validator gave.
    """
    if value == "null" and type(None) in _parts(hint):
        return None
    try:
        return _validate(hint, value)
    except ValueError:
        if not isinstance(value, str):
            raise
        try:
            parsed = parse_yaml(value)
        except ValueError:
            parsed = value
        if isinstance(parsed, str):
            raise
        return _validate(hint, parsed)


def _validate(hint: Any, value: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError  # noqa: PLC0415  # importing it takes 0.15 s, which `medssl list` does not need

    parts = set(_parts(hint))
    if not parts & {bool, Any, object} and any(isinstance(item, bool) for item in _items(value)):
        raise ValueError
    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        own = [str(e["ctx"]["error"]) for e in error.errors() if e["type"] == "value_error"]
        raise ValueError("; ".join(own)) from None


def _items(value: Any) -> Iterator[Any]:
    """Yield a value, or everything inside a nested collection."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        for item in value:
            yield from _items(item)
    else:
        yield value


def _parts(hint: Any) -> Iterator[Any]:
    """Yield every plain type that an annotation contains."""
    if get_origin(hint) is Literal:
        yield from (type(choice) for choice in get_args(hint))
        return
    inside = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    if not inside:
        yield hint
    for part in inside:
        yield from _parts(part)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _hints(config_class: type) -> dict[str, Any]:
    try:
        return get_type_hints(config_class, include_extras=True)
    except NameError as error:
        raise PluginError(
            f"the options {config_class.__module__}.{config_class.__qualname__} cannot be read. {error}: the name in "
            "an annotation must exist at run time. Import it outside of `if TYPE_CHECKING`."
        ) from error


def _fields(config_class: type) -> list[Field[Any]]:
    return [option for option in fields(config_class) if option.init]


def _default(option: Field[Any]) -> Any:
    return option.default_factory() if option.default_factory is not MISSING else option.default


# -------------------------------------------------------------------------------------------------------- describing


@dataclass(frozen=True)
class Option:
    """Description of one option.

    Attributes:
        name: As in ``--set method.NAME=...``.
        type: In words: ``number > 0``, ``one of sgd, adamw``.
        default: Its value; ``dataclasses.MISSING`` if the user must give one.
        comment: The comment beside the default in the source, which says where the value comes from.
        meaning: Text of the class's docstring under ``Attributes``.
    """

    name: str
    type: str
    default: Any
    comment: str = ""
    meaning: str = ""


def describe(config_class: type) -> list[Option]:
    """List the options of a config in the order of its source; comments are empty if there is no source file."""
    hints = _hints(config_class)
    comments: dict[str, str] = {}
    meanings: dict[str, str] = {}
    for owner in reversed(config_class.__mro__[:-1]):  # the texts of a subclass take precedence
        comments |= _comments(owner)
        meanings |= _attributes(inspect.cleandoc(owner.__doc__ or ""))
    return [
        Option(o.name, _words(hints[o.name]), _default(o), comments.get(o.name, ""), meanings.get(o.name, ""))
        for o in _fields(config_class)
    ]


def _comments(config_class: type) -> dict[str, str]:
    """Find the comment on each field's lines; if there is none, use the comment lines directly above it."""
    try:
        source = textwrap.dedent(inspect.getsource(config_class))
    except (OSError, TypeError):
        return {}
    comments = {
        token.start[0]: token.string.lstrip("#: ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    alone = {number for number, line in enumerate(source.splitlines(), 1) if line.lstrip().startswith("#")}
    found = {}
    for node in next(node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            numbers = [n for n in range(node.lineno, (node.end_lineno or node.lineno) + 1) if n in comments]
            first = node.lineno
            while not numbers and first - 1 in alone:
                first -= 1
            found[node.target.id] = " ".join(comments[n] for n in numbers or range(first, node.lineno))
    return found


def _attributes(docstring: str) -> dict[str, str]:
    """Read the ``Attributes`` section of a Google-style docstring."""
    _, _, section = docstring.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth == 0:
            break
        if depth == 4:
            name, _, text = line.strip().partition(": ")
            found[name] = text
        elif line.strip() and name:
            found[name] += " " + line.strip()
    return found


_PLAIN = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path", type(None): "null"}


def _words(hint: Any) -> str:
    """Describe a type in words: ``number > 0 or null``, ``[number, number]``, ``one of sgd, adamw``."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _words(inside[0]) + _bounds(inside[1:])
    if origin is Literal:
        return f"one of {', '.join(map(str, inside))}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, inside))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "mapping"
    if inside:
        if origin is not tuple:
            inside = (*inside, ...)
        return f"[{', '.join('...' if part is ... else _words(part) for part in inside)}]"
    return _PLAIN.get(hint, "anything" if hint is Any else getattr(hint, "__name__", str(hint)))


def _bounds(metadata: Sequence[Any]) -> str:
    bounds = {key: getattr(item, key) for item in metadata for key in ("gt", "ge", "lt", "le") if hasattr(item, key)}
    bounds = {key: bound for key, bound in bounds.items() if bound is not None}
    if bounds.keys() == {"ge", "le"}:
        return f" from {bounds['ge']} to {bounds['le']}"
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return " and".join(f" {signs[key]} {bound}" for key, bound in bounds.items())
