"""Starts the program ``ranks.py`` as K ranks, or alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

PROGRAM = Path(__file__).with_name("ranks.py")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def variables(rank: int, size: int, port: int) -> dict[str, str]:
    names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in names.items()} if size > 1 else {}


def launch(job: str, folder: Path, size: int = 2, **environment: str) -> list[subprocess.Popen[str]]:
    """Start the ranks; what they say is read from their standard error."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), job, str(folder)],
            env={**os.environ, **variables(rank, size, port), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def found_by(job: str, folder: Path, size: int) -> list[Mapping[str, Any]]:
    """Do a job and return what each rank found."""
    running = launch(job, folder, size)
    said = [process.communicate(timeout=3000)[1] for process in running]
    assert [process.returncode for process in running] == [0] * size, "\n".join(said)
    return [torch.load(folder / f"{job}-{size}-{rank}.pt") for rank in range(size)]


@pytest.fixture
def start() -> Callable[..., list[subprocess.Popen[str]]]:
    return launch


@pytest.fixture
def do() -> Callable[..., list[Mapping[str, Any]]]:
    return found_by


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], list[Mapping[str, Any]]]:
    """Do a job once for each number of ranks."""
    folder, known = tmp_path_factory.mktemp("world"), {}

    def find(job: str, size: int) -> list[Mapping[str, Any]]:
        if (job, size) not in known:
            known[job, size] = found_by(job, folder, size)
        return known[job, size]

    return find
