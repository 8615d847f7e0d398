"""Labels and confident pseudo-labels against a loop; what gets a gradient; and it learns from few labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medssl_methods.fixmatch import FixMatch, fixmatch_losses


def loop(weak, strong, y, threshold):
    """Both losses, one sample at a time in float64."""
    weak, strong = weak.double().numpy(), strong.double().numpy()
    labelled, unlabelled, known = 0.0, 0.0, 0
    for a, b, k in zip(weak, strong, y.tolist(), strict=True):
        if k >= 0:
            labelled -= a[k] - np.log(np.exp(a).sum())
            known += 1
        p = np.exp(a) / np.exp(a).sum()
        if p.max() >= threshold:
            unlabelled -= b[p.argmax()] - np.log(np.exp(b).sum())
    return labelled / max(known, 1), unlabelled / len(y)


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.95, 1.0])
def test_losses_equal_the_loop(threshold):
    rng = torch.Generator().manual_seed(0)
    weak, strong = 2 * torch.randn(2, 40, 3, generator=rng)
    y = torch.randint(-1, 3, (40,), generator=rng)
    found = [loss.item() for loss in fixmatch_losses(weak, strong, y, threshold)]
    assert found == pytest.approx(loop(weak, strong, y, threshold), rel=1e-5, abs=1e-7)
    if threshold == 0.6:  # some predictions are confident and some are not
        share = (weak.softmax(1).max(1).values >= threshold).float().mean()
        assert 0.2 < share < 0.9


def test_two_samples_by_hand():
    """Both predict class 0 with probability .8, so at .75 both are pseudo-labels; the label of the first is 1."""
    weak = torch.log(torch.tensor([[0.8, 0.2], [0.8, 0.2]]))
    strong = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    labelled, unlabelled = fixmatch_losses(weak, strong, torch.tensor([1, -1]), 0.75)
    assert labelled.item() == pytest.approx(np.log(5))
    assert unlabelled.item() == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert fixmatch_losses(weak, strong, torch.tensor([1, -1]), 0.85)[1].item() == 0


def test_a_pseudo_label_teaches_the_strong_view_only():
    weak = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    strong = torch.zeros(6, 3, requires_grad=True)
    labelled, unlabelled = fixmatch_losses(weak, strong, torch.full((6,), -1), 0.0)
    (labelled + unlabelled).backward()
    assert labelled.item() == 0
    assert (weak.grad == 0).all()
    assert (strong.grad != 0).all()


def test_the_method_adds_the_weighted_losses_of_its_views(checks):
    rig = checks.build(FixMatch, threshold=0.4, unlabelled_weight=0.5)
    batch = replace(rig.batch(8), y=torch.tensor([0, -1, 2, 1, -1, 2, 0, 1]))
    logits = [rig.method.head(features).detach() for features in rig.encode(batch.views)]
    labelled, unlabelled = loop(*logits, batch.y, 0.4)
    assert unlabelled > 0
    assert rig.loss(batch).item() == pytest.approx(labelled + 0.5 * unlabelled, rel=1e-5)


def test_the_first_view_is_weak_and_the_second_has_the_recipes_augmentation():
    weak, strong = FixMatch.views.groups
    assert (weak.count, strong.count) == (1, 1)
    assert weak.augment["crop_scale"] == pytest.approx((0.875**2, 1.0), abs=1e-3)
    assert {weak.augment[name] for name in ("jitter", "greyscale", "blur", "solarise")} == {0.0}
    assert not strong.augment


@pytest.mark.slow
def test_training_on_one_label_in_four_classifies_new_images(checks):
    rig = checks.build(FixMatch, threshold=0.8)
    optimizer = torch.optim.SGD([*rig.encoder.parameters(), *rig.method.parameters()], lr=0.05, momentum=0.9)
    truth = torch.arange(64) % 3
    known = torch.where(torch.arange(64) % 4 == 0, truth, -1)
    for step in range(60):
        loss = rig.loss(replace(rig.batch(64, seed=step), y=known))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    new = rig.batch(300, seed=1001)
    rig.encoder.eval()
    predicted = rig.method.head(rig.encode(new.views)[0]).argmax(dim=1)
    assert (predicted == torch.arange(300) % 3).float().mean() > 0.8
