"""``medssl share``: copy finished runs without images and names."""

from __future__ import annotations

from pathlib import Path

import click

from medssl.cli.options import PATH, catalog_option, shown_path

__all__ = ["share"]


@click.command(epilog="The page `What leaves the house` of the documentation lists what is copied and what is not.")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--output", type=PATH, default="shared", show_default=True, help="Folder for the copies.")
@catalog_option
def share(runs: tuple[Path, ...], output: Path, catalog_file: Path | None) -> None:
    """Copy finished RUNS into folders that you can pass on, and list what is left out.

    A copy has the result, the page without images, the recipe, the history and the encoder. Private names stand in the
    place of images, groups, files and folders; `medssl reveal` looks them up on your computer. RUNS are run folders, or
    directories that contain them.
    """
    from medssl.catalog import load_catalog
    from medssl.report.missing import find_runs
    from medssl.report.sharing import share_run

    catalog = load_catalog(catalog_file)
    results, _ = find_runs(runs)
    for result in results:
        shared = share_run(result, output, catalog)
        click.echo(f"{shown_path(shared.folder)}: {', '.join(shared.files)}")
        for name, why in shared.left_out.items():
            click.echo(f"  left out: {name}: {why}")
        if shared.others:
            click.echo(f"  left out: {shared.others} other {'file' if shared.others == 1 else 'files'}: not of medssl")
