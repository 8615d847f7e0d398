"""The contract of a launcher: it starts the tasks of a study elsewhere, and says how far they are.

A task is a command that takes the next free cell of the study, runs it, and goes on until none is left. What it has
done lies in the study's folder, which every task must see. So a task may be stopped, killed and started again at any
time, on any machine, and several launchers may work on one study.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Job", "Launcher", "TaskState"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Tasks that are started together.

    Attributes:
        name: A short name without spaces, for lists of jobs.
        study: The study's folder.
        folder: A folder in it for this job alone, for logs and what the launcher keeps. It exists.
        cells: Names of the run directories, in the study's folder, of the cells that still have to run.
        commands: The words of each task's command. There are at most as many as cells.
        directory: The current folder of the commands.
        at_once: Most tasks to run at the same time; ``None``: as the launcher likes.
    """

    name: str
    study: Path
    folder: Path
    cells: Sequence[str]
    commands: Sequence[Sequence[str]]
    directory: Path
    at_once: int | None = None


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """How far a task is.

    Attributes:
        state: ``waiting``: it will start, or start again; ``running``; ``done``; ``failed``: it has ended before its
            work was done, or was cancelled.
        message: Why it waits or failed, with the last lines of its log; may be empty.
    """

    state: Literal["waiting", "running", "done", "failed"]
    message: str = ""


class Launcher(ABC):
    """Starts the tasks of a job and finds them again.

    All that a launcher has to know later is the job and the text that :meth:`submit` returns. Both are kept in the
    study's folder, and another process asks for the states.

    Attributes:
        Config: A frozen, keyword-only dataclass of this launcher's options, every one with a default.

    Args:
        config: The options. The constructor checks that everything it needs is installed, and connects to nothing.

    Raises:
        OptionError: Something is not installed; the message says how to install it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def submit(self, job: Job) -> str:
        """Start the tasks, or have them started later, and return at once.

        Returns:
            A text by which the other functions find the tasks.

        Raises:
            LaunchError: The tasks were refused; none of them will start.
        """

    @abstractmethod
    def states(self, job: Job, handle: str) -> Sequence[TaskState]:
        """Return the state of each task, in the order of the commands.

        Raises:
            LaunchError: It is not known now; it will be asked again.
        """

    @abstractmethod
    def cancel(self, job: Job, handle: str) -> None:
        """End the tasks that have not ended; there may be none.

        Raises:
            LaunchError: They could not be reached.
        """
