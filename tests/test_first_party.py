"""Every first-party plugin passes the kit that third parties are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medssl import discovery
from medssl.catalog import load_catalog
from medssl.conformance import check_plugin, checks_for
from medssl.conformance.running import Subject, name_of, results_of
from medssl.contracts.kinds import KINDS
from medssl.discovery import violations
from medssl.recipe import options

OURS = {
    kind.name: [plugin for plugin in discovery.discover(kind.name) if plugin.distribution == "medssl"] for kind in KINDS
}
LEARNS = "learns beyond the untrained encoder"  # seconds for each method: left to the slow tests
SMALL: dict[str, dict[str, Any]] = {"finetune": {"min_steps": 150}}  # options that make a plugin quick
# plugin -> a module that is not installed with medssl
NEEDS = {
    "umap": "umap",
    "dicom": "pydicom",
    "nifti": "nibabel",
    "tiff": "tifffile",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "wandb": "wandb",
}
WEIGHTS = {"tabicl": "tests/evaluators/test_tabicl.py"}  # plugin -> a test that makes the weights it needs
SLOW = {"attention", "finetune", "mlp", "mlp_train_mode", "mlflow", "wandb"}


def problems(plugin: discovery.Plugin, wanted: Callable[[str], bool]) -> list[str]:
    """Run the checks with a wanted name; return what they found."""
    if plugin.name in WEIGHTS:
        pytest.skip(f"it needs weights; see {WEIGHTS[plugin.name]}")
    if plugin.name in NEEDS:
        pytest.importorskip(NEEDS[plugin.name])
    loaded = discovery.load(plugin)
    if broken := violations(plugin.kind, loaded):
        return broken
    subject = Subject(loaded, options.build(loaded.Config, SMALL.get(plugin.name, {}), plugin.name))
    checks = [check for check in checks_for(plugin.kind, loaded) if wanted(name_of(check))]
    return [f"{result.name}: {result.problem}" for result in results_of(checks, subject) if result.problem is not None]


def each(*kinds: str) -> list[Any]:
    return [
        pytest.param(plugin, id=f"{kind}-{plugin.name}", marks=[pytest.mark.slow] * (plugin.name in SLOW))
        for kind in kinds
        for plugin in OURS[kind]
    ]


@pytest.mark.parametrize("plugin", each("method", "dataset", "encoder", "evaluator", "tracker", "launcher"))
def test_it_keeps_the_contract(plugin: discovery.Plugin) -> None:
    assert problems(plugin, lambda name: name != LEARNS) == []


@pytest.mark.slow
@pytest.mark.parametrize("plugin", each("method"))
def test_it_learns_the_toy_task(plugin: discovery.Plugin) -> None:
    assert problems(plugin, lambda name: name == LEARNS) == []


# --------------------------------------------------------------------------------------------------- datasets, on files


def write(root: Path, names: Iterable[str]) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 5, 3), number, np.uint8)).save(path)


def breast(root: Path) -> None:
    cases = {"benign": "SOB_B_A-14-2254{}AB-400-00{}", "malignant": "SOB_M_DC-14-1391{}-400-00{}"}
    write(root, (f"train/{k}/{v.format(case, i)}.png" for k, v in cases.items() for case in (1, 2) for i in (1, 2)))
    write(root, (f"test/{kind}/{name.format(3, 1)}.png" for kind, name in cases.items()))


def csv(root: Path) -> None:
    names = [f"{patient}_{i}.png" for patient in "abcd" for i in range(2)]
    write(root, names)
    rows = "".join(f"{name},{'ill' if name < 'c' else 'well'},{name[0]}\n" for name in names)
    (root / "images.csv").write_text("path,label,group\n" + rows, encoding="utf-8")


def folder(root: Path) -> None:
    parts = {"train": "abc", "test": "de"}
    write(root, (f"{part}/{k}/{n}{i}.png" for part, names in parts.items() for k in "xy" for n in names for i in "12"))


@pytest.mark.parametrize("files", [breast, csv, folder], ids=lambda files: files.__name__)
def test_a_dataset_keeps_the_contract_over_files(files: Callable[[Path], None], tmp_path: Path) -> None:
    files(tmp_path)
    check_plugin("dataset", discovery.load(discovery.find("dataset", files.__name__)), root=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colorectal", "medmnist", "pneumonia"])
def test_a_dataset_keeps_the_contract_over_real_files(name: str, real_data: Callable[[str], Path]) -> None:
    loaded = discovery.load(discovery.find("dataset", name))
    check_plugin("dataset", loaded, root=real_data(name), facts=load_catalog().entry("dataset", name))
