"""``medssl bench``: run a grid of cells and print one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl.catalog import Catalog, load_catalog
from medssl.cli.card import with_data
from medssl.cli.launching import cancel, choose_launcher
from medssl.cli.options import (
    data_option,
    output_option,
    place_of,
    plugin_option,
    recipe_layers,
    recipe_options,
    shown_path,
)
from medssl.cli.output import print_json
from medssl.cli.stopping import status_of, words_of
from medssl.contracts.kinds import DATASET, ENCODER, LAUNCHER, RUN_KINDS, Kind
from medssl.errors import OptionError, PluginError
from medssl.io.plain_text import printable
from medssl.io.reading import read_json
from medssl.recipe.naming import require_known
from medssl.study.plan import PLUGIN_LISTS, Plan, read_plan

if TYPE_CHECKING:
    from medssl.runs.pipeline import Place
    from medssl.study.grid import Cell
    from medssl.study.schedule.running import Study

__all__ = ["bench"]

_VARIED = (*(kind.section for kind in RUN_KINDS), "batch_size", "seed")  # options of `run` that differ here
_NUMBERS = ("--label-fraction", "--batch-size")


class _SpreadNumbers(click.Command):
    """Accepts several numbers after one option: ``--batch-size 16 32 64``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_spread(args)))


def _spread(args: Sequence[str]) -> Iterator[str]:
    flag = None
    given = False  # whether the flag has its first value
    for arg in args:
        if flag and given and arg.replace(".", "", 1).isdigit():
            yield flag
        given = flag is not None or given
        if arg.startswith("-"):
            flag, given = (arg if arg in _NUMBERS else None), False
        elif not arg.replace(".", "", 1).isdigit():
            flag = None
        yield arg


def _shared_options() -> list[click.Parameter]:
    """Return the options of `run`, without those that vary in a study."""
    carrier = click.command()(recipe_options(lambda **_: None))
    return [option for option in carrier.params if option.name not in _VARIED]


