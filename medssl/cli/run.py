"""``medssl run``: carry out one recipe, write its directory and print its table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from medssl.catalog import Catalog, load_catalog
from medssl.cli.card import with_data
from medssl.cli.options import (
    data_option,
    find_plugins,
    keep_heads_option,
    output_option,
    place_of,
    recipe_layers,
    recipe_options,
    shown_path,
)
from medssl.cli.output import print_json, standard_output
from medssl.cli.stopping import status_of, words_of
from medssl.errors import MedsslError, OptionError
from medssl.io.plain_text import printable
from medssl.world.membership import membership
from medssl.world.processes import start
from medssl.world.world import World, joined

if TYPE_CHECKING:
    from medssl.recipe import Recipe
    from medssl.results.directory import RunResult
    from medssl.runs.pipeline import Place

__all__ = ["run", "run_layers"]


@click.command(
    epilog="Run the same command again to continue an interrupted run, or to show the result of a finished one."
)
@data_option
@recipe_options
@output_option
@keep_heads_option
@click.option("--force", is_flag=True, help="Start over even if the run folder is not empty.")
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="K",
    help="Train on K GPUs of this machine, or in K processes on its processor. The batch is divided among them; the "
    "numbers are those of one device within rounding.",
)
@click.option("--json", "as_json", is_flag=True, help="Print only result.json to standard output.")
@click.pass_context
def run(ctx: click.Context, /, **words: Any) -> None:
    """Pre-train an encoder on a dataset, evaluate it frozen, and write everything into a run folder."""
    catalog = load_catalog(words["catalog_file"])
    devices, typed = words["devices"], ctx.meta["medssl.words"]
    words = with_data(words, catalog)
    layers = recipe_layers(words)
    find_plugins(words, catalog)
    if _start_ranks(devices):
        ctx.exit(start(typed, devices, standard_output()))
    run_layers(ctx, layers, catalog, words)


def _start_ranks(devices: int | None) -> bool:
    """Whether this process has to start the ranks; it is none of them."""
    place = membership()
    if devices is not None and place is not None and place.size != devices:
        raise OptionError(
            f"--devices {devices} and {place.size} processes contradict each other. torchrun, srun or --devices starts "
            "the processes. Leave out --devices here."
        )
    return place is None and (devices or 1) > 1


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

    recipe = resolve(catalog, layers)
    place = place_of(words)
    with joined(words["device"]) as world:
        _carry_out(ctx, recipe, layers, catalog, place, world, as_json=words["as_json"])


def _carry_out(
    ctx: click.Context,
    recipe: Recipe,
    layers: Sequence[Mapping[str, Any]],
    catalog: Catalog,
    place: Place,
    world: World,
    *,
    as_json: bool,
) -> None:
    """Carry out a recipe, or its folds, and print the result; ranks other than 0 take part and print nothing."""
    from medssl.recipe import resolve
    from medssl.runs.pipeline import follow
    from medssl.study.grid import fold_layers

    folds = fold_layers(recipe, catalog, place.data_dir)
    recipes = [resolve(catalog, [*layers, layer]) for layer in folds] or [recipe]
    results = []
    for number, each in enumerate(recipes, start=1):
        if not world.first:
            follow(each, catalog=catalog, place=place, world=world)
            continue
        if folds and not as_json:
            click.echo(f"fold {number} of {len(folds)}", err=True)
        results.append(_carry_out_one(ctx, each, catalog, place, world, quiet=as_json))
    if world.first and folds:
        _print_folds(results, catalog, as_json=as_json)
    elif world.first:
        _print_one(results[0], as_json=as_json)


def _carry_out_one(
    ctx: click.Context, recipe: Recipe, catalog: Catalog, place: Place, world: World, *, quiet: bool
) -> RunResult:
    """Carry out one recipe and show its progress."""
    from medssl.cli.display import choose_display
    from medssl.runs.pipeline import collect_warnings, execute

    with choose_display(recipe, quiet=quiet) as display, collect_warnings() as warnings:
        try:
            return execute(recipe, catalog=catalog, place=place, listener=display, world=world)
        except KeyboardInterrupt as stop:
            display.close()
            directory = place.output / recipe.slug
            saved = f"Finished epochs are saved in {directory}. Run the same command to continue."
            click.echo(f"{words_of(stop)}. {saved}", err=True)
            ctx.exit(status_of(stop))
        except MedsslError:
            display.close()
            for text in dict.fromkeys(warnings):  # there is no result that could list them, and they may say why
                click.echo(printable(f"warning: {text}"), err=True)
            raise


def _print_one(result: RunResult, *, as_json: bool) -> None:
    from medssl.report.tables.tables import print_result

    if as_json:
        print_json(dict(result.values))
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
        print_json({"folds": runs, "summary": summary_values(summary)})
        return
    print_pooled(summary)
    for result in results:
        click.echo(shown_path(result.path))
