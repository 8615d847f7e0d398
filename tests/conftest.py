"""Fixtures that several test packages share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Before torch is imported, here and in the processes that tests start: on two cores that other processes share, two
# threads wait for each other more than they work, and one thread gives the same numbers everywhere.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Folder of one real dataset below MEDSSL_DATA, or a skip that says what is missing."""

    def find(name: str) -> Path:
        root = os.environ.get("MEDSSL_DATA")
        if not root:
            pytest.skip("MEDSSL_DATA is not set: no real images to test with")
        folder = Path(root) / name
        if not folder.is_dir():
            pytest.skip(f"MEDSSL_DATA has no folder {name}")
        return folder

    return find
