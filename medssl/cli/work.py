"""``medssl work``: run the free cells of a job. Launchers start it."""

from __future__ import annotations

from pathlib import Path

import click

from medssl.cli.options import PATH
from medssl.cli.stopping import status_of, words_of

__all__ = ["work"]


@click.command()
@click.argument("job", type=PATH)
@click.option("--task", type=click.IntRange(0), default=0, show_default=True, help="Number of the task.")
@click.pass_context
def work(ctx: click.Context, /, job: Path, task: int) -> None:
    """Run the free cells of a job, one after the other, until none is left.

    JOB is a folder that `medssl bench --launcher NAME` has made: STUDY/jobs/NAME. Launchers run this command.
    You can run it too, on any machine that sees the folder, to help.
    """
    from medssl.study.launch.job import read_job

    if read_job(job).is_settled():  # more tasks are started than run at once
        click.echo("no free cell is left: all are done or have failed", err=True)
        return
    from medssl.cli.study_display import PlainStudy
    from medssl.study.launch.task import run_free_cells

    with PlainStudy() as display:
        try:
            outcomes = run_free_cells(job, task, display)
        except KeyboardInterrupt as stop:
            click.echo(f"{words_of(stop)}. Finished epochs are saved. The cell can be continued anywhere.", err=True)
            ctx.exit(status_of(stop))
    states = [outcome.state for outcome in outcomes]
    words = ", ".join(f"{states.count(state)} {state}" for state in ("done", "failed", "pending") if state in states)
    click.echo(f"no free cell is left: {words}", err=True)
