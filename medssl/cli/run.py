"""``medssl run``: carry out one recipe, write its directory and print its table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl.catalog import Catalog, load_catalog
from medssl.cli.options import find_plugins, recipe_layers, recipe_options
from medssl.errors import MedsslError

if TYPE_CHECKING:
    from medssl.recipe import Recipe
    from medssl.results.directory import RunResult
    from medssl.runs.pipeline import Place

__all__ = ["run", "run_layers"]


@click.command(
    epilog="Run the same command again to continue an interrupted run, or to show the result of a finished one."
)
@recipe_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="runs",
    show_default=True,
    help="Directory for the run folders.",
)
@click.option("--force", is_flag=True, help="Start over even if the run folder is not empty.")
@click.option("--json", "as_json", is_flag=True, help="Print only result.json to standard output.")
@click.pass_context
def run(ctx: click.Context, /, **words: Any) -> None:
    """Pre-train an encoder on a dataset, evaluate it frozen, and write everything into a run folder."""
    layers = recipe_layers(words)
    catalog = load_catalog(words["catalog_file"])
    find_plugins(words, catalog)
    run_layers(ctx, layers, catalog, words)


def run_layers(
    ctx: click.Context, layers: Sequence[Mapping[str, Any]], catalog: Catalog, words: Mapping[str, Any]
) -> None:
    """Carry out a recipe, in all its folds where none is chosen, and print the result.

    Args:
        ctx: Of the command.
        layers: Recipe layers, weakest first.
        catalog: Of plugins.
        words: Values of the command's other options by name.
    """
    from medssl.recipe import resolve
    from medssl.runs.pipeline import Place
    from medssl.study.grid import fold_layers

    recipe = resolve(catalog, layers)
    place = Place(
        data_dir=words["data_dir"],
        output=words["output"],
        device=words["device"],
        force=words["force"],
        on_bad_image=words["on_bad_image"],
    )
    as_json = words["as_json"]
    folds = fold_layers(recipe, catalog, words["data_dir"])
    if not folds:
        _print_one(_carry_out_one(ctx, recipe, catalog, place, quiet=as_json), as_json=as_json)
        return
    results = []
    for number, layer in enumerate(folds, start=1):
        if not as_json:
            click.echo(f"fold {number} of {len(folds)}", err=True)
        results.append(_carry_out_one(ctx, resolve(catalog, [*layers, layer]), catalog, place, quiet=as_json))
    _print_folds(results, catalog, as_json=as_json)


def _carry_out_one(ctx: click.Context, recipe: Recipe, catalog: Catalog, place: Place, *, quiet: bool) -> RunResult:
    """Carry out one recipe and show its progress."""
    from medssl.cli.display import choose_display
    from medssl.runs.pipeline import collect_warnings, execute

    with choose_display(recipe, quiet=quiet) as display, collect_warnings() as warnings:
        try:
            return execute(recipe, catalog=catalog, place=place, listener=display)
        except KeyboardInterrupt:
            display.close()
            directory = place.output / recipe.slug
            click.echo(
                f"Stopped. Finished epochs are saved in {directory}. Run the same command to continue.", err=True
            )
            ctx.exit(130)
        except MedsslError:
            display.close()
            for text in dict.fromkeys(warnings):  # there is no result that could list them, and they may say why
                click.echo(f"warning: {text}", err=True)
            raise


def _print_one(result: RunResult, *, as_json: bool) -> None:
    from medssl.report.tables.tables import print_result

    if as_json:
        click.echo(json.dumps(dict(result.values), indent=2))
    else:
        print_result(result, sys.stdout)


def _print_folds(results: Sequence[RunResult], catalog: Catalog, *, as_json: bool) -> None:
    """Print the metrics of the pooled predictions, and the directory of each fold."""
    from medssl.cli.study_table import print_pooled
    from medssl.study.results.summary import summarise
    from medssl.study.results.table import summary_values

    summary = summarise(results, catalog)
    if as_json:
        runs = [dict(result.values) for result in results]
        click.echo(json.dumps({"folds": runs, "summary": summary_values(summary)}, indent=2))
        return
    print_pooled(summary)
    for result in results:
        click.echo(result.path)
