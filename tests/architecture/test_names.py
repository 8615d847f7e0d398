"""One name has one meaning in the core."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A private name (with an underscore) stays in its module, which test_doors.py checks, so two modules may have one.
COMMAND = "a command, and the function that carries it out"
ALIAS = "short for one type of NumPy array, the same everywhere"
REPORT = "a size of the report's own drawings"
TWICE = {
    "Array": ALIAS,
    "Floats": ALIAS,
    "Ints": ALIAS,
    "Pixels": "decoded pixels of a store, and an alias for arrays of pixels in the preview",
    "CHECKS": "what a module of checks offers to the conformance kit",
    "WIDTH": REPORT,
    "audit": COMMAND,
    "bench": COMMAND,
    "embed": COMMAND,
    "evaluate": COMMAND,
    "main": "where a program starts: the command line, and a worker process",
    "run": COMMAND,
}


def names_of(source: str) -> Iterator[str]:
    """Yield the names that a module defines at its top level."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (name.id for part in node.targets for name in ast.walk(part) if isinstance(name, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def defined() -> dict[str, set[str]]:
    """The core's public names, with the modules that define each."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "medssl").rglob("*.py")):
        for name in names_of(path.read_text(encoding="utf-8")):
            if not name.startswith("_"):
                found[name].add(path.relative_to(ROOT).as_posix())
    return found


def test_no_public_name_is_defined_twice_but_for_a_reason() -> None:
    assert {name: homes for name, homes in defined().items() if len(homes) > 1 and name not in TWICE} == {}


def test_no_reason_is_left_of_a_name_that_is_defined_once() -> None:
    found = defined()
    assert [name for name in TWICE if len(found[name]) < 2] == []


def test_names_are_those_of_the_top_level() -> None:
    source = "A = 1\nb: int = 2\ndef c():\n    d = 3\nclass E:\n    f = 4\nG, H = 5, 6\n"
    assert list(names_of(source)) == ["A", "b", "c", "E", "G", "H"]
