"""The tutorials' notebook: it is stored without outputs, and its code runs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "first-study.ipynb"


def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]  # type: ignore[no-any-return]


def test_it_is_a_notebook_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in cells()}) == len(cells())
    assert {cell["cell_type"] for cell in cells()} == {"markdown", "code"}
    for cell in cells():
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.slow
def test_the_cells_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)
    space: dict[str, Any] = {"__name__": "notebook"}
    shown = []
    for cell in cells():
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, NOTEBOOK.name, "exec"), space)
        if isinstance(last, ast.Expr):  # its value is what a notebook shows
            shown.append(eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), space))
    result, shape = (value for value in shown if value is not None)  # print returns None
    assert "<table>" in result._repr_html_()
    assert shape == (5, 512)
    assert space["study"].failed == []
    said = capsys.readouterr().out
    assert "\nrandom: " in said
    assert "\ndcl: " in said
    assert result.path.resolve() == next((tmp_path / "runs").glob("phantom-dcl-*")).resolve()