def _plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each kind of plugin that a plan lists."""
    for kind in reversed(RUN_KINDS):
        command = plugin_option(kind, many=True)(command)
    return command


@click.command(
    cls=_SpreadNumbers,
    params=_shared_options(),
    epilog="Run the same command again to continue a study: finished cells are skipped, failed cells are retried.",
)
@click.argument("plan", required=False)
@data_option
@_plan_options
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="NAME",
    help="Method that runs once, not at every batch size; or an encoder, which is evaluated frozen.",
)
@click.option(
    "--batch-size", "batch_sizes", multiple=True, type=int, metavar="N...", help="One or several batch sizes."
)
@click.option("--seeds", type=int, metavar="N", help="Number of seeds: 0 to N - 1.  [default: the plan's, else 1]")
@click.option(
    "--label-fraction",
    "label_fractions",
    multiple=True,
    type=float,
    metavar="X...",
    help="One or several fractions of the labels to use, for instance 0.1 1.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Number of cells to run at the same time.  [default: 1; with a launcher, what it chooses]",
)
@click.option(
    "--launcher",
    metavar="NAME",
    help="Where the cells run; `medssl list launchers` shows the names. Options: --set launcher.NAME=VALUE.  [default: "
    "in processes of this command]",
)
@click.option("--cancel", is_flag=True, help="End the tasks that launchers have started for this study.")
@click.option(
    "--on-encoders",
    "on_encoders",
    multiple=True,
    metavar="NAME",
    help="Method that runs on each encoder; the other methods then run on the recipe's own encoder alone.",
)
@click.option(
    "--skip-missing",
    is_flag=True,
    help="Leave out encoders and methods whose weights are not here and cannot be downloaded, instead of failing.",
)
@click.option("--dry-run", is_flag=True, help="List the cells and estimate the time, without running them.")
@output_option
@click.option("--force", is_flag=True, help="Start every cell over, even if it is finished.")
@click.option("--json", "as_json", is_flag=True, help="Print only the summary, as JSON.")
@click.pass_context
def bench(ctx: click.Context, /, plan: str | None, output: Path, **words: Any) -> None:
    """Run a study: every method on every dataset at every batch size with every seed.

    PLAN is a YAML file or a plan of the catalogue (quick, paper, against-foundation). Options replace what the plan
    says. Encoders are evaluated frozen, unless methods are named; then every method starts from every encoder.
    """
    catalog = load_catalog(words["catalog_file"])
    words, found = _understand_data(words, catalog)
    chosen = _choose_plan(plan, words, catalog).merged(**{DATASET.plural: found})
    layers = recipe_layers({word: value for word, value in words.items() if word not in PLUGIN_LISTS})
    layers, launcher = choose_launcher(layers, words, catalog)
    if words["cancel"]:
        cancel(output, catalog)
        return
    from medssl.study.missing import list_cells

    chosen, cells, missing = list_cells(chosen, layers, catalog, words["data_dir"])
    for name, reason in missing.items():
        click.echo(f"left out: {name}: {reason}", err=True)
    chosen, cells = _fitted(chosen, cells, layers, catalog, words)
    if words["dry_run"]:
        _print_cells(cells, catalog, output, words)
        return
    place = place_of({**words, "output": output})
    study = _carry_out(ctx, chosen, layers, cells, catalog, place, {**words, LAUNCHER.name: launcher})
    _print_study(study, output, as_json=words["as_json"])
    if study.results:
        _write_report(study, output, catalog, quiet=words["as_json"])
    if study.failed:
        ctx.exit(1)


def _understand_data(words: Mapping[str, Any], catalog: Catalog) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Replace ``--data PATH``: return the other options, and the dataset with its options as an entry of the plan."""
    named = words[DATASET.plural]
    if words["data"] is not None and len(named) > 1:
        raise OptionError("--data is one dataset, but --dataset names several. Name one that reads it, or none.")
    words = with_data({**words, DATASET.section: named[0] if named else None}, catalog)
    name, options = words.pop(DATASET.section), words.pop("dataset_options", None)
    return words, [] if options is None else [{"plugin": name, **options}]


def _fitted(
    plan: Plan, cells: list[Cell], layers: Sequence[Mapping[str, Any]], catalog: Catalog, words: Mapping[str, Any]
) -> tuple[Plan, list[Cell]]:
    """Take a smaller batch if no size was chosen and the training part is smaller than the default."""
    from medssl.study.fitting import fitting_batch, too_large
    from medssl.study.missing import list_cells

    given = [plan.settings, *layers]
    if (
        plan.batch_sizes
        or plan.recipe
        or any("batch_size" in layer.get("train", {}) or "recipe" in layer for layer in given)
    ):
        return plan, cells
    sizes = too_large(cells, catalog, words["data_dir"])
    if not sizes:
        return plan, cells
    images = min(sizes.values())
    size = fitting_batch(images)
    click.echo(f"the batch size is {size}, because a training part has only {images} images (--batch-size)", err=True)
    return list_cells(plan.merged(batch_sizes=(size,)), layers, catalog, words["data_dir"])[:2]


def _choose_plan(word: str | None, words: Mapping[str, Any], catalog: Catalog) -> Plan:
    """Read the plan and apply the options to it. A mistyped name fails here, before torch is imported."""
    plan = read_plan(word, catalog) if word else Plan()
    keys = (*PLUGIN_LISTS, "batch_sizes", "label_fractions", "seeds")
    chosen = plan.merged(**{key: words[key] for key in keys}, skip_missing=words["skip_missing"] or None)
    for key, kind in PLUGIN_LISTS.items():
        for value in chosen.named()[key]:
            name = value if isinstance(value, str) else value["plugin"]
            _require_known(key, kind, name, catalog)
    return chosen


