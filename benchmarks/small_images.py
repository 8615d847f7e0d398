"""Small image sets for ``benchmarks.same_numbers``, drawn with a seed: a folder, a table and a MedMNIST file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["draw_all"]

Array = np.ndarray[Any, np.dtype[Any]]

SEED = 20230


def draw_all(folder: Path) -> None:
    """Draw every set below ``folder``."""
    draw_tiles(folder / "tiles")
    draw_chests(folder / "chests")
    draw_medmnist(folder / "medmnist")


def draw_tiles(folder: Path) -> None:
    """Draw stained tissue: two classes of six patients with four images each, with the patient in the file name.

    Sizes differ, and every fourth file is a JPEG large enough to be decoded at a fraction of its size.
    """
    rng = np.random.default_rng([SEED, 1])
    for label, name in enumerate(("benign", "malignant")):
        (folder / name).mkdir(parents=True)
        for patient in range(6):
            stain = np.array([0.45, 0.75, 0.35]) * rng.uniform(0.8, 1.2, 3)  # optical densities of purple
            for number in range(4):
                size = (144, 160) if number == 3 else (40, 36 + number)
                density = _texture(rng, size, 3 + 3 * label)[..., None] * stain
                pixels = (255 * np.exp(-density)).round().astype(np.uint8)
                suffix = "jpg" if number == 3 else "png"
                Image.fromarray(pixels).save(folder / name / f"P{label}{patient}_{number}.{suffix}")


def draw_chests(folder: Path) -> None:
    """Draw grey images of three numbered classes, listed in a table with patient, site and official part.

    Every second image has 16 bits; six have no label.
    """
    rng = np.random.default_rng([SEED, 2])
    folder.mkdir(parents=True)
    rows = [("path", "label", "patient", "site", "part")]
    for number in range(66):
        patient, label = number // 3, number // 3 % 3
        grey = _texture(rng, (44, 40), 2 + 2 * label) / 2
        sixteen = number % 2 == 1
        pixels = (grey * 65535).astype(np.uint16) if sixteen else (grey * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        part = "train" if patient < 14 else "val" if patient < 17 else "test"
        unlabelled = number % 9 == 0 and part == "train"
        rows.append(
            (f"{number:03d}.png", "" if unlabelled else str(label), f"p{patient:02d}", "abc"[patient // 3 % 3], part)
        )
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def draw_medmnist(folder: Path) -> None:
    """Draw a file with the layout of ChestMNIST: official parts, and fourteen findings for each image."""
    rng = np.random.default_rng([SEED, 3])
    folder.mkdir(parents=True)
    arrays: dict[str, Array] = {}
    for part, count in (("train", 48), ("val", 16), ("test", 20)):
        findings = rng.integers(0, 2, (count, 14), dtype=np.uint8)
        grey = np.stack([_texture(rng, (28, 28), 2 + 3 * row[5]) for row in findings]) / 2
        arrays[f"{part}_images"] = (grey * 255).astype(np.uint8)
        arrays[f"{part}_labels"] = findings
    np.savez_compressed(folder / "chestmnist.npz", allow_pickle=False, **arrays)


def _texture(rng: np.random.Generator, size: tuple[int, int], waves: float) -> Array:
    """Return one pattern (H, W) with values from 0 to 2: waves in a random direction, with noise."""
    y, x = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    wave = np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    found: Array = np.clip(1 + 0.6 * wave + rng.normal(0, 0.25, size), 0, 2)
    return found
