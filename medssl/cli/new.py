"""``medssl new``: create a new plugin package."""

from __future__ import annotations

from pathlib import Path

import click

from medssl.contracts.kinds import KINDS

__all__ = ["new"]


@click.command()
@click.argument("kind", type=click.Choice([each.name for each in KINDS]))
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Create a plugin package in a new folder: the plugin, its entry point, its tests and a README.

    The package can be installed and run as it is, and it passes `medssl check` and its own tests. NAME is the name that
    users will type. It consists of lower-case letters, digits and underscores.
    """
    from medssl.scaffold.package import write_package

    folder = write_package(kind, name, Path.cwd())
    click.echo(f"next: pip install -e ./{folder.name} && medssl check {name}", err=True)
    click.echo(folder.name)
