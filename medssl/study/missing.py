"""Finds the encoders of a plan whose files are not on this machine and cannot be downloaded."""

from __future__ import annotations

from typing import Any

import torch

from medssl.catalog import Catalog
from medssl.contracts.kinds import ENCODER
from medssl.errors import CheckpointError, PluginError
from medssl.recipe import choose
from medssl.study.grid import is_encoder
from medssl.study.plan import Plan, plugin_named

__all__ = ["find_missing"]


def find_missing(plan: Plan, catalog: Catalog) -> dict[str, str]:
    """Return the encoders of a plan that cannot be built here, by name, with the reason.

    Each is built once. Files are downloaded now, not by the first cell that needs them.
    """
    entries = [*plan.of(ENCODER), *(each for each in plan.baselines if is_encoder(each, catalog))]
    found = {}
    for entry in entries:
        if (reason := _problem(entry, catalog)) is not None:
            found[plugin_named(entry)] = reason
    return found


def _problem(entry: Any, catalog: Catalog) -> str | None:
    options = {} if isinstance(entry, str) else {key: value for key, value in entry.items() if key != "plugin"}
    try:
        choice = choose(ENCODER.name, plugin_named(entry), options, catalog)
        source = choice.plugin(choice.config, choice.facts)
        with torch.random.fork_rng(devices=[]):
            source.build(source.card.image_size or 224)
    except (CheckpointError, PluginError) as error:
        return str(error)
    return None
