"""``medssl encoder convert``: run the program that reads some weights once, and write a safe file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from medssl.catalog import load_catalog
from medssl.cli.options import PATH, catalog_option, settings_option
from medssl.contracts.kinds import ENCODER
from medssl.errors import OptionError
from medssl.recipe.naming import require_known

__all__ = ["encoder"]


@click.group()
def encoder() -> None:
    """Prepare weights of encoders."""


@encoder.command()
@click.argument("name")
@click.option(
    "--output",
    type=PATH,
    required=True,
    metavar="FILE",
    help="The file to write; its name ends with .safetensors.",
)
@settings_option("An option of the encoder.")
@click.option("--yes", is_flag=True, help="Do not ask before code is run.")
@catalog_option
def convert(name: str, output: Path, settings: Sequence[str], yes: bool, catalog_file: Path | None) -> None:
    """Convert the weights of the encoder NAME to a safetensors file.

    Some weights are published as Python pickles, or need a program that comes with them. Reading them can run any code
    on this computer. This command says what it is about to run and asks; no other command runs such code. Use the
    result with --init: medssl run --encoder NAME --init FILE
    """
    catalog = load_catalog(catalog_file)
    require_known(ENCODER, name, catalog)
    if output.suffix != ".safetensors":
        raise OptionError(f"--output {output} must end with .safetensors. That is the format it is written in.")
    from medssl.recipe import choose

    options = dict(_option(text) for text in settings)
    choice = choose(ENCODER.name, name, options, catalog)
    source = choice.plugin(choice.config, choice.facts)
    if told := source.runs():
        click.echo(f"This {told}. Do it only if you trust the authors.", err=True)
        if not yes and not click.confirm("Run it?", err=True):
            raise OptionError("nothing was converted. You did not agree. Give --yes to agree in a script.")
    output.parent.mkdir(parents=True, exist_ok=True)
    click.echo(source.convert(output))


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"--set {text} is not an option. It must have the form KEY=VALUE. For instance: file=x.bin.")
    return key.strip().removeprefix(f"{ENCODER.section}."), value.strip()
