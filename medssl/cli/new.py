"""``medssl new``: create a new plugin package, or add a plugin to one."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from medssl.cli.options import PATH
from medssl.contracts.kinds import KINDS

__all__ = ["new"]


@click.command()
@click.argument("kind", type=click.Choice([each.name for each in KINDS]))
@click.argument("name")
@click.option(
    "--into",
    type=PATH,
    metavar="PACKAGE",
    help="Add the plugin to this package, which `medssl new` made before, instead of creating a package.",
)
def new(kind: str, name: str, into: Path | None) -> None:
    """Create a plugin package in a new folder: the plugin, its entry point, its tests and a README.

    The package can be installed and run as it is, and it passes `medssl check` and its own tests. NAME is the name that
    users will type. It consists of lower-case letters, digits and underscores.

    With --into, the plugin, its test and its entry point are added to an existing package.
    """
    from medssl.scaffold.addition import add_plugin
    from medssl.scaffold.package import write_package

    if into is None:
        written = [write_package(kind, name, Path.cwd()).relative_to(Path.cwd())]
    else:
        written = add_plugin(kind, name, into)
    package = (into or written[0]).as_posix()
    folder = package if package == "." or package.startswith(("/", "../")) else f"./{package}"
    click.echo(f"next: pip install -e {shlex.quote(folder)} && medssl check {name}", err=True)
    for path in written:
        click.echo(path)
