"""``medssl new``: a package to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from medssl.contracts.kinds import KINDS

__all__ = ["new"]


@click.command()
@click.argument("kind", type=click.Choice([each.name for each in KINDS]))
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write a plugin package into a new folder here: the plugin, its entry point, its tests, a README.

    It installs, passes `medssl check` and its own tests, and runs as it is. NAME is what users will type, in
    lower-case letters, digits and underscores.
    """
    from medssl.scaffold.package import write_package

    folder = write_package(kind, name, Path.cwd())
    click.echo(f"next: pip install -e ./{folder.name} && medssl check {name}", err=True)
    click.echo(folder.name)
