"""The study's probe on a backbone left in training mode: what drifts, what does not, what is chosen."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medssl.conformance import toy
from medssl.errors import DataError
from medssl_evaluators.mlp_train_mode import MLPTrainMode

QUICK = {"epochs": 6, "batch_size": 16, "learning_rates": (0.01,), "hidden": 32}


def fit(train, val, seed=0, **options):
    return MLPTrainMode(MLPTrainMode.Config(**{**QUICK, **options}), seed).fit(train, val)


def plain(part):
    return part.plain(torch.arange(len(part)))


def statistics(encoder):
    return {name: value.clone() for name, value in encoder.named_buffers() if "running" in name}


@pytest.fixture(scope="module")
def parts():
    return [toy.image_part(n, seed) for seed, n in enumerate((60, 30, 90))]


def test_classifies_new_images(parts):
    train, val, test = parts
    probe = fit(train, val, epochs=25)
    assert (probe.predict(plain(test)).argmax(dim=1) == test.y).float().mean() > 0.6  # one in three by chance
    right = (probe.predict(plain(val)).argmax(dim=1) == val.y).double().mean().item()
    assert probe.selected["val_accuracy"] == right


def test_statistics_drift_as_in_a_loop_over_the_batches_and_weights_stay(parts):
    train, val, _ = parts
    probe = fit(train, val, epochs=2, batch_size=20)
    network = copy.deepcopy(train.encoder).train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(2):
            for rows in torch.randperm(60, generator=generator).split(20):
                network(train.plain(rows))
    for name, value in statistics(network).items():
        torch.testing.assert_close(dict(probe.encoder.named_buffers())[name], value)
    for a, b in zip(probe.encoder.parameters(), train.encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_encoder_that_it_is_given_stays_as_it_was(parts):
    train, val, _ = parts
    before = copy.deepcopy(train.encoder.state_dict())
    probe = fit(train, val, epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in train.encoder.state_dict().items())
    assert not torch.equal(statistics(probe.encoder)["layers.1.running_mean"], before["layers.1.running_mean"])


def test_one_rate_of_several_is_trained_as_if_alone_and_chosen_on_validation(parts):
    train, val, _ = parts
    rates = (1e-6, 0.01)
    alone = {rate: fit(train, val, learning_rates=(rate,)) for rate in rates}
    together = fit(train, val, learning_rates=rates)
    assert together.selected["learning_rate"] == min(rates, key=lambda r: alone[r].selected["val_log_loss"])
    for a, b in zip(together.head.parameters(), alone[0.01].head.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_rate_is_halved_every_25_epochs_after_those_that_are_held(parts, monkeypatch):
    train, val, _ = parts
    seen = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: (seen.append(self.param_groups[0]["lr"]), step(self))[1])
    fit(train, val, epochs=77, batch_size=60, learning_rates=(0.08,), hold_epochs=25)
    assert seen == [0.08] * 50 + [0.04] * 25 + [0.02] * 2  # epochs 51 and 76, counted from 1, are the first of a rate


def test_equal_seeds_give_equal_probes_and_leave_the_global_generator(parts):
    train, val, test = parts
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (fit(train, val, seed=s).predict(plain(test)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_several_rates_need_a_validation_part(parts):
    train, val, _ = parts
    empty = replace(val, y=val.y[:0])
    with pytest.raises(DataError, match="validation part is empty"):
        fit(train, empty, epochs=1, learning_rates=(0.01, 0.1))
    probe = fit(train, empty, epochs=1)
    assert probe.selected == {"learning_rate": 0.01}


def test_one_class_is_predicted_always(parts):
    train, val, _ = parts
    single = replace(train, y=torch.zeros_like(train.y))
    proba = fit(single, val).predict(plain(val))
    assert torch.equal(proba, F.one_hot(torch.zeros(30, dtype=torch.int64), toy.CLASSES).float())


def test_the_backbone_has_no_gradients(parts):
    train, val, _ = parts
    encoder = nn.Sequential(nn.Flatten(), nn.LazyLinear(toy.FEATURES))
    encoder(plain(val))
    probe = fit(replace(train, encoder=encoder), replace(val, encoder=encoder), epochs=1)
    assert all(not p.requires_grad for p in probe.encoder.parameters())
    assert all(p.grad is None for p in encoder.parameters())
