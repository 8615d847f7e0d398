"""``medssl check``: the conformance kit on an installed plugin."""

from __future__ import annotations

import json
from pathlib import Path

import click

from medssl import registry

__all__ = ["check"]


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(tuple(registry.GROUPS)), help="When one name is of several kinds.")
@click.option("--registry", "extra", type=click.Path(path_type=Path), help="A catalogue of your own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, /, name: str, kind: str | None, extra: Path | None, as_json: bool) -> None:
    """Check that the plugin NAME keeps its contract; one line per property, exit 1 when one is broken."""
    from medssl.catalog import load_catalog
    from medssl.conformance import run_checks
    from medssl.plugins import load_plugin

    kinds = [
        k for k in registry.GROUPS if any(plugin.name == name.rpartition(":")[2] for plugin in registry.discover(k))
    ]
    chosen = kind or (kinds[0] if kinds else "method")
    plugin, loaded = load_plugin(chosen, name, load_catalog(extra).packages(chosen))
    results = run_checks(chosen, loaded)
    if as_json:
        rows = [{"check": result.name, "ok": result.problem is None, "problem": result.problem} for result in results]
        click.echo(json.dumps({"name": plugin.name, "kind": chosen, "checks": rows}, indent=2))
    else:
        click.echo(f"{chosen} {plugin.name} ({plugin.distribution} {plugin.version})")
        for result in results:
            click.echo(f"  {'ok  ' if result.problem is None else 'FAIL'}  {result.name}")
            if result.problem:
                click.echo(f"        {result.problem}")
    if any(result.problem for result in results):
        ctx.exit(1)
