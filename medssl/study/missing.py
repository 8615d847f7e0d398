"""Finds the given weights of a plan that are not on this machine and cannot be downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from medssl.catalog import Catalog
from medssl.contracts import EncoderPlugin
from medssl.contracts.kinds import ENCODER
from medssl.errors import CheckpointError, PluginError
from medssl.recipe import choose
from medssl.study.grid import Cell, expand, is_encoder
from medssl.study.plan import Plan, plugin_named

__all__ = ["find_missing", "list_cells"]


def list_cells(
    plan: Plan, layers: Sequence[Mapping[str, Any]], catalog: Catalog, data_dir: Path | None
) -> tuple[Plan, list[Cell], dict[str, str]]:
    """List the cells of a plan, as :func:`medssl.study.grid.expand`.

    With ``skip_missing``, encoders and methods whose weights are missing are left out.

    Returns:
        The plan without these encoders, the cells, and the reason for each encoder and method that was left out.

    Raises:
        MedsslError: See :func:`medssl.study.grid.expand`.
    """
    missing = find_missing(plan, catalog) if plan.skip_missing else {}
    plan = plan.without(missing)
    cells = expand(plan, layers, catalog, data_dir)
    if not plan.skip_missing:
        return plan, cells, missing
    kept, problems = [], dict[str, str | None]()
    for cell in cells:
        recipe = cell.recipe
        key = json.dumps(recipe.encoder.to_dict(), sort_keys=True)
        if key not in problems:  # random weights can always be drawn
            given = recipe.initial_weights is not None
            problems[key] = _problem(recipe.open_encoder(), recipe.views.image_size) if given else None
        if (reason := problems[key]) is None:
            kept.append(cell)
        else:
            missing[recipe.method.name] = reason
    return plan, kept, missing


def find_missing(plan: Plan, catalog: Catalog) -> dict[str, str]:
    """Return the encoders of a plan that cannot be built here, by name, with the reason.

    Each is built once. Files are downloaded now, not by the first cell that needs them.
    """
    entries = [*plan.of(ENCODER), *(each for each in plan.baselines if is_encoder(each, catalog))]
    found = {}
    for entry in entries:
        options = {} if isinstance(entry, str) else {key: value for key, value in entry.items() if key != "plugin"}
        try:
            choice = choose(ENCODER.name, plugin_named(entry), options, catalog)
            reason = _problem(choice.plugin(choice.config, choice.facts))
        except (CheckpointError, PluginError) as error:
            reason = str(error)
        if reason is not None:
            found[plugin_named(entry)] = reason
    return found


def _problem(source: EncoderPlugin, image_size: int | None = None) -> str | None:
    """Return why an encoder cannot be built, for images of its own size or of this one."""
    try:
        with torch.random.fork_rng(devices=[]):
            source.build(image_size or source.card.image_size or 224)
    except (CheckpointError, PluginError) as error:
        return str(error)
    return None
