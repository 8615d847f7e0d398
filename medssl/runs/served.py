"""Whether the method and the evaluators of a run can work with the target of its dataset."""

from __future__ import annotations

from collections.abc import Iterator

from medssl.contracts import Target
from medssl.discovery import discover, load_plugin
from medssl.errors import MedsslError, OptionError
from medssl.recipe import Recipe

__all__ = ["require_served"]


def require_served(recipe: Recipe, target: Target) -> None:
    """Refuse a run before anything is trained where its method or an evaluator does not serve the target.

    Raises:
        OptionError: It names the first plugin that does not serve it, and those of its kind that do.
    """
    for choice in recipe.choices:
        served = getattr(choice.plugin, "targets", (target.kind,))
        if target.kind not in served:
            able = ", ".join(_serving(choice.kind, target)) or "none that is installed"
            raise OptionError(
                f"the {choice.kind} '{choice.name}' does not serve targets of the kind '{target.kind}', which the "
                f"dataset '{recipe.dataset.name}' has. It serves: {', '.join(served)}. Give --{choice.kind} with one "
                f"that serves {target.kind}: {able}."
            )


def _serving(kind: str, target: Target) -> Iterator[str]:
    """Yield the names of installed plugins that serve a target; a broken one is passed over."""
    for plugin in discover(kind):
        try:
            _, loaded = load_plugin(kind, plugin.name)
        except MedsslError:
            continue
        if target.kind in loaded.targets:
            yield plugin.name
