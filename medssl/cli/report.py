"""``medssl report``: finished runs, one page."""

from __future__ import annotations

from pathlib import Path

import click

from medssl.cli.options import catalog_option

__all__ = ["report"]


@click.command(epilog="The page opens from a file, without a network. Tables and figures lie beside it.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default="report", show_default=True, help="Where to write.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where the images lie now.  [default: where they lay]"
)
@catalog_option
def report(runs: tuple[Path, ...], output: Path, data_dir: Path | None, catalog_file: Path | None) -> None:
    """Put finished runs together: the answer in words, tables with intervals, figures and images.

    RUNS are run directories, or folders of them such as the --output of `medssl bench`.
    """
    from medssl.catalog import load_catalog
    from medssl.report.study import find_runs, write_report

    catalog = load_catalog(catalog_file)
    results, unfinished = find_runs(runs)
    for text in unfinished:
        click.echo(f"left out, not finished: {text}", err=True)
    written = write_report(results, output, catalog=catalog, data_dir=data_dir, unfinished=unfinished)
    for path in written:
        if path.parent == output:
            click.echo(path)
    click.echo(f"{output / 'figures'}: {sum(path.suffix == '.svg' for path in written)} figures")
