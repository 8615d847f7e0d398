"""``medssl tune``: search settings on the validation part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl.catalog import load_catalog
from medssl.cli.options import find_plugins, output_option, place_of, recipe_layers, recipe_options, shown_path
from medssl.cli.output import print_json
from medssl.cli.run import run_layers
from medssl.contracts.kinds import METHOD
from medssl.errors import OptionError
from medssl.io.reading import read_json
from medssl.io.waiting import said_each_minute

if TYPE_CHECKING:
    from medssl.study.search.tuning import Tried

__all__ = ["tune"]

_TRIALS = 20
#: Searched when no --vary is given, with the method's own ranges. Ours: a factor of ten around the usual 0.1.
_LEARNING_RATE = ("train.learning_rate", "0.01..1:log")


@click.command(epilog="Run the same command again to continue a search, or with more --trials to extend it.")
@recipe_options
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=RANGE",
    help="A setting and its range: method.temperature=0.05..1:log, train.epochs=50..200, train.batch_size=32,64,128. "
    "May be repeated.  [default: the learning rate and the method's own ranges]",
)
@click.option(
    "--plan",
    metavar="NAME|FILE",
    help="A search of the catalogue (paper-probe), or a YAML file with `vary`. Options replace what it says.",
)
@click.option("--trials", type=click.IntRange(1), help="Number of settings to try.  [default: the plan's, else 20]")
@click.option(
    "--objective",
    metavar="EVALUATOR.METRIC",
    help="What to improve, measured on the validation part.  [default: the AUROC of the quickest evaluator]",
)
@click.option("--final", is_flag=True, help="Then run the best settings once, and open the test part for it.")
@output_option
@click.option("--force", is_flag=True, help="Start the runs over even if their folders are not empty.")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON to standard output.")
@click.pass_context
def tune(
    ctx: click.Context,
    /,
    vary: tuple[str, ...],
    plan: str | None,
    trials: int | None,
    objective: str | None,
    final: bool,
    **words: Any,
) -> None:
    """Search settings on the validation part; the test part stays closed.

    Each trial is a run with other settings, and none of them encodes a test image. Trials that are worse than half of
    the earlier ones are stopped early. --final then carries out one run with the best settings on the test part. Its
    result says how many settings were compared.
    """
    layers: list[Mapping[str, Any]] = [*recipe_layers(words)]
    catalog = load_catalog(words["catalog_file"])
    find_plugins(words, catalog)
    from medssl.recipe import resolve
    from medssl.study.search.plan import SearchPlan, read_search_plan
    from medssl.study.search.ranges import read_vary
    from medssl.study.search.tuning import Search, final_layers, run_search, search_folder

    planned = read_search_plan(plan, catalog) if plan else SearchPlan(vary={})
    below = {"recipe": planned.recipe} if planned.recipe else {}
    layers = [below, planned.settings, *layers]
    recipe = resolve(catalog, layers)
    own = {f"{METHOD.section}.{key}": text for key, text in recipe.method.plugin.ranges.items()}
    texts = dict(map(_split, vary)) or planned.vary or dict([_LEARNING_RATE]) | own
    quickest = next((each.name for each in recipe.evaluators if each.plugin.online), recipe.evaluators[0].name)
    objective = objective or planned.objective or f"{quickest}.auroc"
    evaluator, _, metric = objective.rpartition(".")
    search = Search(
        layers=layers,
        vary=read_vary(texts),
        evaluator=evaluator,
        metric=metric,
        trials=trials or planned.trials or _TRIALS,
        seed=recipe.seed,
    )
    place = place_of(words)

    def report(number: int, tried: Tried) -> None:
        if not words["as_json"]:
            best = "none" if tried.value is None else f"{tried.value:.4f}"
            click.echo(f"trial {number}: best {objective} {best}, {tried.stopped} stopped early", err=True)

    with said_each_minute(lambda: "the trials are trained and evaluated"):
        tried = run_search(search, catalog, place, report=report)
    folder = search_folder(search, catalog, place.output)
    if final:
        run_layers(ctx, final_layers(search, tried), catalog, {**words, "output": folder / "final"})
        return
    _print(tried, objective, folder, as_json=words["as_json"])


def _split(text: str) -> tuple[str, str]:
    key, equals, values = text.partition("=")
    if not equals or "." not in key:
        raise OptionError(f"--vary {text} is no setting with a range. Write it as train.learning_rate=0.01..1:log.")
    return key.strip(), values.strip()


def _print(tried: Tried, objective: str, folder: Path, *, as_json: bool) -> None:
    from medssl.results.privacy import hidden_paths

    if as_json:
        values = hidden_paths(read_json(folder / "search.json"), (), {})
        for trial in values["trials"]:
            trial.pop("failure")  # it may name files
        print_json(values)
        return
    click.echo(
        f"{tried.compared} settings compared on the validation part ({tried.stopped} stopped early, {tried.failed} "
        "failed)"
    )
    if tried.value is not None:
        click.echo(f"best {objective}: {tried.value:.4f}; as the best of several, it is optimistic")
    for key, value in tried.settings.items():
        click.echo(f"  --set {key}={hidden_paths(value, (), {})}")
    click.echo(shown_path(folder))
