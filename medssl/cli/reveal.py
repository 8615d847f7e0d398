"""``medssl reveal``: look up what a private name stands for."""

from __future__ import annotations

import click

from medssl.errors import OptionError

__all__ = ["reveal"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def reveal(names: tuple[str, ...]) -> None:
    """Look up what private names such as patient-3f9a2c71e0b4 stand for.

    The names of images, groups and files in a result were made with your own key. The key and the table of names are in
    your configuration folder (environment variable MEDSSL_CONFIG), so other users cannot look them up. The output
    identifies patients: do not pass it on.
    """
    from medssl.io.identities import configuration_folder, revealed
    from medssl.io.plain_text import printable

    found = {name: revealed(name) for name in names}
    for name, known in found.items():
        if known is not None:
            click.echo(f"{name}: {printable(known[1])}")
    if unknown := [name for name, known in found.items() if known is None]:
        raise OptionError(
            f"{', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not known in "
            f"{configuration_folder() or 'the temporary key of this process'}. Only the user who made the result knows "
            "its private names. Call the command as that user, or set MEDSSL_CONFIG to that user's folder."
        )
