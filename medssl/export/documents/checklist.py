"""Reporting checklists, filled from the record of a run as far as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import yaml

from medssl.errors import OptionError, did_you_mean
from medssl.export.documents.answers import answers_of
from medssl.export.documents.record import Record

__all__ = ["checklist", "checklist_names"]

_AUTHORS = "*To be written by the authors.*"


def checklist_names() -> tuple[str, ...]:
    """Return the names of the shipped checklists."""
    folder = resources.files("medssl.export.documents") / "items"
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def checklist(record: Record, name: str) -> str:
    """Return a checklist as Markdown: each item with an answer from the record and its fields, or for the authors.

    Args:
        record: The record of a run.
        name: One of :func:`checklist_names`.

    Raises:
        OptionError: There is no such checklist.
    """
    if name not in checklist_names():
        known = checklist_names()
        raise OptionError(f"no checklist '{name}'.{did_you_mean(name, known)} Checklists: {', '.join(known)}.")
    file = resources.files("medssl.export.documents") / "items" / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    rows = [_row(record, item) for item in values["items"]]
    full = sum(row[3] == "record" for row in rows)
    partly = sum(row[3] == "partly" for row in rows)
    run = f"{record.run.dataset_title}, method '{record.run.method}', predictor '{record.evaluator}'"
    lines = [
        f"# {values['title']}",
        "",
        f"Run: {run} (recipe {record.value('recipe.hash')}). Source of the items: {values['source']}; their texts here "
        "are shortened. Read the guideline itself before you submit.",
        "",
        f"Of {len(rows)} items, the record of the run answers {full} and a part of {partly}. The authors must write "
        f"the other {len(rows) - full - partly}, and check every answer.",
    ]
    section = None
    for item, (number, text, answer, _) in zip(values["items"], rows, strict=True):
        if item["section"] != section:
            section = item["section"]
            lines += ["", f"## {section}", "", "| Item | What it asks | Answer |", "| --- | --- | --- |"]
        lines.append(f"| {number} | {_cell(text)} | {_cell(answer)} |")
    return "\n".join(lines) + "\n"


def _row(record: Record, item: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return number, text and answer of an item, and whether the record answers it: ``record``, ``partly``, ``no``."""
    found = answers_of(record, item.get("from", ()))
    if not found:
        return str(item["number"]), item["text"], _AUTHORS, "no"
    answer = " ".join(f"{each.text} ({_fields(each.fields)})" for each in found)
    if rest := item.get("rest"):
        return str(item["number"]), item["text"], f"{answer} *The authors add: {rest}*", "partly"
    return str(item["number"]), item["text"], answer, "record"


def _fields(fields: Sequence[str]) -> str:
    return ", ".join(f"`{field}`" for field in fields)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
