"""Memory that stays with the process while a run lasts."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from medssl.train.machine import memory
from medssl.train.machine.memory import kept_memory

MEGABYTES = 96  # of a block: above the 32 MB from which glibc returns memory at once

glibc = pytest.mark.skipif(memory._glibc() is None, reason="the allocator is glibc's")


def use_a_block() -> None:
    np.ones(MEGABYTES * 2**20, dtype=np.uint8)


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@glibc
def test_a_freed_block_is_used_again_without_asking_the_system() -> None:
    with kept_memory():
        use_a_block()
        before = page_faults()
        for _ in range(5):
            use_a_block()
        assert page_faults() - before < 100  # each of the five would cost up to 24,576 pages of 4 kB


@glibc
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_last_context_to_end_gives_the_memory_back() -> None:
    with kept_memory():
        with kept_memory():
            use_a_block()
        held = resident_megabytes()
    assert held - resident_megabytes() > MEGABYTES / 2


@glibc
def test_memory_is_given_back_after_an_error() -> None:
    def work() -> None:
        with kept_memory():
            use_a_block()
            held.append(resident_megabytes())
            raise RuntimeError("stop")

    held: list[float] = []
    with pytest.raises(RuntimeError, match="stop"):
        work()
    assert held[0] - resident_megabytes() > MEGABYTES / 2


def test_another_c_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_glibc(_: object) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without_glibc)
    with kept_memory():
        assert memory._holders.count == 0
