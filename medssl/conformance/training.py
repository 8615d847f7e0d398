"""Does a method learn? A toy problem of a second, on which an untrained encoder does badly."""

from __future__ import annotations

import torch

from medssl.conformance import toy
from medssl.conformance.methods import TOTAL_STEPS, build, make_batch
from medssl.conformance.running import Check, Subject, require

__all__ = ["CHECKS"]

_SAMPLES, _BATCH = 192, 48
_LEARNING_RATES = (3e-3, 1e-2)  # of Adam: one of them suits any loss, whatever its scale
_MARGIN = 0.15  # contrastive methods gain 0.4


def check_learns_beyond_the_untrained_encoder(subject: Subject) -> None:
    """After a hundred steps on striped images their neighbours tell the classes better than an untrained encoder's."""
    seen = []
    for learning_rate in _LEARNING_RATES:
        untrained, trained = _learn(subject, learning_rate)
        if trained >= untrained + _MARGIN:
            return
        seen.append(f"{trained:.2f} at a learning rate of {learning_rate}")
    require(
        False,
        f"{TOTAL_STEPS} steps on toy images must raise the accuracy of 5 nearest neighbours from the untrained "
        f"encoder's {untrained:.2f} by {_MARGIN}, but it came to {' and '.join(seen)}",
    )


def _learn(subject: Subject, learning_rate: float) -> tuple[float, float]:
    """Train; return the accuracy before and after."""
    rig = build(subject, samples=_SAMPLES, batch_size=_BATCH)
    untrained = toy.accuracy(rig.encoder)
    images, label = toy.stripes(_SAMPLES, seed=100)
    weights = [w for w in (*rig.encoder.parameters(), *rig.method.parameters()) if w.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    for step in range(TOTAL_STEPS):
        index = torch.randperm(_SAMPLES, generator=torch.Generator().manual_seed(step))[:_BATCH]
        loss = rig.loss(make_batch(rig.method, images, label, index, seed=step, step=step))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        rig.method.after_step(step + 1, TOTAL_STEPS)
    return untrained, toy.accuracy(rig.encoder)


CHECKS: tuple[Check, ...] = (check_learns_beyond_the_untrained_encoder,)
