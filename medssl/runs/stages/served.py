"""Checks that the method and the evaluators of a run support the target of its dataset."""

from __future__ import annotations

from collections.abc import Iterator

from medssl.contracts import Target, Unlabelled
from medssl.discovery import discover, load_plugin
from medssl.errors import MedsslError, OptionError
from medssl.recipe import Recipe

__all__ = ["require_served"]


def require_served(recipe: Recipe, target: Target) -> None:
    """Raise an error before training if the method or an evaluator does not support the target.

    Raises:
        OptionError: It names the first plugin that does not support the target, and the plugins of its kind that do.
    """
    if isinstance(target, Unlabelled):
        if recipe.method.plugin.uses_labels:
            raise OptionError(
                f"the method '{recipe.method.name}' learns from labels, but no image of the dataset "
                f"'{recipe.dataset.name}' has one. Give another --method, or a dataset with labels."
            )
        return
    for choice in recipe.choices:
        served = getattr(choice.plugin, "targets", (target.kind,))
        if target.kind not in served:
            able = ", ".join(_serving(choice.kind, target)) or "none is installed"
            raise OptionError(
                f"the {choice.kind} '{choice.name}' does not support targets of the kind '{target.kind}', which the "
                f"dataset '{recipe.dataset.name}' has. It supports: {', '.join(served)}. Give another --{choice.kind} "
                f"that supports {target.kind}: {able}."
            )


def _serving(kind: str, target: Target) -> Iterator[str]:
    """Yield the names of installed plugins that support a target; broken plugins are skipped."""
    for plugin in discover(kind):
        try:
            _, loaded = load_plugin(kind, plugin.name)
        except MedsslError:
            continue
        if target.kind in loaded.targets:
            yield plugin.name
