"""``medssl show views``: draw random views of a dataset, as a method would get them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from medssl.catalog import load_catalog
from medssl.cli.options import PATH, catalog_option, data_dir_option, find_plugins, recipe_layers, settings_option
from medssl.contracts.kinds import METHOD
from medssl.errors import DataError

__all__ = ["show_views"]


@click.command(name="views")
@click.option("--dataset", metavar="NAME", required=True, help="Dataset plugin.")
@click.option(
    "--method", metavar="NAME", help="Show the views that this method uses.  [default: six independent views]"
)
@click.option("--augmentation", metavar="NAME", help="Augmentation recipe to use instead of the dataset's.")
@data_dir_option()
@click.option("--recipe", metavar="NAME|FILE", help="A recipe from the catalogue, or a YAML file.  [default: medssl]")
@click.option("--image-size", metavar="PX", help="Side length of a view in pixels.")
@click.option("--seed", metavar="N", help="Seed that selects the samples and the views.")
@settings_option("Any setting, for instance views.rotation=10.")
@catalog_option
@click.option("--output", type=PATH, help="PNG file to write.  [default: views-DATASET.png]")
def show_views(output: Path | None, **words: Any) -> None:
    """Draw samples of a dataset and random views of them.

    The picture shows each sample as it is evaluated, and then its random views.
    """
    catalog = load_catalog(words["catalog_file"])
    find_plugins(words, catalog)
    layers = recipe_layers(words)
    from medssl.preview.view_sheet import view_sheet
    from medssl.recipe import resolve, resolve_data

    trained = resolve(catalog, layers) if any(METHOD.section in layer for layer in layers) else None
    recipe = trained.data if trained else resolve_data(catalog, layers)
    sheet = view_sheet(recipe, catalog, words["data_dir"], trained=trained)
    path = output or Path(f"views-{recipe.dataset.name.replace(':', '_')}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG")
    except OSError as error:
        raise DataError(
            f"cannot write the picture to {path}: {error.strerror or error}. Give another file with --output."
        ) from error
    click.echo(path)
