"""The command line: it parses the arguments, runs the command and sets the exit code.

Heavy modules are imported only when a command needs them, so ``medssl --help`` and ``medssl list`` are fast.
"""

from __future__ import annotations

import errno
import re
from importlib import import_module
from typing import Any

import click

from medssl.cli.output import reserved
from medssl.cli.stopping import SAVED, leave, status_of, stoppable, words_of
from medssl.errors import MedsslError, did_you_mean
from medssl.io.plain_text import printable

__all__ = ["COMMANDS", "main"]

# command -> (module and function, its line in `medssl --help`)
COMMANDS = {
    "run": ("medssl.cli.run:run", "Pre-train on a dataset, evaluate the encoder, and write the result."),
    "tune": ("medssl.cli.tune:tune", "Search settings on the validation part."),
    "evaluate": ("medssl.cli.evaluate:evaluate", "Evaluate a trained encoder on a dataset."),
    "predict": ("medssl.cli.predict:predict", "Predict new images with the fitted heads of a run."),
    "export": ("medssl.cli.export:export", "Write a run as ONNX, for the hub, as a model card or a checklist."),
    "embed": ("medssl.cli.embed:embed", "Compute features of images with a trained encoder."),
    "bench": (
        "medssl.cli.bench:bench",
        "Run a study: methods, datasets, batch sizes and seeds, compared in one table.",
    ),
    "work": ("medssl.cli.work:work", "Run the free cells of a study's job; launchers run this command."),
    "encoder": ("medssl.cli.encoder:encoder", "Convert weights that only a program can read to a safe file."),
    "audit": (
        "medssl.cli.audit:audit",
        "Look for duplicates, contradicting labels and leaks in a dataset and its split.",
    ),
    "report": ("medssl.cli.report:report", "Write a report of finished runs: one page with tables and figures."),
    "share": ("medssl.cli.share:share", "Copy finished runs without images and names, to pass them on."),
    "reveal": ("medssl.cli.reveal:reveal", "Look up what a private name of an image, a group or a file stands for."),
    "list": ("medssl.cli.catalogue:list_plugins", "List the installed plugins and the augmentation recipes."),
    "show": (
        "medssl.cli.catalogue:show",
        "Show a plugin and its options, a recipe, the result of a run, or views of a dataset.",
    ),
    "fetch": ("medssl.cli.fetch:fetch", "Download a dataset, or say where to place its files."),
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

    def __call__(self, *args: Any, **words: Any) -> Any:
        """Run the command line in a process of its own, and end the process."""
        try:
            return self.main(*args, **words)
        except SystemExit as end:
            leave(end.code if isinstance(end.code, int) else 1)
            raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["medssl.words"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with reserved(ctx.meta["medssl.words"]), stoppable():
            try:
                return super().invoke(ctx)
            except MedsslError as error:
                from medssl.discovery.blame import sentence_about

                if ctx.params.get("traceback"):
                    raise
                said = printable(str(sentence_about(error) or error))
                raise click.ClickException(f"{said}{self._lacking(ctx, said)}") from error
            except KeyboardInterrupt as stop:
                saved = SAVED.get(str(ctx.invoked_subcommand), "Run the same command again.")
                click.echo(f"{words_of(stop)}. {saved}", err=True)
                ctx.exit(status_of(stop))
            except BaseException as error:  # a plugin may call sys.exit()
                from medssl.discovery.blame import sentence_about

                cause = None if ctx.params.get("traceback") else sentence_about(error) or _no_space(error)
                if cause is None:
                    raise  # a fault of medssl
                raise click.ClickException(printable(str(cause))) from error

    def _lacking(self, ctx: click.Context, said: str) -> str:
        """Say that an option which an error advises belongs to ``medssl run``, if this command lacks it."""
        name = str(ctx.invoked_subcommand)
        own, of_run = (_options(self.get_command(ctx, each)) for each in (name, "run"))
        lacking = (set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", said)) & of_run) - own
        if not lacking or "medssl run" in said:
            return ""
        return f" (`medssl {name}` has no {' and no '.join(sorted(lacking))}; `medssl run` has it.)"


def _options(command: click.Command | None) -> set[str]:
    """Return the options of a command and of those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {option for each in (command.params if command else ()) for option in each.opts}
    return own.union(*map(_options, below))


def _no_space(error: BaseException) -> str | None:
    """Say that a disk is full; ``None``: the error is another one."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = "" if error.filename is None else f" for {error.filename}"
    return f"{error.strerror}{where}. Free some space, then run the same command again. What was saved before is used."


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`python -m medssl` does the same where the command `medssl` is not on the path.",
)
@click.option("--traceback", is_flag=True, help="Show the Python traceback of an error.")
@click.version_option(package_name="medssl", prog_name="medssl")
def main(traceback: bool) -> None:
    """Self-supervised learning on small medical image datasets.

    Begin with `medssl list`, which shows what is installed, and then `medssl run --method NAME --dataset NAME`.
    """
