"""Measure the time to quality: how soon each way of pre-training reaches a score on validation images.

    python -m benchmarks.quality --set radiographs --set malaria
    python -m benchmarks.quality --set radiographs --row default --try train.epochs=30,train.base_learning_rate=0.48

Each row pre-trains ResNet-18 with DCL on the same images, from the same initial weights of the seed, on one thread:

* default: medssl's default recipe.
* every ``--try``: the same with some settings changed.
* lightly: DCL as in lightly's documentation, with ``LightlyDataset``'s way of reading files and ``SimCLRTransform``.
* plain loop: like the code of the ICIP 2023 study, see :mod:`benchmarks.pretraining`.

At fixed epochs the encoder is scored on validation images: the AUROC (one class against the rest) of scikit-learn's k
nearest neighbours and logistic regression, fitted on the features of the training images. Test images are not read.
The time is that of the training alone, in seconds of the processor, so that other programs disturb it little.

The gain is the score of the default recipe at its last epoch minus that of the untrained encoder, as means over the
seeds. A row's time to 95 % is the time at which its mean score reaches the untrained score plus 95 % of the gain, by
linear interpolation between two scored epochs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightly.loss import DCLLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn

from benchmarks.measuring import describe_machine
from benchmarks.pretraining import pil_pipeline
from medssl.catalog import Catalog, load_catalog
from medssl.data.loading import Data, LoadedPart, load_data, open_dataset
from medssl.recipe import Recipe, resolve
from medssl.recipe.layers import nested, stack
from medssl.results.directory import RunDirectory
from medssl.runs.context import RunContext
from medssl.runs.listener import Listener
from medssl.tools.training import evaluation_mode
from medssl.train.encoder.building import Encoder, build_encoder
from medssl.train.loop.method import build_method
from medssl.train.loop.trainer import Trainer
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory

SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "radiographs": ("pneumonia", {"plugin": "pneumonia"}),
    "lung": (
        "lc25000_lung",
        {"plugin": "csv", "file": "groups.csv", "group_column": "group", "augmentation": "histology"},
    ),
    "malaria": (
        "malaria",
        {"plugin": "csv", "file": "images.csv", "group_column": "slide_patient", "augmentation": "microscopy"},
    ),
    "fundus": (
        "odir5k",
        {
            "plugin": "csv",
            "file": "images.csv",
            "path_column": "filename",
            "group_column": "ID",
            "label_columns": ["N", "D", "G", "C", "A", "H", "M", "O"],
            "augmentation": "fundus",
        },
    ),
}
SHARES = (0.95, 0.99)
_LEAST = 5  # images of a class or finding, and without it; with fewer it is not scored
NEIGHBOURS = 20  # of kNN, as in lightly's benchmarks
_COMMON: Mapping[str, Any] = {
    "views": {"image_size": 64},
    "encoder": {"backbone": "resnet18"},
    "split": {"protocol": "grouped", "fractions": [0.4, 0.4, 0.2]},
    "evaluators": ["knn"],
}


@dataclass(frozen=True)
class Point:
    """One scored epoch: seconds of training until then, and the scores on the validation images."""

    epoch: int
    seconds: float
    knn: float
    linear: float


@dataclass(frozen=True)
class Rig:
    """Images of one set, for one seed.

    Attributes:
        catalog: Of plugins.
        data: The set.
        train: The images that all rows train on.
        val: The images that score them.
        recipe: The default recipe for this set and seed.
        every: Number of epochs between two scores.
    """

    catalog: Catalog
    data: Data
    train: LoadedPart
    val: LoadedPart
    recipe: Recipe
    every: int

    def score(self, network: nn.Module, context: RunContext) -> tuple[float, float]:
        """Return the AUROC of kNN and of logistic regression on the validation images."""
        x, z = (encode(network, context, part) for part in (self.train, self.val))
        scaler = StandardScaler().fit(x)
        knn = KNeighborsClassifier(min(NEIGHBOURS, len(x)), metric="cosine", weights="distance")
        linear = LogisticRegression(C=0.1, max_iter=300)
        y, truth = self.train.y.numpy(), self.val.y.numpy()
        return auroc(knn, x, y, z, truth), auroc(linear, scaler.transform(x), y, scaler.transform(z), truth)


def auroc(model: Any, x: np.ndarray, y: np.ndarray, z: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean AUROC over classes against the rest, or over findings with both outcomes."""
    classes = np.unique(y)
    known, outcomes = (
        each if each.ndim == 2 else each[:, None] == classes[1 if len(classes) == 2 else 0 :] for each in (y, truth)
    )
    found = []
    for label, outcome in zip(known.T.astype(int), outcomes.T.astype(int), strict=True):
        if all(_LEAST <= each.sum() <= len(each) - _LEAST for each in (label, outcome)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that few iterations are enough for a comparison
                found.append(roc_auc_score(outcome, model.fit(x, label).predict_proba(z)[:, 1]))
    return float(np.mean(found))


def encode(network: nn.Module, context: RunContext, part: LoadedPart) -> np.ndarray:
    """Encode a part's images: ``(n, F)``."""
    plain = context.plain(part)
    with evaluation_mode(network), torch.no_grad():
        return torch.cat([network(plain(where)) for where in torch.arange(len(part)).split(256)]).float().numpy()


def rig_of(name: str, images: int, held: int, seed: int, every: int, base: Path | None) -> Rig:
    """Open a set: ``images`` of its training part, and ``held`` of its validation part, the same for all rows."""
    catalog = load_catalog()
    folder, dataset = SETS[name]
    settings = {"method": "dcl", "dataset": dataset, "seed": seed}
    recipe = resolve(catalog, [_COMMON, settings])
    root = (base or Path(os.environ.get("MEDSSL_DATA", "."))) / folder
    data = load_data(recipe.data, open_dataset(recipe.dataset, catalog, root if root.is_dir() else base))
    train, val = _some(data.part("train"), images), _some(data.part("val"), held)
    return Rig(catalog, data, train, val, recipe, every)


def _some(part: LoadedPart, most: int) -> LoadedPart:
    """Return at most so many images of a part, the same at every call."""
    return part.take(np.sort(np.random.default_rng(0).permutation(len(part))[:most]))


def context_of(rig: Rig, recipe: Recipe, folder: Path) -> RunContext:
    return RunContext(recipe, rig.data, Machine.choose("cpu", recipe.precision), RunDirectory(folder), Listener())


# ------------------------------------------------------------------------------------------------------------- rows


def with_medssl(rig: Rig, changes: Mapping[str, Any], scratch: Path) -> list[Point]:
    """Train with medssl's trainer, with some settings changed."""
    settings = {"method": "dcl", "dataset": rig.recipe.dataset.to_dict(), "seed": rig.recipe.seed}
    recipe = resolve(rig.catalog, [_COMMON, settings, changes])
    context = context_of(rig, recipe, Path(tempfile.mkdtemp(dir=scratch)))
    encoder = first_encoder(recipe)
    points = [Point(0, 0.0, *rig.score(encoder, context))]
    method = build_method(recipe, encoder, num_samples=len(rig.train), target=rig.data.target)
    trainer = Trainer(
        encoder,
        method,
        context.views(rig.train, recipe.data.views_for(method.views)),
        settings=recipe.train,
        seed=recipe.seed,
        device=context.machine.device,
        precision=context.machine.precision,
        groups=rig.train.groups,
        directory=context.directory.path,
        fingerprint="",
    )
    spent, start, done = 0.0, time.process_time(), 0

    def validate() -> Mapping[str, float]:
        nonlocal spent, start, done
        spent += time.process_time() - start
        done += recipe.train.validate_every
        points.append(Point(done, spent, *rig.score(encoder, context)))
        start = time.process_time()
        return {}

    with kept_memory():
        trainer.fit(validate=validate)
    return points


def first_encoder(recipe: Recipe) -> Encoder:
    return build_encoder(recipe.open_encoder(), recipe.views.image_size, recipe.seed)


def with_others(rig: Rig, epochs: int, transform: Callable[[Image.Image], Sequence[Any]], scratch: Path) -> list[Point]:
    """Train in a loop that opens files again in each epoch: one forward pass per view, SGD without momentum."""
    size, recipe = rig.recipe.train.batch_size, rig.recipe
    context = context_of(rig, recipe, Path(tempfile.mkdtemp(dir=scratch)))
    torch.manual_seed(recipe.seed)
    network = first_encoder(recipe)
    head = SimCLRProjectionHead(512, 512, 128)
    criterion, optimizer = DCLLoss(), torch.optim.SGD([*network.parameters(), *head.parameters()], lr=0.06)
    dataset = rig.data.dataset
    paths = [path for sample in rig.data.samples(rig.train.ids) if (path := dataset.path(sample)) is not None]
    generator = np.random.default_rng(recipe.seed)
    points, spent = [Point(0, 0.0, *rig.score(network, context))], 0.0
    for epoch in range(epochs):
        start = time.process_time()
        network.train()
        order = generator.permutation(len(paths))
        for first in range(0, len(paths) - size + 1, size):
            pairs = [transform(Image.open(paths[i]).convert("RGB")) for i in order[first : first + size]]
            one, two = (torch.stack(list(views)) for views in zip(*pairs, strict=True))
            optimizer.zero_grad()
            criterion(head(network(one)), head(network(two))).backward()
            optimizer.step()
        spent += time.process_time() - start
        if (epoch + 1) % rig.every == 0:
            points.append(Point(epoch + 1, spent, *rig.score(network, context)))
    return points


def rows(rig: Rig, epochs: int, tried: Sequence[str], scratch: Path) -> dict[str, Callable[[], list[Point]]]:
    """Return what is compared, by name."""
    side = rig.recipe.views.image_size
    pipeline = pil_pipeline(side)
    default = {"train": {"epochs": epochs, "validate_every": rig.every}}
    changed = {text: changes_of(text, default) for text in tried}
    return {
        "default": lambda: with_medssl(rig, default, scratch),
        **{text: partial(with_medssl, rig, changes, scratch) for text, changes in changed.items()},
        "lightly": lambda: with_others(rig, epochs, SimCLRTransform(input_size=side), scratch),
        "plain loop": lambda: with_others(rig, epochs, lambda image: (pipeline(image), pipeline(image)), scratch),
    }


def changes_of(text: str, below: Mapping[str, Any]) -> dict[str, Any]:
    """Read settings as ``section.name=value``, with commas between them, over other settings."""
    layers = [below]
    for setting in text.split(","):
        key, _, value = setting.partition("=")
        layers.append(nested(key.strip(), yaml.safe_load(value)))
    return stack(layers)


# ---------------------------------------------------------------------------------------------------------- figures


def mean_curve(runs: Sequence[Sequence[Point]], name: str) -> list[tuple[float, float]]:
    """Return the mean seconds and scores over the seeds, epoch by epoch."""
    return [
        (float(np.mean([p.seconds for p in points])), float(np.mean([getattr(p, name) for p in points])))
        for points in zip(*runs, strict=True)
    ]


def time_to(curve: Sequence[tuple[float, float]], goal: float) -> float | None:
    """Return the seconds at which a curve first reaches a score, interpolated; ``None`` if it never does."""
    for (before, low), (after, high) in itertools.pairwise(curve):
        if high >= goal:
            return after if high == low else before + (after - before) * max(0.0, goal - low) / (high - low)
    return None


def figures(found: Mapping[str, Sequence[Sequence[Point]]]) -> dict[str, Any]:
    """Return the gain of the default row, and each row's time to shares of it, by score."""
    said: dict[str, Any] = {}
    for name in ("knn", "linear"):
        curves = {row: mean_curve(runs, name) for row, runs in found.items()}
        start, end = curves["default"][0][1], curves["default"][-1][1]
        goals = {share: start + share * (end - start) for share in SHARES}
        said[name] = {
            "untrained": round(start, 4),
            "default": round(end, 4),
            "rows": {
                row: {
                    "last": round(curve[-1][1], 4),
                    "best": round(max(score for _, score in curve), 4),
                    "seconds": round(curve[-1][0], 1),
                    **{f"to {share:.0%}": time_to(curve, goal) for share, goal in goals.items()},
                }
                for row, curve in curves.items()
            },
        }
    return said


def print_figures(name: str, said: Mapping[str, Any]) -> None:
    for score, each in said.items():
        print(f"{name}, {score}: untrained {each['untrained']:.3f}, default {each['default']:.3f}")
        for row, facts in each["rows"].items():
            times = ", ".join(
                f"{share} of the gain {'never' if facts[share] is None else f'after {facts[share]:.0f} s'}"
                for share in facts
                if share.startswith("to ")
            )
            print(f"  {row:12} {times}; ends at {facts['last']:.3f} after {facts['seconds']:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", choices=SETS, help="may be repeated; default: all sets")
    parser.add_argument("--row", action="append", help="may be repeated; default: all rows; needs `default`")
    parser.add_argument("--try", dest="tried", action="append", default=[], metavar="SETTINGS", help="may be repeated")
    parser.add_argument("--images", type=int, default=512, help="training images")
    parser.add_argument("--held", type=int, default=1000, help="validation images")
    parser.add_argument("--epochs", type=int, default=100, help="epochs of every row that sets none")
    parser.add_argument("--every", type=int, default=5, help="epochs between two scores")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "quality.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    content: dict[str, Any] = {"machine": describe_machine(), "images": arguments.images, "sets": {}}
    for name in arguments.set or SETS:
        found: dict[str, list[list[Point]]] = {}
        for seed in range(arguments.seeds):
            rig = rig_of(name, arguments.images, arguments.held, seed, arguments.every, arguments.data_dir)
            with tempfile.TemporaryDirectory() as scratch:
                for row, train in rows(rig, arguments.epochs, arguments.tried, Path(scratch)).items():
                    if row in (*arguments.tried, *(arguments.row or [row])):
                        found.setdefault(row, []).append(train())
                        print(name, seed, row, [asdict(point) for point in found[row][-1]][-1], flush=True)
        said = figures(found)
        print_figures(name, said)
        curves = {row: [[asdict(point) for point in points] for points in runs] for row, runs in found.items()}
        content["sets"][name] = {**said, "curves": curves}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
