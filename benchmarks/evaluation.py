"""Compare the speed of the evaluators on cached features with simpler code.

* kNN: ten values of k in one search, compared with ten classifiers of scikit-learn.
* Linear probe: 48 strengths solved together, compared with the same solver one strength at a time, and scikit-learn.
* MLP probe: 48 heads trained together (12 seeds at 4 learning rates), compared with one torch.nn module after another.
* One MLP probe on cached features, compared with one that decodes and encodes its images again in each epoch.
* Scoring: 2000 bootstrap resamples.

Everything runs on one thread.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torchvision import transforms

from benchmarks.measuring import Line, ratio_line, take_turns, timed
from benchmarks.pretraining import write_tiles
from medssl.contracts import Features
from medssl.contracts.targets import Classes
from medssl.evaluation.scoring import score
from medssl.recipe.settings import EvaluateSettings
from medssl_evaluators._logistic import fit_logistic
from medssl_evaluators._stacked import train_heads
from medssl_evaluators.knn import KNN

FEATURES, CLASSES, HIDDEN, BATCH = 512, 4, 512, 64
TARGET = Classes(tuple(map(str, range(CLASSES))))
KS = (1, 2, 5, 10, 20, 30, 50, 100, 150, 200)
SETTINGS, EPOCHS, IMAGES = 48, 2, 1000


def features(n: int, seed: int) -> Features:
    """Draw overlapping classes with correlated features whose variances span four orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(0))).Q
    label = torch.randint(CLASSES, (n,), generator=generator)
    x = torch.randn(n, FEATURES, generator=generator)
    x[torch.arange(n), label] += 1.5
    return Features(
        x=(x * torch.logspace(0, -2, FEATURES)) @ turn, y=label, target=Classes(tuple(map(str, range(CLASSES))))
    )


def knn_variants() -> dict[str, Callable[[], object]]:
    train, query = features(5000, 1), features(1000, 2)
    x, label, q = train.x.numpy(), train.y.numpy(), query.x.numpy()
    config = KNN.Config(distance="euclidean", weights="uniform", ks=KS, report=KS)

    def scikit_learn() -> None:
        for k in KS:
            KNeighborsClassifier(k, n_jobs=1).fit(x, label).predict_proba(q)

    return {"ten k": lambda: KNN(config, 0).fit(train, query), "scikit-learn": scikit_learn}


def linear_variants() -> dict[str, Callable[[], object]]:
    part = features(1000, 1)
    x = (part.x - part.x.mean(dim=0)) / part.x.std(dim=0, correction=0)
    strengths = torch.logspace(-5, 1, SETTINGS)
    penalties = 1 / (strengths * len(x))
    array, label = x.double().numpy(), part.y.numpy()

    def one_by_one() -> None:
        for penalty in penalties:
            fit_logistic(x, part.y, CLASSES, penalty[None])

    def scikit_learn() -> None:
        for c in strengths.tolist():
            LogisticRegression(C=c, max_iter=10_000).fit(array, label)

    return {
        "48 together": lambda: fit_logistic(x, part.y, CLASSES, penalties),
        "one after another": one_by_one,
        "scikit-learn": scikit_learn,
    }


def separate_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(FEATURES, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, CLASSES)
    )


def separate_probe(x: Tensor, label: Tensor, rate: float, epochs: int) -> None:
    probe = separate_network()
    optimizer = torch.optim.Adam(probe.parameters(), lr=rate)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x)), BATCH):
            if len(rows) == BATCH:
                optimizer.zero_grad()
                nn.functional.cross_entropy(probe(x[rows]), label[rows]).backward()
                optimizer.step()