def _require_known(key: str, kind: Kind, name: str, catalog: Catalog) -> None:
    """Raise an error if a name is unknown; among the baselines, an encoder may be named too."""
    try:
        require_known(kind, name, catalog)
    except PluginError:
        if key == "baselines":
            with suppress(PluginError):
                return require_known(ENCODER, name, catalog)
        raise


def _carry_out(
    ctx: click.Context,
    plan: Plan,
    layers: Sequence[Mapping[str, Any]],
    cells: Sequence[Cell],
    catalog: Catalog,
    place: Place,
    words: Mapping[str, Any],
) -> Study:
    from medssl.cli.study_display import choose_study_display
    from medssl.study.schedule.running import carry_out

    with choose_study_display(quiet=words["as_json"]) as display:
        try:
            return carry_out(
                plan,
                cells,
                catalog,
                layers=layers,
                place=place,
                jobs=words["jobs"],
                launcher=words[LAUNCHER.name],
                catalog_file=words["catalog_file"],
                listener=display,
            )
        except KeyboardInterrupt as stop:
            display.close()
            saved = (
                "The tasks go on. Run the same command to follow them, or with --cancel to end them."
                if words[LAUNCHER.name]
                else f"Finished cells, and finished epochs of the others, are saved in {place.output}. Run the same "
                "command to continue."
            )
            click.echo(f"{words_of(stop)}. {saved}", err=True)
            ctx.exit(status_of(stop))


def _print_cells(cells: Sequence[Cell], catalog: Catalog, output: Path, words: Mapping[str, Any]) -> None:
    from medssl.io.durations import duration
    from medssl.results.directory import RunDirectory
    from medssl.study.fitting import too_large
    from medssl.study.schedule.timing import learn_folder

    finished = {cell.recipe.slug for cell in cells if RunDirectory(output / cell.recipe.slug).result.exists()}
    for cell in cells:
        click.echo(f"{'done' if cell.recipe.slug in finished else 'todo'}  {cell.name}  ({cell.recipe.slug})")
    todo = [cell for cell in cells if cell.recipe.slug not in finished]
    trained = {cell.recipe.pretraining_hash for cell in cells if cell.recipe.slug in finished}
    left = learn_folder(output, catalog).left(todo, {}, trained, words["jobs"] or 1)
    time = (
        f"about {duration(left)}"
        if left is not None
        else f"the time is unknown until a first run in {output} is finished"
    )
    for slug, images in too_large(todo, catalog, words["data_dir"]).items():
        name, size = next((cell.name, cell.recipe.train.batch_size) for cell in todo if cell.recipe.slug == slug)
        click.echo(f"{name} will fail: a batch of {size} is larger than the training part of {images} images")
    click.echo(
        f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}, {len(todo)} to do: {time if todo else 'nothing'}"
    )


def _write_report(study: Study, output: Path, catalog: Catalog, *, quiet: bool) -> None:
    from medssl.report.missing import Missing
    from medssl.report.study import write_report

    missing = [
        Missing(name=outcome.cell.recipe.slug, dataset=outcome.cell.recipe.dataset.name, failure=outcome.message)
        for outcome in study.failed
    ]
    page = write_report(study.results, output / "report", catalog=catalog, missing=missing)[0]
    if not quiet:
        click.echo(shown_path(page))


def _print_study(study: Study, output: Path, *, as_json: bool) -> None:
    from medssl.cli.study_table import print_summary
    from medssl.results.privacy import hidden_paths
    from medssl.study.results.table import summary_values

    if as_json:
        state = hidden_paths(read_json(output / "study.json"), (), {})
        for cell in state["cells"]:
            cell.pop("message", None)  # it may name files
        print_json({**state, "summary": summary_values(study.summary)})
        return
    print_summary(study.summary)
    for outcome in study.failed:
        click.echo(f"failed: {outcome.cell.name} ({outcome.cell.recipe.slug}): study.json says why")
        click.echo(printable(f"{outcome.cell.recipe.slug}: {outcome.message}"), err=True)
    click.echo(shown_path(output / "study.json"))
