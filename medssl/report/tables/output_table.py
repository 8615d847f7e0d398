"""The scores of each output, for targets that score their outputs one by one, for instance findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medssl.report.sections import Section
from medssl.results.metrics_table import metric_text

__all__ = ["SHOWN", "output_table"]

SHOWN = 100  # outputs of a page; the result has all


def output_table(section: Section) -> tuple[list[str], list[list[str]]]:
    """Return the leading metric of each output by evaluator, of the run whose images the page shows.

    Returns:
        The header and a row per output: name, test images (or groups) with and without it, values with intervals. No
        rows if the metric has no value per output. Of many outputs, the rows with the worst values.
    """
    run = section.shown_first().runs[0]
    every = section.scores_of(run.evaluations)
    scores = {name: every[name] for name in section.judges if name in every}
    by_output: dict[str, Mapping[str, Any]] = {
        name: found["outputs"] for name, one in scores.items() if "outputs" in (found := one.get(section.lead, {}))
    }
    header = ["present", "absent", *(f"{section.lead_title}, {name}" for name in by_output)]
    outputs = dict.fromkeys(output for found in by_output.values() for output in found)
    first = next(iter(by_output.values()), {})
    worst = sorted(outputs, key=lambda output: (first.get(output) or {}).get("value") or 0.0)[:SHOWN]
    outcomes: Mapping[str, Any] = next((one["outcomes"] for one in scores.values() if "outcomes" in one), {})
    rows = [
        [
            output.replace("_", " "),
            *(f"{outcomes[output][key]:,}" if output in outcomes else "-" for key in ("present", "absent")),
            *(metric_text(found[output]) if output in found else "-" for found in by_output.values()),
        ]
        for output in outputs
        if output in worst
    ]
    return [f"lowest {SHOWN} of {len(outputs):,}" if len(outputs) > SHOWN else "", *header], rows
