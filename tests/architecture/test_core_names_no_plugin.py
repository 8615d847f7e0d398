"""The core knows no method, dataset or evaluator by name: a plugin of ours has no door that others lack."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from medssl.contracts.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "medssl").rglob("*.py"))
GROUPS = tuple(kind.group for kind in KINDS)

# plain English beside being a plugin's name: only a literal that is exactly this word counts
COMMON_WORDS = {"calibration", "csv", "folder", "hf", "linear", "tiff"}  # hf is also a program
# part of a network, a split protocol, statistics, a measure, an argument, a form of exports, libraries
CORE_WORDS = {"attention", "random", "imagenet", "rank", "file", "hub", "timm", "transformers"}


def plugin_names() -> list[str]:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    return sorted({name for group in GROUPS for name in declared[group]} - CORE_WORDS)


def docstrings(tree: ast.AST) -> set[int]:
    """Identities of the constants that are documentation: there an example may name a plugin."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(id(node.value))
    return found


def names_in(source: str, names: list[str]) -> Iterator[str]:
    """Yield ``line: name`` for each string literal that is a plugin's name, or a dotted or listed part of one."""
    tree = ast.parse(source)
    documentation = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            for name in set(re.findall(r"[\w-]+", node.value)) & set(names):
                if node.value == name or name not in COMMON_WORDS:
                    yield f"line {node.lineno}: {name}"


def test_core_names_no_plugin() -> None:
    names = plugin_names()
    found = {
        path.relative_to(ROOT).as_posix(): list(names_in(path.read_text(encoding="utf-8"), names)) for path in CORE
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_every_plugin_is_declared_under_a_known_group() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert set(declared) == set(GROUPS)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('x = "dcl"', ["line 1: dcl"]),
        ('if method in ("a", "dcl"): pass', ["line 1: dcl"]),
        ('x = f"{a} dcl {b}"', ["line 1: dcl"]),
        ('x = "evaluators.knn"', ["line 1: knn"]),
        ('"""Such as dcl."""', []),
        ('x = "a folder of images"', []),
        ('x = "folder"', ["line 1: folder"]),
        ("dcl = 1", []),
    ],
)
def test_the_search_sees_names_in_code_and_not_in_documentation(source: str, found: list[str]) -> None:
    assert list(names_in(source, ["dcl", "folder", "knn"])) == found
