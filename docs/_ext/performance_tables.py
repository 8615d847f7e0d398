"""Write the tables of the performance page from the files that ``python -m benchmarks`` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def fragments() -> dict[str, str]:
    """Return one reStructuredText table per results file, by the fragment's name; a sentence if there is no file."""
    found = {f"performance-{path.stem}.inc": _fragment(path) for path in sorted(RESULTS.glob("*.json"))}
    return {"performance-cpu.inc": "No figures are recorded for this version yet.\n", **found}


def _fragment(path: Path) -> str:
    content = json.loads(path.read_text(encoding="utf-8"))
    machine = content["machine"]
    where = machine["gpu"] or f"{machine['processor']}, {machine['threads']} threads"
    bfloat16 = "" if machine["gpu"] or machine["bfloat16"] else " (no bfloat16 instructions)"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    commits = ", ".join(dict.fromkeys(line["commit"] for line in content["lines"]))
    load = max(line["load_at_start"] for line in content["lines"])
    head = (
        f"Measured on {where}{bfloat16}; {machine['system']}; {versions}; commit {commits} (the file gives the "
        f"commit of each figure); load average at the start at most {load:g}.\n"
    )
    rows = [["", "median", "range", "target", ""], *(_row(line) for line in content["lines"])]
    table = [".. list-table::", "   :header-rows: 1", "   :widths: 50 12 18 10 10", ""]
    for row in rows:
        table += [f"   {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(row)]
    return "\n".join([head, *table, ""])


def _row(line: dict[str, Any]) -> list[str]:
    mark = "" if line["mark"] is None else f"{'≥' if line['at_least'] else '≤'} {line['mark']:g}"
    return [line["what"], f"{line['value']:.3g}", f"{line['low']:.3g} to {line['high']:.3g}", mark, line["verdict"]]
