"""slurm: the tasks of a study as an array job of Slurm (Yoo et al. 2003), submitted with submitit."""

from __future__ import annotations

import shutil
import subprocess  # nosec B404 # it asks squeue and scancel
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from medssl.contracts import Job, Launcher, Positive, PositiveInt, TaskState
from medssl.errors import LaunchError, OptionError
from medssl_launchers._logs import last_lines
from medssl_launchers._task import Task

__all__ = ["Slurm"]

_SECONDS = 60.0  # for an answer of Slurm
_REQUEUES = 10_000  # of one task at its time limit; submitit gives up after three
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "CONFIGURING")
_RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")


class Slurm(Launcher):
    """Submits an array job. Before its time limit a task saves its state and is queued again."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of ``slurm``; what is left out is the cluster's default.

        Attributes:
            partition: Partition; several with commas.
            account: Account.
            qos: Quality of service.
            constraint: Features that the node must have.
            minutes: Time limit of a task. It is queued again before it, as often as necessary.
            cpus: Cores of a task.
            gpus: GPUs of a task.
            memory_gb: Memory of a task in GB.
            warning: Seconds before the time limit in which a task ends and is queued again.
            setup: Lines of shell that run before a task: ``module load cuda``.
            sbatch: Further options of sbatch: ``nice=100``.
        """

        partition: str | None = None
        account: str | None = None
        qos: str | None = None
        constraint: str | None = None
        minutes: PositiveInt = 240  # ours: short enough for most partitions and gaps
        cpus: PositiveInt = 4  # ours
        gpus: int = 0
        memory_gb: Positive | None = None
        warning: PositiveInt = 120  # ours; a worker ends within a few seconds
        setup: tuple[str, ...] = ()
        sbatch: tuple[str, ...] = ()

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        try:
            self._submitit = import_module("submitit")
        except ImportError as error:
            raise OptionError(
                f"the launcher 'slurm' needs the package submitit. {error}. Install it with `pip install "
                "medssl[slurm]`."
            ) from error
        if missing := [program for program in ("sbatch", "srun", "squeue", "scancel") if not shutil.which(program)]:
            raise OptionError(
                f"the launcher 'slurm' needs the commands of Slurm, but {missing[0]} is not on this machine. Run the "
                "command on a login node of the cluster, or leave --launcher out."
            )

    def submit(self, job: Job) -> str:
        """Submit the array job."""
        executor = self._submitit.SlurmExecutor(folder=job.folder / "slurm", max_num_timeout=_REQUEUES)
        try:
            executor.update_parameters(**self._parameters(job))
            submitted = executor.map_array(Task(str(job.directory)), [list(words) for words in job.commands])
        except (RuntimeError, ValueError, OSError, subprocess.CalledProcessError) as error:
            words = " ".join(str(getattr(error, "stderr", "") or error).split())
            raise LaunchError(
                f"Slurm refused the job. {words[-500:]}. Change the options (--set launcher.NAME=VALUE); `medssl show "
                "launcher slurm` lists them."
            ) from error
        return str(submitted[0].job_id).partition("_")[0]

    def _parameters(self, job: Job) -> dict[str, Any]:
        config = self.config
        given = {
            "partition": config.partition,
            "account": config.account,
            "qos": config.qos,
            "constraint": config.constraint,
            "gpus_per_node": config.gpus or None,
            "mem": f"{round(config.memory_gb * 1024)}M" if config.memory_gb else None,
            "setup": list(config.setup) or None,
        }
        further = {key: value or True for key, _, value in (text.partition("=") for text in config.sbatch)}
        return {
            "job_name": job.name,
            "time": config.minutes,
            "cpus_per_task": config.cpus,
            "signal_delay_s": config.warning,
            "array_parallelism": job.at_once or len(job.commands),
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True, **further},
            **{name: value for name, value in given.items() if value is not None},
        }

    def states(self, job: Job, handle: str) -> Sequence[TaskState]:
        """Ask squeue, which also knows the tasks that have ended in the last minutes; then the logs.

        Another cluster may work in the same folder, and its job may have the number of another job here.
        """
        answer = _ask("squeue", "--noheader", "--array", "--states=all", f"--jobs={handle}", "--format=%i|%T|%j|%r")
        rows = [line.strip().split("|", 3) for line in answer.splitlines() if line.count("|") >= 3]
        known = {number: (state, reason) for number, state, name, reason in rows if name == job.name}
        names = [f"{handle}_{i}" for i in range(len(job.commands))] if len(job.commands) > 1 else [handle]
        return [_state(job, name, known) for name in names]

    def cancel(self, job: Job, handle: str) -> None:
        """Cancel what is left of the array job."""
        _ask("scancel", f"--name={job.name}", handle)


def _state(job: Job, name: str, known: Mapping[str, tuple[str, str]]) -> TaskState:
    state, reason = known.get(name, ("", ""))
    if state in _WAITING:
        return TaskState(state="waiting", message=reason)
    if state in _RUNNING:
        return TaskState(state="running")
    words = last_lines(job.folder / "slurm" / f"{name}_0_log.out")
    if state == "COMPLETED" or (not state and "Exiting after successful completion" in words):
        return TaskState(state="done")
    return TaskState(state="failed", message=f"{state or 'Slurm does not know the job any more'}\n{words}")


def _ask(program: str, *words: str) -> str:
    try:
        done = subprocess.run(  # nosec B603 # the words are ours
            [program, *words], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{program} does not answer. {error}. The jobs are not affected.") from error
    if done.returncode and "Invalid job id" not in done.stderr:
        raise LaunchError(f"{program} does not answer. {' '.join(done.stderr.split())}. The jobs are not affected.")
    return done.stdout
