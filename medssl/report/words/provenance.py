"""Where the numbers come from: data, commands, recipes, environments."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medssl.io.durations import duration
from medssl.io.reading import read_json
from medssl.report.sections import Section
from medssl.report.tables.table_files import path_from
from medssl.results.directory import RunDirectory, RunResult
from medssl.results.metrics_table import metric_title
from medssl.results.privacy import hidden_folder, hidden_paths

__all__ = ["commands", "data_table", "environments", "features_table", "images_folder", "recipes"]


def data_table(section: Section) -> tuple[list[str], list[list[str]]]:
    """Return images, groups and images of each stratum by part: the header, and a row per part, of the first run."""
    run, data = section.rows[0].runs[0], section.data
    try:
        split = read_json(RunDirectory(run.path).splits)
        strata: Mapping[str, Mapping[str, int]] = split.get("stratum_count") or split["class_count"]
    except (OSError, ValueError, KeyError):
        strata = {}
    names = run.data.target.strata_names if strata else ()
    groups = data.groups
    header = ["part", "images", *([f"{data.group_kind or 'group'}s"] if groups else [])]
    header += names
    rows = []
    for part, images in (("train", data.train), ("val", data.val), ("test", data.test)):
        row = [part, f"{images:,}", *([f"{groups[part]:,}"] if groups else [])]
        row += [f"{strata.get(part, {}).get(name, 0):,}" for name in names]
        rows.append(row)
    return header, rows


def features_table(section: Section) -> tuple[list[str], list[list[str]]]:
    """Return what was measured of the features themselves and of rankings: means over a row's runs."""
    columns: dict[str, None] = {}
    found: list[tuple[str, dict[str, float]]] = []
    for row in section.main_rows:
        values: dict[str, list[float]] = {}
        for run in row.runs:
            for key, value in _diagnostics(run):
                values.setdefault(key, []).append(value)
        means = {key: sum(some) / len(some) for key, some in values.items() if len(some) == len(row.runs)}
        columns |= dict.fromkeys(means)
        if means:
            found.append((row.label, means))
    rows = [[label, *(f"{means[c]:.3g}" if c in means else "-" for c in columns)] for label, means in found]
    return ["", *columns], rows


_OF_FEATURES = ("effective_rank", "feature_std", "uniformity", "alignment")
_OF_RANKINGS = 2  # the first metrics; the others say much the same


def _diagnostics(run: RunResult) -> Iterator[tuple[str, float]]:
    for name, found in run.diagnostics.items():
        metrics = [key for key in run.metrics if isinstance(found.get(key), Mapping)][:_OF_RANKINGS]
        for key in (*_OF_FEATURES, *metrics):
            value = found.get(key)
            value = value.get("value") if isinstance(value, Mapping) else value
            if isinstance(value, int | float):
                words = metric_title(key, run.metrics) if key in metrics else key.replace("_", " ")
                yield (words if name == "features" else f"{name}: {words}"), float(value)


def commands(section: Section, base: Path) -> list[dict[str, str]]:
    """Say of each run how to repeat it, and where its result lies.

    Args:
        section: Of the report.
        base: Folder that paths are written from.
    """
    found = []
    for row in section.rows:
        for run in row.runs:
            result = path_from(base, run)
            recipe = str(Path(result).with_name("recipe.yaml"))
            words = ["medssl", "run", "--recipe", recipe, "--data-dir", "DATA"]
            found.append(
                {
                    "row": row.label,
                    "seed": str(run.seed),
                    "result": result,
                    "command": shlex.join(words),
                    "time": duration(run.seconds),
                }
            )
    return found


def images_folder(section: Section) -> str:
    """Name the folder of the images; an absolute path, from an earlier version, has a private name."""
    return hidden_folder(section.data.directory)


def recipes(section: Section) -> list[tuple[str, str]]:
    """Return each row's settings as YAML: everything of the first row, then what differs from it."""
    first = _settings(section.rows[0].runs[0])
    found = [(section.rows[0].label, yaml.safe_dump(first, sort_keys=False, allow_unicode=True))]
    for row in section.rows[1:]:
        other = _difference(_settings(row.runs[0]), first)
        found.append((row.label, yaml.safe_dump(other, sort_keys=False, allow_unicode=True)))
    return found


def _settings(run: RunResult) -> dict[str, Any]:
    settings = {key: value for key, value in run.recipe.items() if key != "seed"}
    return dict(hidden_paths(settings, (), {}))  # earlier versions wrote paths


def _difference(values: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(other.get(key), Mapping) and "plugin" not in value:
            if inner := _difference(value, other[key]):
                found[key] = inner
        elif value != other.get(key):
            found[key] = value
    return found


def environments(runs: Sequence[RunResult]) -> list[tuple[str, str]]:
    """List versions and machines, every value that occurs; plugins of other distributions among them."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for key, value in run.values["environment"].items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            if value not in (None, [], ""):
                found.setdefault(key, {})[text] = None
        plugins = run.values["plugins"]
        for plugin in (each for named in plugins.values() for each in (named if isinstance(named, list) else [named])):
            found.setdefault(str(plugin["distribution"]), {})[str(plugin["version"])] = None
    return [(key, "; ".join(values)) for key, values in found.items()]
