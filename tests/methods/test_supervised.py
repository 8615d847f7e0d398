"""Cross-entropy on the labelled samples, against a loop; and it learns to classify."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medssl_methods.supervised import Supervised


def labelled(batch, label):
    return replace(batch, y=label)


def loop(logits, label, smoothing=0.0):
    """Mean over labelled samples, one by one in float64."""
    total, count = 0.0, 0
    for row, k in zip(logits.detach().double().numpy(), label.tolist(), strict=True):
        if k < 0:
            continue
        log_proba = row - np.log(np.exp(row).sum())
        target = np.full(len(row), smoothing / len(row))
        target[k] += 1 - smoothing
        total -= target @ log_proba
        count += 1
    return total / count


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_equals_the_loop_and_leaves_unlabelled_samples_out(checks, smoothing):
    rig = checks.build(Supervised, label_smoothing=smoothing)
    label = torch.tensor([0, -1, 2, 1, -1, 2, 0, 1])
    batch = labelled(rig.batch(8), label)
    (features,) = rig.encode(batch.views)
    assert rig.loss(batch).item() == pytest.approx(loop(rig.method.head(features), label, smoothing), rel=1e-5)


def test_batch_without_a_label_teaches_nothing(checks):
    rig = checks.build(Supervised)
    loss = rig.loss(labelled(rig.batch(8), torch.full((8,), -1)))
    loss.backward()
    assert loss.item() == 0
    assert (rig.method.head.weight.grad == 0).all()


def test_one_view_is_wanted_with_the_crops_of_the_recipe_and_plain_colours():
    (group,) = Supervised.views.groups
    assert group.count == 1
    assert group.augment == {"jitter": 0.0, "greyscale": 0.0, "blur": 0.0, "solarise": 0.0}


def test_training_classifies_new_images(checks):
    rig = checks.build(Supervised)
    optimizer = torch.optim.SGD([*rig.encoder.parameters(), *rig.method.parameters()], lr=0.05, momentum=0.9)
    for step in range(40):
        loss = rig.loss(labelled(rig.batch(64, seed=step), torch.arange(64) % 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    new = rig.batch(300, seed=1001)
    rig.encoder.eval()
    predicted = rig.method.head(rig.encode(new.views)[0]).argmax(dim=1)
    assert (predicted == torch.arange(300) % 3).float().mean() > 0.8
