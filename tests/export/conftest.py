"""A small finished run, with images of its own and others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medssl
from medssl.results.directory import RunResult


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Two classes of grey images, four of each of six patients."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for name, level in (("bright", 150), ("dark", 90)):
        (folder / name).mkdir()
        for patient in range(6):
            for i in range(4):
                pixels = np.clip(generator.normal(level, 40, (26, 26)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{name[0]}{patient}_{i}.png")
    return folder


@pytest.fixture(scope="session")
def finished(images, tmp_path_factory) -> RunResult:
    """A run with every evaluator that predicts, and one that does not."""
    tune = {"plugin": "finetune", "epochs": 1, "min_steps": 2, "learning_rates": [1e-3], "batch_size": 8}
    return medssl.run(
        "random",
        {"plugin": "folder", "group_pattern": r"([bd]\d)_"},
        place=medssl.Place(data_dir=images, output=tmp_path_factory.mktemp("runs")),
        encoder={"backbone": "test_resnet", "stem": "standard"},
        views={"image_size": 24},
        split={"protocol": "grouped", "fractions": [0.5, 0.2, 0.3]},
        evaluate={"bootstrap": 20, "baseline": False},
        evaluators=[
            "knn",
            "linear",
            {"plugin": "mlp", "epochs": 2},
            "calibration",
            tune,
            "retrieval",
            "mlp_train_mode",
        ],
    )
