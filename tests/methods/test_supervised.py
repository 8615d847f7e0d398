"""Cross-entropy on the labelled samples, against a loop; and it learns to classify."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medssl.contracts import Classes, Quantity, Task
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


def test_balanced_weights_are_those_of_the_whole_training_part(checks):
    y = torch.tensor([0, 0, 0, 0, 0, 1, 2, -1])
    plain = checks.build(Supervised)
    target = Classes(("a", "b", "c"))
    sizes = {"image_size": 16, "batch_size": 8, "total_steps": 1, "num_samples": 8}
    task = Task(feature_dim=plain.method.head.in_features, target=target, y=y, **sizes)
    method = Supervised(Supervised.Config(class_weight="balanced"), plain.encoder, task)
    method.head.load_state_dict(plain.method.head.state_dict())
    batch = labelled(plain.batch(8), y)
    (features,) = plain.encode(batch.views)
    each = torch.nn.functional.cross_entropy(plain.method.head(features), y.clamp_min(0), reduction="none").tolist()
    weight = {0: 7 / 15, 1: 7 / 3, 2: 7 / 3, -1: 0.0}
    expected = sum(weight[k] * e for k, e in zip(y.tolist(), each, strict=True)) / 7
    assert method.loss(batch, plain.encode).item() == pytest.approx(expected, rel=1e-5)
    assert "weights" not in method.state_dict()


def test_a_quantity_has_the_squared_error_of_standardised_known_numbers(checks):
    plain = checks.build(Supervised)
    y = torch.tensor([30.0, 50.0, torch.nan, 70.0, 90.0, 40.0, torch.nan, 60.0])
    sizes = {"image_size": 16, "batch_size": 8, "total_steps": 1, "num_samples": 8}
    task = Task(feature_dim=plain.method.head.in_features, target=Quantity("years"), y=y, **sizes)
    method = Supervised(Supervised.Config(class_weight="balanced"), plain.encoder, task)
    batch = labelled(plain.batch(8), y)
    (features,) = plain.encode(batch.views)
    known = y[~y.isnan()].double().numpy()
    rows = zip(method.head(features)[:, 0].tolist(), y.tolist(), strict=True)
    each = [(guess - (true - known.mean()) / known.std()) ** 2 for guess, true in rows if not np.isnan(true)]
    assert method.loss(batch, plain.encode).item() == pytest.approx(np.mean(each), rel=1e-5)
    assert "scale" not in method.state_dict()
