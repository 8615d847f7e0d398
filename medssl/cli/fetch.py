"""``medssl fetch``: download a dataset, or say where to place its files."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from medssl.cli.options import catalog_option, data_dir_option, recipe_layers, settings_option
from medssl.contracts.kinds import DATASET

__all__ = ["fetch"]


@click.command()
@click.argument("name", metavar="DATASET")
@data_dir_option("Where to put it.  [default: MEDSSL_DATA, else the current folder]")
@settings_option("An option of the dataset, for instance dataset.name=pathmnist.")
@catalog_option
def fetch(name: str, data_dir: Path | None, settings: tuple[str, ...], catalog_file: Path | None) -> None:
    """Download DATASET into its own folder, and verify its checksums."""
    from medssl.catalog import load_catalog
    from medssl.runs.pipeline import fetch_dataset

    catalog = load_catalog(catalog_file)
    layers = recipe_layers({DATASET.section: name, "settings": settings})
    options = {k: v for layer in layers for k, v in layer.get(DATASET.section, {}).items() if k != "plugin"}
    licence = catalog.entry(DATASET.name, name).get("licence")
    if licence:
        click.echo(f"licence: {licence}", err=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # shows the progress of the download
    folder = fetch_dataset(name, options, catalog, data_dir)
    click.echo(folder)
