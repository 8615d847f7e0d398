"""Reads the catalogue: medssl's own file, with the user's file merged into it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from medssl.catalog.catalog import Catalog, merged
from medssl.catalog.shape import ABOUT_AUGMENTATION, TOP_LEVEL, field_problems, problems
from medssl.errors import OptionError
from medssl.io.limits import YAML_BYTES
from medssl.io.reading import parse_yaml, read_text

__all__ = ["load_catalog"]


def load_catalog(extra: Path | None = None) -> Catalog:
    """Read medssl's catalogue and merge the user's into it.

    Mappings are merged at every level, published rows are added, and all other values are replaced.

    Args:
        extra: A file of the same structure that contains only new or changed entries.

    Raises:
        OptionError: A file cannot be read or has the wrong structure; one message lists all problems.
    """
    content = _own(_shipped())
    if extra is not None:
        fields = {field for recipe in content["augmentations"].values() for field in recipe}
        own = _read(extra, tuple(fields | ABOUT_AUGMENTATION.keys()))
        content = {**merged(content, own), "published": content["published"] + own["published"]}
    return Catalog(content)


@cache
def _own(file: Path) -> dict[str, Any]:
    """Read medssl's own catalogue, once in a process: a catalogue gives away copies only."""
    return _read(file)


def _shipped() -> Path:
    """Find the file inside an installed package, or at the top of the checkout in an editable install."""
    packaged = Path(__file__).parents[1] / "registry.yaml"
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "registry.yaml"


def _read(file: Path, fields: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read and check one file. ``fields`` are the allowed augmentation fields; if empty, any field is allowed."""
    try:
        values = parse_yaml(read_text(file, YAML_BYTES), _Loader)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"the catalogue {file} cannot be read. {error}. Give a YAML file with --catalog, in the same structure as "
            "medssl's own registry.yaml."
        ) from error
    found = list(problems(values if values is not None else {}))
    if fields and isinstance(values, dict):
        found += field_problems(values, fields)
    if found:
        listed = "".join(f"\n  {problem}" for problem in found)
        raise OptionError(f"the catalogue {file} has the wrong structure.{listed}")
    return _completed(values or {})


def _completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Insert an empty collection for each section or entry that is missing or empty."""
    sections = {s: {n: e or {} for n, e in (values.get(s) or {}).items()} for s in TOP_LEVEL if s != "published"}
    return {**sections, "published": values.get("published") or []}


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Hashable, Any]:
    """Build a mapping and refuse a repeated key: YAML would silently keep the last and drop the first."""
    seen: set[str] = set()
    for key, _ in node.value:
        if str(key.value) in seen and key.tag != "tag:yaml.org,2002:merge":
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' appears twice", key.start_mark)
        seen.add(str(key.value))
    built: dict[Hashable, Any] = loader.construct_mapping(node, deep=True)
    return built


_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})  # libyaml's is six times as fast
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
