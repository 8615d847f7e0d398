"""``medssl predict``: apply the fitted heads of a run to new images."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl.cli.options import (
    PATH,
    bad_image_option,
    catalog_option,
    data_dir_option,
    device_option,
    recipe_layers,
    settings_option,
    shown_path,
    verify_option,
)
from medssl.errors import DataError, OptionError

if TYPE_CHECKING:
    from medssl.export.predicted import NewPredictions

__all__ = ["predict"]

_SOURCES = ("data", "dataset")  # options in place of IMAGES
_PASSED = ("data_dir", "evaluator", "neighbours", "device", "precision", "on_bad_image", "allow_other")


@click.command()
@click.argument("run", type=PATH)
@click.argument("images", type=PATH, nargs=-1)
@click.option("--output", type=PATH, default="predictions.csv", show_default=True, help="A .csv file.")
@click.option(
    "--evaluator",
    metavar="NAME",
    help="Predictor of the run, as its result names it.  [default: the lowest log loss on the validation part]",
)
@click.option("--dataset", metavar="NAME", help="Dataset plugin that lists the images, in place of IMAGES.")
@click.option(
    "--data",
    type=PATH,
    help="A table (CSV, Excel, Parquet) or a folder in place of IMAGES, understood as `medssl run --data` does.",
)
@data_dir_option()
@settings_option("An option of that dataset: dataset.file=new.csv.")
@click.option(
    "--group-pattern",
    metavar="REGEX",
    help="Regular expression with one group in parentheses that finds the patient in a path.",
)
@click.option("--path-column", metavar="NAME", help="Column of paths in a table.  [default: the run's, else path]")
@click.option("--group-column", metavar="NAME", help="Column of groups in a table.  [default: the run's, else none]")
@click.option("--neighbours", type=click.IntRange(0, 20), default=3, show_default=True, help="Training images to name.")
@device_option
@click.option("--precision", metavar="NAME", help="auto, float32, bfloat16 or float16.  [default: the run's]")
@bad_image_option
@verify_option
@click.option("--allow-other", is_flag=True, help="Also predict images with other channels or another depth.")
@catalog_option
def predict(run: Path, images: tuple[Path, ...], output: Path, **words: Any) -> None:
    """Predict IMAGES (files, folders, or tables of paths as .csv or .tsv) with the fitted heads of RUN.

    The table has one row per image: the probability of each class or finding, or the predicted number; the decision at
    the operating point of the run; whether the image is unlike the training images; and the nearest of these. If
    groups (patients) are known, a second table, OUTPUT_groups.csv, has the predictions of each group, pooled from its
    images as the run chose on its validation part. A path that you give is written as you give it; of an absolute one,
    only the part below the folder. Only you can read the tables (mode 0600).

    Predictions are for research. They are not medical advice.
    """
    if output.suffix != ".csv":
        raise OptionError(f"--output {output} has an unknown suffix. Predictions are written as .csv. Use this suffix.")
    given_as = [name for name, value in (("IMAGES", images), *((f"--{n}", words[n]) for n in _SOURCES)) if value]
    if not given_as:
        raise DataError(
            "no image was given, so there is nothing to predict. Give image files, folders or tables, --data or "
            "--dataset."
        )
    if len(given_as) > 1:
        raise OptionError(f"{' and '.join(given_as)} were both given. Leave one of them out.")
    group_of = _group_of(words["group_pattern"])
    from medssl.io.files import require_writable

    require_writable(output)
    from medssl.cli.display import reading_images
    from medssl.export.embedding import relative_names
    from medssl.export.model import load_model
    from medssl.export.tables import read_paths
    from medssl.results.privacy import read_desk, restored

    model = load_model(run)
    options = restored(model.run.recipe["dataset"], read_desk(run / "desk.json"))
    given: Any = _dataset(words, options)
    groups: Any = group_of
    if images:
        given, known = read_paths(images, options, words["path_column"], words["group_column"])
        groups = group_of or known
    passed = {name: words[name] for name in _PASSED}
    if words["data"]:
        given, passed["data_dir"] = _understood(words["data"], words["catalog_file"])
    with reading_images("the predictions are computed") as progress:
        found = model.predict(given, groups=groups, catalog=words["catalog_file"], progress=progress, **passed)
    if images:
        names = dict(zip(map(str, given), relative_names(images, given), strict=True))
        found = replace(found, images=tuple(names[path] for path in found.images))
    _say(found)
    for file in found.to_csv(output):
        click.echo(shown_path(file))


def _understood(path: Path, catalog_file: Path | None) -> tuple[dict[str, Any], Path]:
    """Return the plugin that understands a path with its options, and its folder."""
    from medssl.catalog import load_catalog
    from medssl.data.understanding import understand

    name, found = understand(path, load_catalog(catalog_file), {})
    return {"plugin": name, **found.options}, found.folder


def _dataset(words: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the plugin that was named with its options; those of the run's own dataset are kept."""
    from medssl.contracts.kinds import DATASET
    from medssl.recipe.layers import stack

    if not words["dataset"]:
        return None
    user = stack(recipe_layers({"settings": words["settings"], DATASET.section: words["dataset"]}))
    if others := [name for name in user if name != DATASET.section]:
        raise OptionError(f"--set {others[0]} has no effect on predictions. Only dataset.NAME=VALUE is used.")
    named: dict[str, Any] = user[DATASET.section]
    return {**options, **named} if options["plugin"] == named["plugin"] else named


def _group_of(pattern: str | None) -> Callable[[str], str | None] | None:
    if pattern is None:
        return None
    try:
        known = re.compile(pattern)
        if known.groups != 1:
            raise re.error("it must have exactly one group in parentheses")
    except re.error as error:
        raise OptionError(f"--group-pattern {pattern} is not usable: {error}. For instance: '(P\\d+)_'.") from error

    def group_of(path: str) -> str | None:
        found = known.search(path)
        return found[1] if found else None

    return group_of


def _say(found: NewPredictions) -> None:
    for text in found.left_out:
        click.echo(f"left out, cannot be read: {text}", err=True)
    click.echo(f"{len(found)} images, predicted by {found.evaluator}", err=True)
    click.echo(f"decision: {found.decision.words}", err=True)
    if found.group_decision != found.decision and any(group is not None for group in found.groups):
        click.echo(f"decision for a group: {found.group_decision.words}", err=True)
    flagged = int(found.unlike.sum())
    click.echo(
        f"unlike the training images: {flagged} of {len(found)} (distance of {found.threshold:.4f} or more, which 1 in "
        "20 training images has). Do not trust predictions for such images.",
        err=True,
    )
