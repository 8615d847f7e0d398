"""The ranks that train one encoder, as a run sees them.

Rank 0 carries out the whole run. The others wait for its word, join it in training, and write nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from medssl.errors import MedsslError, OptionError, TrainingError
from medssl.world.membership import PARENT, TIMEOUT, Membership, membership, seconds_of_silence
from medssl.world.watch import Watch

__all__ = ["ALONE", "World", "joined"]

_T = TypeVar("_T")
_POLL = 0.05  # seconds between two looks for a word of rank 0
_PATIENCE = 5.0  # seconds for the cause of another rank's end to arrive
_LONGEST = 500  # characters of a cause


@dataclass(eq=False)
class World:
    """The ranks, and the place of this process among them.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        device: Device of this process, as ``--device`` names it; ``None``: the user's choice.
        backend: ``nccl`` or ``gloo``; ``None``: there is one process.
    """

    rank: int = 0
    size: int = 1
    device: str | None = None
    backend: str | None = None
    _store: Any = field(default=None, repr=False)
    _watch: Any = field(default=None, repr=False)
    _words: int = field(default=0, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone writes."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there is more than one process."""
        return self.size > 1

    def tell(self, word: Any) -> None:
        """Tell the others a word, or other values that JSON has; rank 0 only."""
        if self.several:
            self._store.set(self._next(), json.dumps(word))

    def hear(self) -> Any:
        """Wait for the next word of rank 0, however long it works.

        Raises:
            LostError: A rank has ended, or gives no sign.
        """
        key = self._next()
        _wait(self._store, self._watch, [key])
        return json.loads(self._store.get(key))

    def from_first(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns on rank 0, where alone it is called; it must be values that JSON has."""
        if not self.first:
            heard: _T = self.hear()
            return heard
        value = work()
        self.tell(value)
        return value

    def _next(self) -> str:
        self._words += 1
        return f"word/{self._words}"


ALONE = World()
"""One process, which trains alone."""


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[World]:
    """Meet the other ranks, if variables of torchrun or Slurm say that there are any.

    If a rank fails, the others end with its cause. After :func:`medssl.world.membership.seconds_of_silence` without a
    sign, a rank counts as lost.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; each rank takes one GPU of its machine.

    Raises:
        OptionError: There are fewer devices than ranks, the port is in use, or the variables are wrong.
        TrainingError: A rank has not come in time, or has ended.
    """
    place = membership()
    if place is None:
        yield ALONE
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else torch writes ten lines about each broken connection
    limit = seconds_of_silence()
    store = _meet(place, limit)
    parent = os.environ.get(PARENT)
    watch = Watch(store.clone(), place.rank, place.size, limit, int(parent) if parent else None)
    watch.start()
    try:
        with _explained(watch, place):
            name, backend = _device(device, place)
            _together("ready", store, watch, place)
            with _connected(backend, name, store, place, limit), _explained(watch, place):
                yield World(place.rank, place.size, name, backend, store, watch)
                _together("done", store, watch, place)
                watch.stop()
                _part(store, place, limit)
    finally:
        watch.stop()


def _device(device: str, place: Membership) -> tuple[str, str]:
    """Return the device of this rank, and how ranks exchange tensors."""
    import torch  # noqa: PLC0415  (a process that trains alone must not wait for it here)

    kind, _, number = device.partition(":")
    if number or kind == "mps":
        raise OptionError(
            f"--device {device} names one device, but {place.size} ranks need one each. "
            "Give --device cuda or cpu; CUDA_VISIBLE_DEVICES chooses among the GPUs."
        )
    if kind == "cpu" or not torch.cuda.is_available():
        return ("cpu" if kind == "auto" else device), "gloo"
    if place.local >= (count := torch.cuda.device_count()):
        raise OptionError(
            f"rank {place.rank} has no GPU of its own. This machine has {count}, and this is its process number "
            f"{place.local + 1}. Start at most {count} on it, or give --device cpu."
        )
    return f"cuda:{place.local}", "nccl"


def _meet(place: Membership, limit: float) -> Any:
    """Connect to the store that rank 0 or torchrun serves, and wait until every rank has."""
    import torch.distributed as dist  # noqa: PLC0415

    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # by torchrun
    wait = timedelta(seconds=limit)
    try:
        server = dist.TCPStore(  # type: ignore[attr-defined]
            place.address, place.port, is_master=place.rank == 0 and not served, timeout=wait, wait_for_workers=False
        )
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"medssl/{attempt}", server)  # type: ignore[attr-defined]
        store.set(f"here/{place.rank}", "")
        store.wait([f"here/{rank}" for rank in range(place.size)], wait)
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        if "EADDRINUSE" in said or "in use" in said:
            raise OptionError(
                f"port {place.port} is in use. Another program of this machine has it, perhaps another training. "
                "Set MASTER_PORT (torchrun: --master-port) to another number, the same for every rank."
            ) from error
        raise TrainingError(
            f"{place.size} ranks did not meet at {place.address}, port {place.port}, within {limit:g} s ({said:.200}). "
            f"Look whether every rank has started and reaches that machine. {TIMEOUT} sets the seconds."
        ) from error
    return store


@contextlib.contextmanager
def _connected(backend: str, device: str, store: Any, place: Membership, limit: float) -> Iterator[None]:
    import torch  # noqa: PLC0415
    import torch.distributed as dist  # noqa: PLC0415

    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend,
        store=dist.PrefixStore("tensors", store),  # type: ignore[attr-defined]
        rank=place.rank,
        world_size=place.size,
        timeout=timedelta(seconds=limit),
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _wait(store: Any, watch: Watch, keys: Sequence[str]) -> None:
    """Wait until the store has all keys, while every rank gives signs of life."""
    from medssl.world.collectives import LostError  # noqa: PLC0415  (it imports torch)

    try:
        while not store.check(list(keys)):
            if watch.cause(_POLL) is not None:
                raise LostError("another rank has ended")
    except RuntimeError as error:
        raise LostError("the process that connects the ranks has ended") from error


def _together(point: str, store: Any, watch: Watch, place: Membership) -> None:
    """Wait until every rank has reached this point."""
    store.set(f"{point}/{place.rank}", "")
    _wait(store, watch, [f"{point}/{rank}" for rank in range(place.size)])


def _part(store: Any, place: Membership, limit: float) -> None:
    """Rank 0 may serve the store, so it goes last."""
    with contextlib.suppress(RuntimeError):
        if place.rank:
            store.set(f"left/{place.rank}", "")
        else:
            store.wait([f"left/{rank}" for rank in range(1, place.size)], timedelta(seconds=limit))


@contextlib.contextmanager
def _explained(watch: Watch, place: Membership) -> Iterator[None]:
    """Tell the others why this rank fails, or say why another one has failed; before connections are closed."""
    try:
        yield
    except BaseException as error:
        if cause := _cause(error, watch, place):
            raise cause from error
        raise


def _cause(error: BaseException, watch: Watch, place: Membership) -> TrainingError | None:
    """Return the error with the cause of another rank's end; ``None`` if this rank failed, which the others learn."""
    from medssl.world.collectives import LostError  # noqa: PLC0415

    if not isinstance(error, LostError):
        name = "" if isinstance(error, MedsslError) else f"{type(error).__name__}: "
        stopped = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
        watch.report("it was stopped" if stopped else f"{name}{' '.join(str(error).split()):.{_LONGEST}}")
        return None
    cause = watch.cause(_PATIENCE)
    if cause is None:
        cause = f"another of the {place.size} ranks has ended or does not answer ({error})"
    return TrainingError(
        f"{cause.rstrip('.')}. Training needs every rank, so rank {place.rank} ends too. Finished epochs are saved. "
        "Run the same command to continue, also with another number of devices."
    )
