"""The table of faults in the documentation names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "reliability.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_each_kind_of_fault_has_a_test_that_exists() -> None:
    rows = [line for line in PAGE.read_text().partition("## Kinds of faults")[2].splitlines() if line.startswith("| ")]
    assert len(rows) > 40
    assert [row for row in rows[1:] if not NAMED.search(row)] == []


def test_every_named_test_exists() -> None:
    for file, name in NAMED.findall(PAGE.read_text()):
        assert (ROOT / file).is_file(), file
        assert not name or name in names_in(ROOT / file), f"{file}::{name}"
