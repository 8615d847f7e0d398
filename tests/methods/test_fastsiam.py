from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medssl_methods.fastsiam import FastSiam
from medssl_methods.simsiam import SimSiam


def loop(predictions, embeddings):
    """The mean over views and samples of the negative cosine to the mean of the other embeddings, in float64."""
    p, z = (np.stack([np.asarray(x.detach(), dtype=np.float64) for x in xs]) for xs in (predictions, embeddings))
    cosines = []
    for v in range(len(p)):
        for i in range(len(p[v])):
            target = np.mean([z[w][i] for w in range(len(z)) if w != v], axis=0)
            cosines.append(p[v][i] @ target / np.linalg.norm(p[v][i]) / np.linalg.norm(target))
    return -np.mean(cosines)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_loss_equals_the_float64_loop_on_predictions_and_embeddings(checks, count):
    rig = checks.build(FastSiam, view_count=count)
    batch = rig.batch()
    assert len(batch.views) == count
    embeddings = [rig.method.projector(features) for features in rig.encode(batch.views)]
    predictions = [rig.method.predictor(z) for z in embeddings]
    assert rig.loss(batch).item() == pytest.approx(loop(predictions, embeddings), abs=1e-6)


def test_two_views_make_simsiam(checks):
    ours, theirs = checks.build(FastSiam, view_count=2), checks.build(SimSiam)
    theirs.method.load_state_dict(ours.method.state_dict())
    assert ours.loss(checks.batch()).item() == pytest.approx(theirs.loss(checks.batch()).item(), abs=1e-6)


def test_hand_value_of_three_views_predicted_as_they_are(checks):
    method = checks.build(FastSiam).method
    method.projector, method.predictor = nn.Identity(), nn.Identity()
    views = tuple(torch.tensor([[x, y]]) for x, y in ((1.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    # targets (1/2, 1/2), (1/2, 1/2) and (1, 0): cosines of 1/sqrt(2) twice and 0
    loss = method.loss(checks.batch(), lambda _: views)
    assert loss.item() == pytest.approx(-2 / np.sqrt(2) / 3)


def test_no_gradient_flows_through_the_targets(checks):
    rig = checks.build(FastSiam)
    predictor = rig.method.predictor
    rig.method.predictor = nn.Module()
    rig.method.predictor.forward = lambda z: predictor(z).detach()
    assert not rig.loss(rig.batch()).requires_grad  # with the predictions cut off, no path is left


def test_asks_for_four_full_views(checks):
    (group,) = checks.build(FastSiam).method.views.groups
    assert (group.count, group.scale, dict(group.augment)) == (4, 1.0, {})


def test_reordering_the_views_changes_nothing(checks):
    rig = checks.build(FastSiam)
    batch = rig.batch()
    turned = rig.method.loss(batch, lambda views: rig.encode(views)[::-1])
    assert turned.item() == pytest.approx(rig.loss(batch).item(), abs=1e-6)


def test_heads_have_simsiams_widths(checks):
    for options in ({}, {"projection_dim": 24, "projection_layers": 3, "prediction_dim": 5}):
        ours, theirs = checks.build(FastSiam, **options).method, checks.build(SimSiam, **options).method
        assert str(ours.projector) == str(theirs.projector)
        assert str(ours.predictor) == str(theirs.predictor)


def test_smallest_batch_gives_a_finite_loss(checks):
    rig = checks.build(FastSiam)
    assert rig.loss(rig.batch(2)).isfinite()


def test_projector_takes_its_statistics_from_each_view_alone(checks):
    checks.statistics_are_of_each_view_alone(FastSiam)
