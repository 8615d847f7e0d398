"""Make ``docs/results.md`` from the ``result.json`` files of real runs.

    python docs/make_results.py collect runs/pneumonia-*    copy results to docs/results/, without local paths
    python docs/make_results.py                             write docs/results.md from them

Every number in the page is read from one of those files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
KEPT = DOCS / "results"
METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}
HEAD = """# Results on real images

Every number on this page is read from a `result.json` under `docs/results/` by `python docs/make_results.py`; none is
typed by hand. Test images were scored once, all settings were chosen on the validation part, and the brackets hold
95 % bootstrap intervals over {unit}. The row `random` is the untrained encoder: what a method must beat.
"""


def collect(runs: Sequence[Path]) -> None:
    """Copy each run's result, its folders reduced to their names."""
    for run in runs:
        values = json.loads((run / "result.json").read_text())
        values["data"]["directory"] = Path(values["data"]["directory"]).name
        environment = values["environment"]
        environment["platform"] = environment["platform"].partition("-")[0]
        folder = KEPT / values["dataset"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{run.name}.json").write_text(json.dumps(values, indent=1) + "\n")


def load() -> dict[str, list[dict[str, Any]]]:
    """Read every kept result, by setting: dataset, backbone, size, batch, epochs and split in words."""
    settings: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(KEPT.glob("*/*.json")):
        values = json.loads(file.read_text())
        settings.setdefault(describe(values), []).append(values)
    for rows in settings.values():
        rows.sort(key=lambda row: (row["method"] != "random", row["method"], row["seed"]))
    return dict(sorted(settings.items(), key=lambda item: _order(item[1][0])))


def _order(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Dataset by dataset, the largest images and longest runs first."""
    recipe = values["recipe"]
    size, epochs = recipe["views"]["image_size"], recipe["train"]["epochs"]
    return values["dataset"], values["data"]["split"], -size, -epochs


def describe(values: Mapping[str, Any]) -> str:
    """Say what a result has in common with those it may be compared with."""
    recipe, data = values["recipe"], values["data"]
    return (
        f"{values['dataset']}, {data['split']} split: {recipe['encoder']['backbone']}, "
        f"{recipe['views']['image_size']} px, batch {recipe['train']['batch_size']}, "
        f"{recipe['train']['epochs']} epochs"
    )


def cell(metric: Mapping[str, Any]) -> str:
    """Write one metric with its interval."""
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def table(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """One row per run, one column per evaluator."""
    evaluators = list(rows[0]["evaluations"])
    lines = ["| method | seed | " + " | ".join(evaluators) + " |", "| --- | --- |" + " --- |" * len(evaluators)]
    for row in rows:
        cells = [cell(row["evaluations"][name][metric]) for name in evaluators]
        lines.append(f"| {row['method']} | {row['seed']} | " + " | ".join(cells) + " |")
    return lines


def command(values: Mapping[str, Any]) -> str:
    """Write the command that repeats a run."""
    recipe = values["recipe"]
    words = [f"medssl run --method {values['method']} --dataset {values['dataset']}"]
    words.append(f"--epochs {recipe['train']['epochs']} --batch-size {recipe['train']['batch_size']}")
    words.append(f"--backbone {recipe['encoder']['backbone']} --image-size {recipe['views']['image_size']}")
    if recipe["encoder"]["stem"] != "auto":
        words.append(f"--set encoder.stem={recipe['encoder']['stem']}")
    words.extend(f"--evaluator {choice['plugin']}" for choice in recipe["evaluators"])
    if values["data"]["split_reason"] == "chosen by the user":
        words.append(f"--split {values['data']['split']}")
    if values["seed"]:
        words.append(f"--seed {values['seed']}")
    return " ".join(words)


def beats_random(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """Compare each trained encoder with the untrained one, interval against interval."""
    base = next((row for row in rows if row["method"] == "random"), None)
    if base is None:
        return []
    lines = []
    for name in base["evaluations"]:
        high = base["evaluations"][name][metric]["high"]
        above = sorted({r["method"] for r in rows if r is not base and r["evaluations"][name][metric]["low"] > high})
        lines.append(
            f"- `{name}`: the whole interval lies above the untrained encoder's for {', '.join(above) or 'no method'}."
        )
    return lines


def section(title: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One setting: tables, comparison, speed, commands."""
    data, environment = rows[0]["data"], rows[0]["environment"]
    lines = [f"## {title}", ""]
    lines.append(f"{data['train']} training, {data['val']} validation and {data['test']} test images.")
    lines.append(f"torch {environment['torch']}, {environment['device']}, {environment['precision']}.")
    for metric, words in METRICS.items():
        lines += ["", f"### {words[0].upper()}{words[1:]}", "", *table(rows, metric)]
    for metric in ("accuracy", "auroc"):
        lines += ["", f"### Against the untrained encoder ({METRICS[metric]})", "", *beats_random(rows, metric)]
    lines += ["", "### Commands", "", "```console", *(f"$ {command(row)}" for row in rows), "```", ""]
    return lines


def main() -> None:
    """Collect or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", nargs="?", choices=["collect", "write"], default="write")
    parser.add_argument("runs", nargs="*", type=Path)
    words = parser.parse_args()
    if words.verb == "collect":
        collect(words.runs)
    settings = load()
    grouped = any(row["data"]["groups"] for rows in settings.values() for row in rows)
    lines = [HEAD.format(unit="patients" if grouped else "images")]
    for title, rows in settings.items():
        lines += section(title, rows)
    notes = KEPT / "notes.md"
    if notes.exists():
        lines.append(notes.read_text().rstrip())
    (DOCS / "results.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
