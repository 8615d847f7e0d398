"""``medssl run``: one recipe, one directory, one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from medssl.catalog import load_catalog
from medssl.cli.options import find_plugins, recipe_layers, recipe_options

__all__ = ["run"]


@click.command(epilog="The same command again goes on where a run stopped, or shows its result at once.")
@recipe_options
@click.option("--output", type=click.Path(path_type=Path), default="runs", show_default=True, help="For run folders.")
@click.option("--force", is_flag=True, help="Start over although the run folder holds something.")
@click.option("--json", "as_json", is_flag=True, help="Print result.json, and nothing else, to standard output.")
@click.pass_context
def run(ctx: click.Context, /, output: Path, force: bool, as_json: bool, **words: Any) -> None:
    """Pre-train METHOD on DATASET, evaluate the frozen encoder, and write everything into a run folder."""
    layers = recipe_layers(words)
    catalog = load_catalog(words["registry"])
    find_plugins(words, catalog)
    from medssl.cli.display import choose_display
    from medssl.pipeline import Place, execute
    from medssl.recipe import resolve

    recipe = resolve(catalog, layers)
    place = Place(
        data_dir=words["data_dir"],
        output=output,
        device=words["device"],
        force=force,
        on_bad_image=words["on_bad_image"],
    )
    with choose_display(recipe, quiet=as_json) as display:
        try:
            result = execute(recipe, catalog=catalog, place=place, listener=display)
        except KeyboardInterrupt:
            display.close()
            click.echo(f"stopped. {output / recipe.slug} keeps the epochs done; the same command goes on.", err=True)
            ctx.exit(130)
    from medssl.report.page import write_page
    from medssl.report.tables import print_result

    write_page(result)
    if as_json:
        click.echo(json.dumps(dict(result.values), indent=2))
    else:
        print_result(result, sys.stdout)
