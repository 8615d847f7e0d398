"""Checks that a method learns: a toy problem of one second, on which an untrained encoder performs badly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from medssl.conformance import toy
from medssl.conformance.methods import TOTAL_STEPS, applies, build_rig, make_batch
from medssl.conformance.running import Check, Subject, require

__all__ = ["CHECKS", "applies"]

_SAMPLES, _BATCH = 192, 48
_LEARNING_RATES = (3e-3, 1e-2)  # of Adam: one of the two suits any scale of the loss
_MARGIN = 0.15  # contrastive methods gain 0.3 with nearest neighbours
_SOLVED = 0.95  # by nearest neighbours: training can stop
_LOOK_EVERY = 25  # steps


def check_learns_beyond_the_untrained_encoder(subject: Subject) -> None:
    """After at most a hundred steps on striped images, features classify better than untrained ones.

    Nearest neighbours or a linear classifier must improve. A method that reconstructs images also keeps what two views
    do not share; this misleads nearest neighbours, but not a linear classifier.
    """
    seen = []
    for learning_rate in _LEARNING_RATES:
        looks = _learn(subject, learning_rate)
        untrained = next(looks)
        for found in looks:
            if found[toy.NEIGHBOURS] >= _SOLVED:
                return
        if any(accuracy >= untrained[name] + _MARGIN for name, accuracy in found.items()):
            return
        seen.append(f"{_words(found)} after {TOTAL_STEPS} steps at a learning rate of {learning_rate}")
    require(
        False,
        f"training on toy images must raise the accuracy of frozen features by {_MARGIN}, but from the untrained "
        f"encoder's {_words(untrained)} it changed to {'; to '.join(seen)}",
    )


def _learn(subject: Subject, learning_rate: float) -> Iterator[dict[str, float]]:
    """Train; yield the accuracies every few steps, the first before any."""
    rig = build_rig(subject, samples=_SAMPLES, batch_size=_BATCH)
    images, label = toy.stripes(_SAMPLES, seed=100)
    y = toy.toy_truth(rig.kind, label)
    weights = [w for w in (*rig.encoder.parameters(), *rig.method.parameters()) if w.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    yield toy.accuracies(rig.encoder)
    for step in range(TOTAL_STEPS):
        index = torch.randperm(_SAMPLES, generator=torch.Generator().manual_seed(step))[:_BATCH]
        loss = rig.loss(make_batch(rig.method, images, y, index, seed=step, step=step))
        require(bool(loss.isfinite().all()), f"the loss must stay finite, but became {loss.item()} at step {step}")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        rig.method.after_step(step + 1, TOTAL_STEPS)
        if (step + 1) % _LOOK_EVERY == 0:
            yield toy.accuracies(rig.encoder)


def _words(found: Mapping[str, float]) -> str:
    return " and ".join(f"{accuracy:.2f} ({name})" for name, accuracy in found.items())


CHECKS: tuple[Check, ...] = (check_learns_beyond_the_untrained_encoder,)
