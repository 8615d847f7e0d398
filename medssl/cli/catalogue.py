"""``medssl list`` and ``medssl show``: list and describe plugins, recipes and results."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import click

from medssl import discovery
from medssl.catalog import Catalog, load_catalog
from medssl.cli.card import show_data
from medssl.cli.options import catalog_option
from medssl.cli.output import print_json
from medssl.cli.views import show_views
from medssl.contracts.kinds import KINDS, kind_named, kind_words
from medssl.errors import OptionError, did_you_mean
from medssl.io.plain_text import printable
from medssl.recipe.naming import require_known

__all__ = ["list_plugins", "show"]

_KINDS = tuple(kind.name for kind in KINDS)
_PLURALS = kind_words("augmentation")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(name="list")
@click.argument("kind", required=False, type=click.Choice(tuple(_PLURALS)))
@catalog_option
@_JSON
def list_plugins(kind: str | None, catalog_file: Path | None, as_json: bool) -> None:
    """List the plugins of each kind, the catalogue's encoders and the augmentation recipes. No plugin is imported."""
    catalog = load_catalog(catalog_file)
    kinds = [each.name for each in KINDS if kind in (None, each.plural)]
    rows = [_plugin_row(plugin, catalog) for name in kinds for plugin in discovery.discover(name)]
    for each in kinds:
        rows += [
            _row(each, name, catalog, catalog.entry(each, name).get("plugin", "")) for name in catalog.presets(each)
        ]
    if kind in (None, "augmentations"):
        rows += [_row("augmentation", name, catalog) for name in catalog.augmentation_names()]
    if as_json:
        print_json(rows)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for plural, singular in _PLURALS.items():
        if kind in (None, plural):
            click.echo(f"{plural}:")
            for row in rows:
                if row["kind"] == singular:
                    click.echo(printable(f"  {row['name']:<{width}}  {row['summary']}{_brought_by(row)}"))


def _row(kind: str, name: str, catalog: Catalog, target: object = "") -> dict[str, str]:
    """Describe a name of the catalogue: for a plugin with options, or an augmentation recipe."""
    row = {"kind": kind, "name": name, "summary": catalog.summary(kind, name)}
    return {**row, "distribution": "", "version": "", "target": str(target)}


def _plugin_row(plugin: discovery.Plugin, catalog: Catalog) -> dict[str, str]:
    row = _row(plugin.kind, plugin.name, catalog)
    row["summary"] = row["summary"] or discovery.package_summary(plugin.distribution)
    return {**row, "distribution": plugin.distribution, "version": plugin.version, "target": plugin.target}


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
    """Show a plugin, a recipe, the result of a run, views of a dataset, or your own data.

    \b
    medssl show method NAME               a plugin with its options and defaults
    medssl show augmentation NAME         an augmentation recipe
    medssl show recipe NAME               a recipe
    medssl show runs/NAME                 the result of a run
    medssl show views --dataset NAME      a picture of random views
    medssl show data FOLDER|TABLE         how your own images are understood, and the command for a run
    """  # noqa: D301  (click reads the backspace character that \b stands for)


show.add_command(show_views)
show.add_command(show_data)


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
        print_json(values)
        return
    import yaml

    text = yaml.safe_dump(json.loads(json.dumps(values, default=str)), sort_keys=False, allow_unicode=True)
    click.echo(printable(text.rstrip()))


def _show_run(path: Path, as_json: bool) -> None:
    from medssl.report.tables.tables import print_result
    from medssl.results.directory import RunDirectory

    result = RunDirectory(path).load()
    if as_json:
        print_json(dict(result.values))
    else:
        print_result(result, sys.stdout)


def _access(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a name of the catalogue, with a sentence on how to get its files."""
    gate, licence = facts.get("gate"), facts.get("licence")
    access = facts.get("blocked") or (
        f"Request access at {gate}, then log in with `hf auth login` or set HF_TOKEN."
        if gate
        else "The files are downloaded when they are first used."
    )
    return {
        **{k: v for k, v in facts.items() if k != "options"},
        "licence": licence or "not known",
        "access": access,
        **({"options": facts["options"]} if "options" in facts else {}),
    }


def _show_plugin(kind: str, name: str, catalog: Catalog, as_json: bool) -> None:
    from medssl.discovery import load_plugin
    from medssl.recipe import options

    if name in catalog.presets(kind):
        _print({"name": name, "kind": kind, **_access(catalog.entry(kind, name))}, as_json)
        return
    if catalog.presets(kind):
        require_known(kind_named(kind), name, catalog)
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
    if targets := getattr(loaded, "targets", ()):
        values["targets"] = ", ".join(targets)
    if as_json:
        rows = [
            {"name": o.name, "type": o.type, "default": o.default, "source": o.comment, "meaning": o.meaning}
            for o in described
        ]
        ranges = dict(getattr(loaded, "ranges", {}))
        _print({**values, "options": rows, "ranges": ranges, "catalogue": facts}, as_json=True)
        return
    _print(values, as_json=False)
    click.echo("options:" if described else "options: none")
    for option in described:
        default = "must be given" if option.default is MISSING else f"= {json.dumps(option.default, default=str)}"
        comment = f"  # {option.comment}" if option.comment else ""
        click.echo(printable(f"  {option.name}: {option.type} {default}{comment}"))
        if option.meaning:
            meaning = textwrap.fill(option.meaning.replace("``None``", "null").replace("``", "`"), 112)
            click.echo(printable(textwrap.indent(meaning, " " * 6)))
    for key, values in getattr(loaded, "ranges", {}).items():
        click.echo(printable(f"range for a search: {kind}.{key}={values}"))
    brief = {k: v for k, v in facts.items() if k not in ("summary", "sets", "sources")}
    if brief:
        _print(brief, as_json=False)
