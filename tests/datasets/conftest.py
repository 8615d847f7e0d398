"""Tiny images under the names that the published datasets use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[[Path, Iterable[str]], Path]


@pytest.fixture
def write() -> Write:
    """Write one 4 x 3 px RGB image per name below a folder; no two have the same pixels."""

    def write_images(root: Path, names: Iterable[str]) -> Path:
        for number, name in enumerate(names):
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((4, 3, 3), number % 256, np.uint8)
            pixels[0, 0] = (number // 256, 1, 2)
            Image.fromarray(pixels).save(file)
        return root

    return write_images


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that was logged as a warning so far."""
    caplog.set_level(logging.INFO, logger="medssl")
    return lambda: "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
