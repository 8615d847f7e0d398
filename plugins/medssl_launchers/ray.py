"""ray: the tasks of a study as detached actors of a Ray cluster (Moritz et al. 2018)."""

from __future__ import annotations

import json
import subprocess  # nosec B404 # it starts only this Python, see _ask
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from secrets import token_hex
from typing import Any

from medssl.contracts import Job, Launcher, Positive, PositiveInt, TaskState
from medssl.errors import LaunchError, OptionError
from medssl_launchers._lanes import lanes_of
from medssl_launchers._logs import state_of

__all__ = ["Ray"]

_SECONDS = 120.0  # for an answer of the cluster


class Ray(Launcher):
    """Starts detached actors, which Ray starts again elsewhere if their process or their node dies."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of ``ray``.

        Attributes:
            address: Of the cluster's head: ``10.0.0.1:6379``; ``auto``: that of ``RAY_ADDRESS``, or of this machine.
            cpus: Cores of a task.
            gpus: GPUs of a task. Several tasks share one if it is a fraction: ``0.5``.
            memory_gb: Memory of a task in GB, by which Ray counts; it is no limit.
            resources: Further resources of a task, by the names that your cluster gives them: ``a100=1``.
        """

        address: str = "auto"
        cpus: PositiveInt = 1  # as Ray's own tasks
        gpus: float = 0.0
        memory_gb: Positive | None = None
        resources: tuple[str, ...] = ()

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if find_spec("ray") is None:
            raise OptionError(
                "the launcher 'ray' needs the package ray, which is not installed. Install it with `pip install "
                "medssl[ray]`, the version that your cluster has."
            )
        self._needs: dict[str, Any] = {"num_cpus": config.cpus, "num_gpus": config.gpus}
        if config.memory_gb:
            self._needs["memory"] = round(config.memory_gb * 2**30)
        for text in config.resources:
            name, _, amount = text.partition("=")
            try:
                self._needs.setdefault("resources", {})[name] = float(amount)
            except ValueError as error:
                raise OptionError(
                    f'launcher.resources has {text!r}. Give a name and an amount: --set "launcher.resources=[a100=1]".'
                ) from error

    def submit(self, job: Job) -> str:
        """Start an actor for each lane; those for which nothing is free now wait."""
        lanes = lanes_of(job.commands, job.at_once or len(job.commands))
        names = [f"{job.name}-{token_hex(4)}" for _ in lanes]
        place = {"folder": str(job.folder), "directory": str(job.directory)}
        self._ask("submit", names=names, lanes=lanes, needs=self._needs, **place)
        return json.dumps(names)

    def states(self, job: Job, handle: str) -> Sequence[TaskState]:
        """Ask which actors live, and read the files that they write."""
        names, count = json.loads(handle), len(job.commands)
        found = [state_of(job.folder, number, alive=True) for number in range(count)]
        if any(task.state in ("waiting", "running") for task in found):
            alive = self._ask("alive", names=names)
            found = [state_of(job.folder, number, alive=alive[number % len(names)]) for number in range(count)]
        return found

    def cancel(self, job: Job, handle: str) -> None:  # noqa: ARG002  (the contract)
        """End the actors, and what they have started."""
        self._ask("cancel", names=json.loads(handle))

    def _ask(self, what: str, **values: Any) -> Any:
        """Ask in a process of its own: Ray takes over signals, and ends a process whose cluster is gone."""
        words = json.dumps({"what": what, "address": self.config.address, **values})
        command = [sys.executable, "-P", "-m", "medssl_launchers._ray"]
        try:
            done = subprocess.run(  # nosec B603 # the words are ours
                command, input=words, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LaunchError(self._silent(f"It has not for {_SECONDS:.0f} seconds.")) from error
        except OSError as error:
            raise LaunchError(f"no process could be started. {error}. Close other programs and try again.") from error
        if done.returncode:
            raise LaunchError(self._silent((done.stderr.strip().splitlines() or ["It gave no reason."])[-1]))
        return json.loads(done.stdout.splitlines()[-1])

    def _silent(self, why: str) -> str:
        return (
            f"Ray does not answer at the address '{self.config.address}'. {why:.500} Tasks that run are not affected. "
            "Start a cluster with `ray start --head`, or name one with --set launcher.address=HOST:PORT."
        )
