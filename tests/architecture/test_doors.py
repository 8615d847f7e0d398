"""Names pass between modules through their front doors, and the two public packages stay light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import medssl.tools

ROOT = Path(__file__).resolve().parents[2]
OURS = (
    "medssl",
    "medssl_methods",
    "medssl_datasets",
    "medssl_evaluators",
    "medssl_readers",
    "medssl_trackers",
    "medssl_launchers",
    "benchmarks",
)


# ---------------------------------------------------------------------------------------------------- between modules


@cache
def module_file(name: str) -> Path | None:
    """The file of one of our modules."""
    base = (ROOT if name.split(".", maxsplit=1)[0] in ("medssl", "benchmarks") else ROOT / "plugins") / name.replace(
        ".", "/"
    )
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def offered(path: Path) -> set[str] | None:
    """The names in a module's ``__all__``, or in the stub of a package; ``None`` where it has neither."""
    if path.with_suffix(".pyi").is_file():
        stub = ast.parse(path.with_suffix(".pyi").read_text(encoding="utf-8"))
        return {name.name for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def wrong_imports(source: str) -> Iterator[str]:
    """Yield ``line: module.name`` for each name imported from one of our modules that this module does not offer."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] not in OURS:
            continue
        home = module_file(node.module)
        for alias in node.names:
            if module_file(f"{node.module}.{alias.name}"):
                continue  # a module, not a name in one
            scripts = node.module.startswith("benchmarks")  # these have no __all__
            public = home is not None and (scripts or alias.name in (offered(home) or ()))
            if alias.name.startswith("_") or not public:
                yield f"line {node.lineno}: {node.module}.{alias.name}"


def sources() -> list[Path]:
    found = [p for folder in ("medssl", "plugins", "benchmarks") for p in sorted((ROOT / folder).rglob("*.py"))]
    return [*found, *sorted((ROOT / "docs").glob("*.py")), *sorted((ROOT / "docs" / "_ext").glob("*.py"))]


def test_a_module_imports_only_what_another_offers() -> None:
    found = {str(path.relative_to(ROOT)): list(wrong_imports(path.read_text(encoding="utf-8"))) for path in sources()}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from medssl.errors import DataError", []),
        ("from medssl.io import locks", []),
        ("from medssl.errors import _secret", ["line 1: medssl.errors._secret"]),
        ("from medssl.tools.images import np", ["line 1: medssl.tools.images.np"]),
        ("def f():\n    from medssl.tools.images import _turn", ["line 2: medssl.tools.images._turn"]),
        ("from numpy import _core", []),
    ],
)
def test_the_search_sees_private_and_unoffered_names(source: str, found: list[str]) -> None:
    assert list(wrong_imports(source)) == found


# ------------------------------------------------------------------------------------------------- the public packages


def imported(statement: str, wanted: set[str]) -> set[str]:
    """Run a statement in a new interpreter; return which of the wanted modules it imported."""
    program = f"{statement}\nimport sys\nprint('FOUND', *({wanted!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split()[1:])


LOADERS = {"PIL", "pooch", "requests", "rich", "lightly", "timm", "sklearn"}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import medssl.contracts", set()),
        ("from medssl.tools import unpack", set()),
        ("from medssl.tools import read_image", {"PIL"}),
        ("from medssl.tools import download", {"pooch", "requests", "rich"}),
        ("from medssl.tools import effective_rank, train, Queue", {"torch"}),
    ],
)
def test_a_name_brings_no_more_than_it_needs(statement: str, expected: set[str]) -> None:
    wanted = LOADERS if "contracts" in statement else {*LOADERS, "torch"}
    assert imported(statement, wanted) == expected


@pytest.mark.parametrize("name", ["medssl", "medssl.contracts", "medssl.tools"])
def test_every_name_of_a_stub_can_be_imported_from_the_package(name: str) -> None:
    package = importlib.import_module(name)
    assert set(package.__all__) - {"__version__"} == offered(Path(package.__file__))
    assert all(getattr(package, each) is not None for each in package.__all__)
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'lift'"):
        _ = package.lift


@pytest.mark.parametrize("name", ["IMAGE_SUFFIXES", "Source", "download", "unpack"])
def test_a_name_that_moved_says_where_it_is(name: str) -> None:
    with pytest.raises(ImportError, match=f"Write `from medssl.tools import {name}`"):
        exec(f"from medssl.contracts import {name}")
    assert hasattr(importlib.import_module("medssl.tools"), name)


def test_reading_an_image_is_also_imported_from_the_contracts() -> None:
    assert imported("from medssl.contracts import read_image", LOADERS) == {"PIL"}
    exec("from medssl.contracts import read_image; assert read_image is medssl.tools.read_image", {"medssl": medssl})
