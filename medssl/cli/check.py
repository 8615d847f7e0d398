"""``medssl check``: run the conformance kit on an installed plugin."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl import discovery
from medssl.cli.options import catalog_option, data_dir_option, recipe_layers, settings_option
from medssl.cli.output import print_json
from medssl.contracts.kinds import KINDS, Kind, kind_named
from medssl.errors import OptionError
from medssl.io.plain_text import printable

if TYPE_CHECKING:
    from medssl.conformance import CheckResult

__all__ = ["check"]


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([each.name for each in KINDS]),
    help="Kind of the plugin, if several kinds have the same name.",
)
@data_dir_option("Check a dataset on its files too; the same directory as for `run`.")
@settings_option("An option of the plugin, for instance method.temperature=0.2.")
@catalog_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    /,
    name: str,
    kind: str | None,
    data_dir: Path | None,
    settings: tuple[str, ...],
    catalog_file: Path | None,
    as_json: bool,
) -> None:
    """Check that the plugin NAME fulfils its contract. Prints one line per check; the exit code is 1 if one fails."""
    from medssl.catalog import load_catalog

    chosen = _kind_of(name, kind)
    catalog = load_catalog(catalog_file)
    plugin = discovery.find(chosen.name, name, packages=catalog.packages(chosen.name))
    from medssl.conformance import iterate_checks  # takes seconds, so a mistyped name fails first

    loaded = discovery.load(plugin)
    what: dict[str, Any] = {"config": _config(chosen, plugin.name, loaded, settings)}
    if chosen.reads_files:
        what |= {"facts": catalog.entry(chosen.name, name), "root": _root(name, data_dir)}
        # the checks list the dataset many times, and would repeat its warnings
        logging.getLogger("medssl").addHandler(logging.NullHandler())
    elif data_dir is not None:
        raise click.UsageError(f"{name} is {chosen.with_article} and reads no files. Leave out --data-dir.")

    results = []
    if not as_json:
        click.echo(f"{chosen.name} {plugin.name} ({plugin.distribution} {plugin.version})")
    for result in iterate_checks(chosen.name, loaded, **what):
        results.append(result)
        if not as_json:
            _print(result)
    if as_json:
        rows = [{"check": r.name, "ok": r.problem is None, **_without_name(r)} for r in results]
        print_json({"name": plugin.name, "kind": chosen.name, "checks": rows})
    if any(result.problem is not None for result in results):
        ctx.exit(1)


def _without_name(result: CheckResult) -> dict[str, str | None]:
    return {key: value for key, value in asdict(result).items() if key not in ("name", "last")}


def _kind_of(name: str, given: str | None) -> Kind:
    """Return the given kind, else the first kind that has a plugin of this name."""
    if given:
        return kind_named(given)
    bare = name.rpartition(":")[2]
    return next((k for k in KINDS if bare in {p.name for p in discovery.discover(k.name)}), KINDS[0])


def _config(kind: Kind, name: str, plugin: Any, settings: tuple[str, ...]) -> Any:
    """Build the plugin's options from ``--set``, written as for a run; ``None`` if nothing is set."""
    from medssl.discovery import violations
    from medssl.recipe import options

    if not settings or violations(kind.name, plugin):  # a broken contract is shown as the first finding
        return None
    place = kind.place_of_options(name)
    values: dict[str, Any] = {}
    for text, layer in zip(settings, recipe_layers({"settings": settings})[-len(settings) :], strict=True):
        own: Any = layer
        for word in place:
            own = own.get(word) if isinstance(own, dict) else None
        if not isinstance(own, dict):
            raise OptionError(
                f"--set {text} is not an option of the {kind.name} '{name}'. Only this plugin is checked here. "
                f"Write --set {'.'.join(place)}.OPTION=VALUE."
            )
        values |= own
    return options.build(plugin.Config, values, f"{kind.name} '{name}'")


def _root(name: str, data_dir: Path | None) -> Path | None:
    from medssl.data.loading import data_folder

    return None if data_dir is None else data_folder(name, data_dir)


def _print(result: CheckResult) -> None:
    mark = "FAIL" if result.problem is not None else "-   " if result.not_seen is not None else "ok  "
    click.echo(f"  {mark}  {result.name}" + (f" ({result.not_seen})" if result.not_seen else ""))
    if result.problem:
        click.echo(printable(f"        {result.problem}"))
