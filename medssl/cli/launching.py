"""The launcher of ``medssl bench``: its options, and the end of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl.catalog import Catalog
from medssl.cli.options import shown_path
from medssl.contracts.kinds import LAUNCHER
from medssl.errors import OptionError

if TYPE_CHECKING:
    from medssl.recipe import Choice

__all__ = ["cancel", "choose_launcher"]


def choose_launcher(
    layers: Sequence[dict[str, Any]], words: Mapping[str, Any], catalog: Catalog
) -> tuple[list[dict[str, Any]], Choice | None]:
    """Take the options of the launcher out of the layers of the recipe.

    Args:
        layers: Of the command's options.
        words: The command's options by name.
        catalog: Knows the launchers.

    Returns:
        The layers without them, and the launcher; ``None``: the cells run in processes of this command.

    Raises:
        MedsslError: The launcher is unknown, or one of the options does not fit.
    """
    given: dict[str, Any] = {}
    for layer in layers:
        section = layer.get(LAUNCHER.section, {})
        if not isinstance(section, Mapping):
            raise OptionError(
                "--set launcher has no value of its own. Give --launcher NAME, and --set launcher.NAME=VALUE."
            )
        given.update(section)
    rest = [{key: value for key, value in layer.items() if key != LAUNCHER.section} for layer in layers]
    name = words[LAUNCHER.name]
    if name is None and given:
        raise OptionError(f"--set launcher.{next(iter(given))} needs a launcher. Give --launcher NAME too.")
    if name is None:
        return rest, None
    if words["force"]:
        raise OptionError(
            "--force and --launcher were both given. A task that is queued again would start over each time. Give "
            "another --output, or delete the folders of the cells."
        )
    from medssl.recipe import choose

    return rest, choose(LAUNCHER.name, name, given, catalog)


def cancel(output: Path, catalog: Catalog) -> None:
    """End the tasks that launchers have started in a study's folder, and say which.

    Raises:
        MedsslError: A launcher is not installed, or could not be reached.
    """
    from medssl.study.launch.remote import cancel_jobs

    cancelled = cancel_jobs(output, catalog)
    for name in cancelled:
        click.echo(f"cancelled: {name}")
    if not cancelled:
        click.echo(f"no job of {shown_path(output)} has tasks to cancel")
