"""``medssl report``: write a report of finished runs."""

from __future__ import annotations

from pathlib import Path

import click

from medssl.cli.options import PATH, catalog_option, shown_path

__all__ = ["report"]


@click.command(epilog="The page needs no network. The same folder contains its tables and figures as files.")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--output", type=PATH, default="report", show_default=True, help="Directory for the report.")
@click.option("--images/--no-images", default=True, help="Include images; leave them out of a page that you share.")
@catalog_option
def report(runs: tuple[Path, ...], output: Path, images: bool, catalog_file: Path | None) -> None:
    """Write a report of finished runs: the answer in words, tables with confidence intervals, figures and images.

    RUNS are run folders, or directories that contain them, such as the --output of `medssl bench`.
    """
    from medssl.catalog import load_catalog
    from medssl.report.missing import find_runs
    from medssl.report.study import write_report

    catalog = load_catalog(catalog_file)
    results, missing = find_runs(runs)
    for run in missing:
        click.echo(f"left out, not finished: {run}", err=True)
    written = write_report(results, output, catalog=catalog, missing=missing, images=images)
    for path in written:
        if path.parent == output:
            click.echo(shown_path(path))
    click.echo(f"{shown_path(output / 'figures')}: {sum(path.suffix == '.svg' for path in written)} figures")
