"""``medssl list`` and ``medssl show``: list and describe plugins, recipes and results."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from medssl import discovery
from medssl.catalog import Catalog, load_catalog
from medssl.cli.options import catalog_option
from medssl.cli.views import show_views
from medssl.contracts.kinds import KINDS, kind_words
from medssl.errors import OptionError, did_you_mean

__all__ = ["list_plugins", "show"]

_KINDS = tuple(kind.name for kind in KINDS)
_PLURALS = kind_words("augmentation")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(name="list")
@click.argument("kind", required=False, type=click.Choice(tuple(_PLURALS)))
@catalog_option
@_JSON
def list_plugins(kind: str | None, catalog_file: Path | None, as_json: bool) -> None:
    """List the installed plugins of each kind and the augmentation recipes, one line each. No plugin is imported."""
    catalog = load_catalog(catalog_file)
    rows = [_row(plugin, catalog) for k in KINDS if kind in (None, k.plural) for plugin in discovery.discover(k.name)]
    if kind in (None, "augmentations"):
        rows += [_augmentation_row(name, catalog) for name in catalog.augmentation_names()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for plural, singular in _PLURALS.items():
        if kind in (None, plural):
            click.echo(f"{plural}:")
            for row in rows:
                if row["kind"] == singular:
                    click.echo(f"  {row['name']:<{width}}  {row['summary']}{_brought_by(row)}")


def _row(plugin: discovery.Plugin, catalog: Catalog) -> dict[str, str]:
    known = catalog.summary(plugin.kind, plugin.name)
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "summary": known or discovery.package_summary(plugin.distribution),
        "distribution": plugin.distribution,
        "version": plugin.version,
        "target": plugin.target,
    }


def _augmentation_row(name: str, catalog: Catalog) -> dict[str, str]:
    nothing = dict.fromkeys(("distribution", "version", "target"), "")  # it is not a plugin
    return {"kind": "augmentation", "name": name, "summary": catalog.summary("augmentation", name), **nothing}


def _brought_by(row: Mapping[str, str]) -> str:
    return "" if row["distribution"] in ("medssl", "") else f"  ({row['distribution']} {row['version']})"


class _Show(click.Group):
    """Treats every first argument that is not a subcommand as the thing to show."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [_thing.name or "", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Show)
def show() -> None:
    """Show a plugin, a recipe, the result of a run, or views of a dataset.

    \b
    medssl show method dcl                a plugin with its options and defaults
    medssl show augmentation xray         an augmentation recipe
    medssl show recipe paper              a recipe
    medssl show runs/NAME                 the result of a run
    medssl show views --dataset phantom   a picture of random views
    """  # noqa: D301  (click reads the backspace character that \b stands for)


show.add_command(show_views)


@show.command(name="thing", hidden=True)
@click.argument("what", nargs=-1, required=True)
@catalog_option
@_JSON
def _thing(what: tuple[str, ...], catalog_file: Path | None, as_json: bool) -> None:
    """Show the thing that the arguments name."""
    if len(what) == 1 and (Path(what[0]).exists() or "/" in what[0]):
        _show_run(Path(what[0]), as_json)
        return
    kind, name = (what[0], what[1]) if len(what) == 2 else ("", "")
    kind = _PLURALS.get(kind, kind)
    catalog = load_catalog(catalog_file)
    if kind in _KINDS:
        _show_plugin(kind, name, catalog, as_json)
    elif kind == "augmentation":
        _print(dict(catalog.augmentation(name)), as_json)
    elif kind == "recipe":
        _print(dict(catalog.recipe(name, "", "")), as_json)
    else:
        words = (*_KINDS, "augmentation", "recipe")
        raise OptionError(
            f"cannot show '{' '.join(what)}'.{'' if what[0] in words else did_you_mean(what[0], words)} "
            f"Give a run folder, or one of {', '.join(words)} and a name."
        )


def _print(values: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(values, indent=2, default=str))
        return
    import yaml

    click.echo(
        yaml.safe_dump(json.loads(json.dumps(values, default=str)), sort_keys=False, allow_unicode=True).rstrip()
    )


def _show_run(path: Path, as_json: bool) -> None:
    from medssl.report.tables.tables import print_result
    from medssl.results.directory import RunDirectory

    result = RunDirectory(path).load()
    if as_json:
        click.echo(json.dumps(dict(result.values), indent=2))
    else:
        print_result(result, sys.stdout)


def _show_plugin(kind: str, name: str, catalog: Catalog, as_json: bool) -> None:
    from medssl.discovery import load_plugin
    from medssl.recipe import options

    plugin, loaded = load_plugin(kind, name, catalog.packages(kind))
    described = options.describe(loaded.Config)
    facts = dict(catalog.entry(kind, name))
    values: dict[str, Any] = {
        "name": plugin.name,
        "kind": kind,
        "distribution": f"{plugin.distribution} {plugin.version}",
        "target": plugin.target,
        "summary": catalog.summary(kind, name),
    }
    if as_json:
        rows = [{"name": o.name, "type": o.type, "default": o.default, "source": o.comment} for o in described]
        _print({**values, "options": rows, "catalogue": facts}, as_json=True)
        return
    _print(values, as_json=False)
    click.echo("options:" if described else "options: none")
    for option in described:
        click.echo(
            f"  {option.name}: {option.type} = {option.default!r}" + (f"  # {option.comment}" * bool(option.comment))
        )
    brief = {k: v for k, v in facts.items() if k not in ("summary", "sets", "sources")}
    if brief:
        _print(brief, as_json=False)
