"""One idea a file, one screen a function: kept by a failing test, not by hope."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted(path for path in (ROOT / "medssl").rglob("*") if path.suffix in (".py", ".pyi"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
HELPERS = [path for path in PLUGINS if path.name.startswith("_") or path.parent.parent.name != "plugins"]

FILE, PLUGIN_FILE, FUNCTION = 350, 160, 60
FOLDER = 12  # modules of a folder, without __init__.py
CORE_TOTAL = 28_200  # lines of code, see docs/adr/0018-the-core-grows-with-what-it-carries.md
CROWDED = {
    "medssl/contracts": "one file per kind, and what they share",
    "medssl/cli": "one file per command",
    "medssl/conformance": "one file per kind, and the kit",
}


def function_lengths(source: str) -> dict[str, int]:
    """Lines of each function or method by name and line, its docstring left out: documentation costs nothing."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documentation = height(node.body[0]) if ast.get_docstring(node, clean=False) is not None else 0
            found[f"{node.name} (line {node.lineno})"] = height(node) - documentation
    return found


def height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def file_length(path: Path) -> int:
    """Lines of a file without its docstrings."""
    source = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, documented) and ast.get_docstring(n, clean=False)]
    return len(source.splitlines()) - sum(height(node.body[0]) for node in nodes)


def code_length(path: Path) -> int:
    """Lines of a file without docstrings, comments and blank lines."""
    source = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, documented) and ast.get_docstring(n, clean=False)]
    left_out = {line for n in nodes for line in range(n.body[0].lineno, (n.body[0].end_lineno or 0) + 1)}
    lines = enumerate(source.splitlines(), start=1)
    return sum(1 for number, line in lines if number not in left_out and line.strip() and line.strip()[0] != "#")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    ("paths", "most"),
    [([*CORE, *HELPERS], FILE), ([path for path in PLUGINS if path not in HELPERS], PLUGIN_FILE)],
    ids=["core and helpers", "plugins"],
)
def test_files_are_short(paths: list[Path], most: int) -> None:
    lengths = {relative(path): file_length(path) for path in paths}
    assert {path: lines for path, lines in lengths.items() if lines > most} == {}


def test_functions_are_short() -> None:
    lengths = {relative(path): function_lengths(path.read_text(encoding="utf-8")) for path in [*CORE, *PLUGINS]}
    every = {f"{path}: {name}": lines for path, functions in lengths.items() for name, lines in functions.items()}
    assert {name: lines for name, lines in every.items() if lines > FUNCTION} == {}


def test_length_of_a_function_leaves_its_docstring_out() -> None:
    source = 'def f():\n    """One.\n\n    Two.\n    """\n    x = 1\n    return x\n'
    assert function_lengths(source) == {"f (line 1)": 3}


def test_the_core_as_a_whole_is_small() -> None:
    assert sum(code_length(path) for path in CORE) <= CORE_TOTAL


def test_a_folder_holds_a_dozen_modules() -> None:
    modules = Counter(relative(path.parent) for path in CORE if path.stem != "__init__")
    assert {folder: n for folder, n in modules.items() if n > FOLDER and folder not in CROWDED} == {}


def test_code_is_counted_without_docstrings_comments_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text('"""One."""\n\n# two\nx = 1  # three\n\n\ndef f():\n    """Four."""\n    return x\n')
    assert code_length(tmp_path / "x.py") == 3
