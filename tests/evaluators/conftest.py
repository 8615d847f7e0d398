"""Features of a kind that every evaluator must get right, and the part of its contract that all share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from medssl.contracts import Classes, Evaluator, Features

Blobs = Callable[..., Features]


@pytest.fixture(scope="session")
def blobs() -> Blobs:
    """Gaussian blobs of unit deviation, one per class, centred ``distance`` along an axis of their own."""

    def make(
        n: int, seed: int, *, classes: int = 3, features: int = 16, present: int = 0, distance: float = 3
    ) -> Features:
        generator = torch.Generator().manual_seed(seed)
        label = torch.arange(n) % (present or classes)
        x = torch.randn(n, features, generator=generator)
        x[torch.arange(n), label] += distance
        return Features(x=x, y=label, target=Classes(tuple(map(str, range(classes)))))

    return make


@pytest.fixture(scope="session")
def shared_contract(blobs: Blobs) -> Callable[[Evaluator, Evaluator], None]:
    """What must hold for any evaluator, given two of one seed; ``Predictor.also`` included."""

    def check(one: Evaluator, same: Evaluator) -> None:
        train, val, test = blobs(60, 0), blobs(30, 1), blobs(40, 2)
        before = torch.get_rng_state()
        first, second = one.fit(train, val), same.fit(train, val)
        for predictor, equal in zip([first, *first.also.values()], [second, *second.also.values()], strict=True):
            proba = predictor.predict(test.x)
            assert proba.shape == (40, 3)
            assert proba.dtype == torch.float32
            torch.testing.assert_close(proba.sum(dim=1), torch.ones(40))
            assert torch.equal(proba, equal.predict(test.x)), "equal seeds, unequal results"
            alone = torch.cat([predictor.predict(row[None]) for row in test.x])
            torch.testing.assert_close(alone, proba, msg="a prediction depends on the other test samples")
        assert torch.equal(torch.get_rng_state(), before), "torch's global generator was used"
        right = (first.predict(test.x).argmax(dim=1) == test.y).float().mean()
        assert right > 0.85
        assert first.selected["val_accuracy"] > 0.85

    return check
