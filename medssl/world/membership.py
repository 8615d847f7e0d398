"""Which rank this process is: from the variables that torchrun sets, or from those of a task of Slurm.

K ranks train one encoder together. Ranks have numbers from 0, and rank 0 is the only one that writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from medssl.errors import OptionError

__all__ = ["PARENT", "TIMEOUT", "Membership", "cores", "membership", "seconds_of_silence"]

#: Variable with the seconds after which a rank that gives no sign counts as lost.
TIMEOUT = "MEDSSL_TIMEOUT"
#: Variable with the number of the process that started the ranks; they end if it ends.
PARENT = "MEDSSL_PARENT"
_SECONDS = 300.0  # imports from a slow network file system take minutes; our choice
_SLURM_PORTS = 20_000, 10_000  # first and number: below the ports that systems hand out themselves
_NODE = re.compile(r"([^,\[]+)(?:\[([^\],-]+))?")  # the first name of node[07-09,12],login


@dataclass(frozen=True)
class Membership:
    """The place of a process among the ranks.

    Attributes:
        rank: Number of this process, from 0.
        size: K.
        local: Number among the processes on this machine, which is also the number of its GPU.
        address: Machine of rank 0.
        port: Port on which rank 0 is reached.
    """

    rank: int
    size: int
    local: int
    address: str
    port: int

    def variables(self) -> dict[str, str]:
        """Return the variables from which torch.distributed starts."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        return dict(zip(names, map(str, (self.rank, self.size, self.local, self.address, self.port)), strict=True))


def membership(variables: Mapping[str, str] | None = None) -> Membership | None:
    """Return the place of this process; ``None`` if it trains alone.

    Variables of torchrun come first. A batch script of Slurm itself is no rank: only what ``srun`` starts is.

    Args:
        variables: Environment variables; ``None``: those of this process.

    Raises:
        OptionError: A variable is missing or is no number.
    """
    known = os.environ if variables is None else variables
    if "RANK" in known and "WORLD_SIZE" in known:
        found = _of_torchrun(known)
    elif _number(known, "SLURM_STEP_NUM_TASKS", 1) > 1 and "SLURM_PROCID" in known:
        found = _of_slurm(known)
    else:
        return None
    if not 0 <= found.rank < found.size:
        raise OptionError(
            f"there is no rank {found.rank} among {found.size}. RANK and WORLD_SIZE contradict each other. "
            "Start with torchrun, srun or --devices, which set them."
        )
    return found if found.size > 1 else None


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds_of_silence(variables: Mapping[str, str] | None = None) -> float:
    """Return the seconds after which a silent rank counts as lost.

    Raises:
        OptionError: The variable is no number above 0.
    """
    known = os.environ if variables is None else variables
    text = known.get(TIMEOUT, str(_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise OptionError(f"{TIMEOUT} is '{text}'. It must be a number of seconds above 0. Correct it or unset it.")
    return seconds


def _of_torchrun(known: Mapping[str, str]) -> Membership:
    rank = _number(known, "RANK")
    local = _number(known, "LOCAL_RANK", rank)
    address = known.get("MASTER_ADDR", "127.0.0.1")
    return Membership(rank, _number(known, "WORLD_SIZE"), local, address, _number(known, "MASTER_PORT", 29_500))


def _of_slurm(known: Mapping[str, str]) -> Membership:
    first, count = _SLURM_PORTS
    job, step = _number(known, "SLURM_JOB_ID", 0), _number(known, "SLURM_STEP_ID", 0)
    node = _NODE.match(known.get("SLURM_STEP_NODELIST") or known.get("SLURM_JOB_NODELIST", ""))
    address = known.get("MASTER_ADDR") or (f"{node[1]}{node[2] or ''}" if node else "127.0.0.1")
    port = _number(known, "MASTER_PORT", first + (31 * job + step) % count)
    size = _number(known, "SLURM_STEP_NUM_TASKS")
    return Membership(_number(known, "SLURM_PROCID"), size, _number(known, "SLURM_LOCALID", 0), address, port)


def _number(known: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = known.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise OptionError(
            f"the variable {name} is '{text}'. It must be a whole number, because it says which rank this process is. "
            "Start with torchrun, srun or --devices, which set it."
        )
    return int(text)
