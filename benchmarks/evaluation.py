"""Speed of the evaluators on cached features, beside what one would write instead.

* kNN: ten values of k in one search, beside ten classifiers of scikit-learn.
* Linear probe: 48 strengths solved together, beside the same solver one strength at a time, and scikit-learn.
* MLP probe: 48 heads trained together (12 seeds at 4 learning rates), beside one torch.nn module after another.
* Scoring: 2000 bootstrap resamples.

The variants of a part take turns and the fastest of each counts, since whatever else runs on the machine only ever
makes one slower. Run ``python benchmarks/evaluation.py``; ``--clock cpu`` counts processor time, for a busy machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from medssl.contracts import Features
from medssl.evaluate.scoring import score
from medssl.settings import EvaluateSettings
from medssl_evaluators._logistic import fit_logistic
from medssl_evaluators._stacked import train_heads
from medssl_evaluators.knn import KNN

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FEATURES, CLASSES, HIDDEN, BATCH = 512, 4, 512, 64
KS = (1, 2, 5, 10, 20, 30, 50, 100, 150, 200)
SETTINGS, EPOCHS = 48, 2


def features(n: int, seed: int) -> Features:
    """Overlapping classes, correlated features whose variances span four orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(0))).Q
    label = torch.randint(CLASSES, (n,), generator=generator)
    x = torch.randn(n, FEATURES, generator=generator)
    x[torch.arange(n), label] += 1.5
    return Features(x=(x * torch.logspace(0, -2, FEATURES)) @ turn, label=label, num_classes=CLASSES)


def race(variants: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return each variant's best seconds."""
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(rounds):
        for name, run in variants.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
    return {name: round(seconds, 4) for name, seconds in best.items()}


def knn_variants() -> dict[str, Callable[[], object]]:
    train, query = features(5000, 1), features(1000, 2)
    x, label, q = train.x.numpy(), train.label.numpy(), query.x.numpy()
    config = KNN.Config(distance="euclidean", weights="uniform", ks=KS, report=KS)

    def scikit_learn() -> None:
        for k in KS:
            KNeighborsClassifier(k, n_jobs=1).fit(x, label).predict_proba(q)

    return {"ten k in one search": lambda: KNN(config, 0).fit(train, query), "scikit-learn": scikit_learn}


def linear_variants() -> dict[str, Callable[[], object]]:
    part = features(1000, 1)
    x = (part.x - part.x.mean(dim=0)) / part.x.std(dim=0, correction=0)
    strengths = torch.logspace(-5, 1, SETTINGS)
    penalties = 1 / (strengths * len(x))
    array, label = x.double().numpy(), part.label.numpy()

    def one_by_one() -> None:
        for penalty in penalties:
            fit_logistic(x, part.label, CLASSES, penalty[None])

    def scikit_learn() -> None:
        for c in strengths.tolist():
            LogisticRegression(C=c, max_iter=10_000).fit(array, label)

    return {
        "48 together": lambda: fit_logistic(x, part.label, CLASSES, penalties),
        "one after another": one_by_one,
        "scikit-learn": scikit_learn,
    }


def separate_probe(x: Tensor, label: Tensor, rate: float, epochs: int) -> None:
    probe = nn.Sequential(
        nn.Linear(FEATURES, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, CLASSES)
    )
    optimizer = torch.optim.Adam(probe.parameters(), lr=rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
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
            part.label,
            CLASSES,
            hidden=HIDDEN,
            seeds=seeds,
            learning_rates=rates[:count],
            batch_size=BATCH,
            epochs=epochs,
        )

    def separate() -> None:
        for rate in rates:
            separate_probe(part.x, part.label, rate, EPOCHS)

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
        return lambda: score(proba, label, None, EvaluateSettings(bootstrap=2000), 0)

    return {f"{n} samples, {k} classes": case(n, k) for n, k in ((624, 2), (5000, 2), (5000, 8))}


def measure(clock: str = "wall", rounds: int = 3) -> dict[str, object]:
    """Time every part on one CPU thread.

    Returns:
        Seconds of each variant by part, and ``ratios``: the first variant of a part over each other one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parts = {"knn": knn_variants, "linear": linear_variants, "mlp": mlp_variants, "scoring": scoring_variants}
    try:
        seconds = {name: race(make(), rounds, CLOCKS[clock]) for name, make in parts.items()}
    finally:
        torch.set_num_threads(threads)

    def ratio(part: str, over: str) -> float:
        first = next(iter(seconds[part].values()))
        return round(first / seconds[part][over], 3)

    ratios = {
        "knn, of scikit-learn": ratio("knn", "scikit-learn"),
        "linear, of one after another": ratio("linear", "one after another"),
        "linear, of scikit-learn": ratio("linear", "scikit-learn"),
        "mlp, of torch.nn one after another": ratio("mlp", f"torch.nn one after another, {EPOCHS} epochs"),
    }
    return {"clock": clock, "rounds": rounds, "seconds": seconds, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.clock, arguments.rounds), indent=2))


if __name__ == "__main__":
    main()
