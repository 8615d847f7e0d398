"""Start-up stays quick because nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "lightly", "timm", "sklearn", "matplotlib", "pandas", "pytorch_lightning")
ROOT = Path(__file__).resolve().parents[2]

CLI = "from medssl.cli import main; main({arguments!r}, standalone_mode=False)"

STATEMENTS = {
    "import": "import medssl",
    "errors": (
        "import medssl.errors, medssl.discovery, medssl.catalog, medssl.recipe.options, medssl.tools.downloading, "
        "medssl.tools.images, medssl.tools.unpacking"
    ),
    "help": CLI.format(arguments=["--help"]),
    "list": CLI.format(arguments=["list"]),
    "list as JSON": CLI.format(arguments=["list", "--json"]),
    "show an augmentation": CLI.format(arguments=["show", "augmentation", "natural"]),
    "mistyped command": f"""
import click
try:
    {CLI.format(arguments=["lst"])}
except click.UsageError as error:
    assert "'list'" in str(error)
else:
    raise SystemExit("a mistyped command was accepted")
""",
}


def heavy_imports(statement: str, folder: Path) -> list[str]:
    """Run a statement in a new interpreter; return which of HEAVY it imported."""
    program = f"{statement}\nimport sys\nprint('HEAVY', *({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), str(ROOT / "plugins")])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_start_up_imports_nothing_heavy(statement: str, tmp_path: Path) -> None:
    assert heavy_imports(statement, tmp_path) == []


def test_the_check_sees_a_heavy_import(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("", encoding="utf-8")  # stands in for the real one
    assert heavy_imports("import torch", tmp_path) == ["torch"]
