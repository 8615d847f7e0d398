"""The command line: it parses the arguments, runs the command and sets the exit code.

Heavy modules are imported only when a command needs them, so ``medssl --help`` and ``medssl list`` are fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from medssl.errors import MedsslError, did_you_mean

__all__ = ["COMMANDS", "main"]

# command -> (module and function, its line in `medssl --help`)
COMMANDS = {
    "run": ("medssl.cli.run:run", "Pre-train on a dataset, evaluate the encoder, and write the result."),
    "evaluate": ("medssl.cli.evaluate:evaluate", "Evaluate a trained encoder on a dataset."),
    "embed": ("medssl.cli.embed:embed", "Compute features of images with a trained encoder."),
    "bench": (
        "medssl.cli.bench:bench",
        "Run a study: methods, datasets, batch sizes and seeds, compared in one table.",
    ),
    "audit": (
        "medssl.cli.audit:audit",
        "Look for duplicates, contradicting labels and leaks in a dataset and its split.",
    ),
    "report": ("medssl.cli.report:report", "Write a report of finished runs: one page with tables and figures."),
    "list": ("medssl.cli.catalogue:list_plugins", "List the installed plugins and the augmentation recipes."),
    "show": (
        "medssl.cli.catalogue:show",
        "Show a plugin and its options, a recipe, the result of a run, or views of a dataset.",
    ),
    "fetch": ("medssl.cli.data:fetch", "Download a dataset, or say where to place its files."),
    "check": ("medssl.cli.check:check", "Check that a plugin fulfils its contract."),
    "new": ("medssl.cli.new:new", "Create a new plugin package."),
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is called, and prints medssl's errors without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            raise click.UsageError(
                f"there is no command '{args[0]}'.{did_you_mean(args[0], COMMANDS)} Commands: {', '.join(COMMANDS)}."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MedsslError as error:
            if ctx.params.get("traceback"):
                raise
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`python -m medssl` does the same where the command `medssl` is not on the path.",
)
@click.option("--traceback", is_flag=True, help="Show the Python traceback of an error.")
@click.version_option(package_name="medssl", prog_name="medssl")
def main(traceback: bool) -> None:
    """Self-supervised learning on small medical image datasets.

    medssl run --method dcl --dataset phantom
    """