def mlp_variants() -> dict[str, Callable[[], object]]:
    part = features(1000, 1)
    rates = [rate for rate in (0.005, 0.01, 0.1, 0.5) for _ in range(SETTINGS // 4)]

    def stacked(count: int, epochs: int) -> object:
        seeds = [s % (SETTINGS // 4) for s in range(count)]
        return train_heads(
            part.x,
            part.y,
            CLASSES,
            hidden=HIDDEN,
            seeds=seeds,
            learning_rates=rates[:count],
            batch_size=BATCH,
            epochs=epochs,
        )

    def separate() -> None:
        for rate in rates:
            separate_probe(part.x, part.y, rate, EPOCHS)

    return {
        f"48 together, {EPOCHS} epochs": lambda: stacked(SETTINGS, EPOCHS),
        f"torch.nn one after another, {EPOCHS} epochs": separate,
        "one probe, 100 epochs": lambda: stacked(1, 100),
    }


def scoring_variants() -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)

    def case(n: int, classes: int) -> Callable[[], object]:
        label = rng.integers(0, classes, n)
        proba = rng.dirichlet(np.ones(classes), n)
        target = Classes(tuple(f"class {i}" for i in range(classes)))
        return lambda: score(target, label, proba, None, EvaluateSettings(bootstrap=2000), 0)

    return {f"{n} samples, {k} classes": case(n, k) for n, k in ((624, 2), (5000, 2), (5000, 8))}


def probe_variants(folder: Path) -> dict[str, Callable[[], object]]:
    """Return a probe on cached features, and one that encodes its images in each epoch, as the plain loop does."""
    part = features(IMAGES, 1)
    paths = sorted(folder.glob("*.png"))
    network = timm.create_model("resnet18", num_classes=0).eval().requires_grad_(requires_grad=False)
    pipeline = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor()])
    probe = separate_network()
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.01)

    def one_epoch() -> None:
        for rows in torch.split(torch.randperm(IMAGES), BATCH):
            if len(rows) < BATCH:
                continue
            x = torch.stack([pipeline(Image.open(paths[i]).convert("RGB")) for i in rows])
            optimizer.zero_grad()
            nn.functional.cross_entropy(probe(network(x)), part.y[rows]).backward()
            optimizer.step()

    def cached() -> None:
        heads = {"hidden": HIDDEN, "seeds": [0], "learning_rates": [0.01], "batch_size": BATCH, "epochs": 100}
        train_heads(part.x, part.y, CLASSES, **heads)  # type: ignore[arg-type]

    return {"cached, 100 epochs": cached, "plain loop, 1 epoch": one_epoch}


def compare(
    what: str, variants: dict[str, Callable[[], object]], over: str, under: str, rounds: int, **mark: Any
) -> Line:
    """Compare two of the variants; the line keeps the seconds of all variants."""
    seconds = take_turns({name: timed(run) for name, run in variants.items()}, rounds)
    medians = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
    return ratio_line(what, seconds[over], seconds[under], seconds=medians, **mark)


def lines(rounds: int = 5) -> list[Line]:
    """Compare every part on one thread, because threads do not help with such small amounts of work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = f"torch.nn one after another, {EPOCHS} epochs"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            write_tiles(Path(scratch), IMAGES)
            pictures = probe_variants(Path(scratch))
            probe = compare("", pictures, "plain loop, 1 epoch", "cached, 100 epochs", max(2, rounds // 2))
        hundred = replace(
            probe,
            what=f"plain loop's probe of 100 epochs / one on cached features, {IMAGES:,} images, time",
            value=round(100 * probe.value, 1),
            low=round(100 * probe.low, 1),
            high=round(100 * probe.high, 1),
            mark=50,
        )
        return [
            compare(
                "scikit-learn / kNN for ten k, 5,000 x 512", knn_variants(), "scikit-learn", "ten k", rounds, mark=20
            ),
            compare(
                "48 linear probes together / one after another, time",
                linear_variants(),
                "48 together",
                "one after another",
                rounds,
                mark=0.2,
                at_least=False,
            ),
            compare(
                "48 MLP probes together / one after another, time",
                mlp_variants(),
                f"48 together, {EPOCHS} epochs",
                alone,
                max(2, rounds // 2),
                mark=0.6,
                at_least=False,
            ),
            hundred,
            *scoring_lines(rounds),
        ]
    finally:
        torch.set_num_threads(threads)


def scoring_lines(rounds: int) -> list[Line]:
    """Measure the seconds for every metric with its interval."""
    seconds = take_turns({name: timed(run) for name, run in scoring_variants().items()}, rounds)
    return [
        Line(
            what=f"2,000 bootstrap resamples of {name}, seconds",
            value=round(statistics.median(values), 3),
            low=round(min(values), 3),
            high=round(max(values), 3),
        )
        for name, values in seconds.items()
    ]
