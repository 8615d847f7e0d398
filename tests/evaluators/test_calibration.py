"""Temperature scaling against scipy's minimiser and a probe that is overconfident by a known factor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from medssl.errors import DataError
from medssl_evaluators.calibration import Calibration, fit_temperature
from medssl_evaluators.linear import Linear


def fit(train, val, **options):
    return Calibration(Calibration.Config(**options), 0).fit(train, val)


def log_loss(temperature, logits, label):
    scaled = logits.double().numpy() / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    log_proba = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return -np.mean([log_proba[i, k] for i, k in enumerate(label.tolist())])


def draw(n, temperature, seed=0):
    """Labels drawn from the softmax of logits, and these logits sharpened by the temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 3, generator=generator)
    label = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return logits * temperature, label


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_equals_scipys_minimum(temperature):
    logits, label = draw(300, temperature)
    oracle = minimize_scalar(
        log_loss, bounds=(0.05, 20), args=(logits, label), method="bounded", options={"xatol": 1e-9}
    )
    assert fit_temperature(logits, label) == pytest.approx(oracle.x, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_temperature_that_sharpened_the_logits_is_found(temperature):
    assert fit_temperature(*draw(20_000, temperature)) == pytest.approx(temperature, rel=0.05)


def test_validation_part_without_an_error_stops_at_the_limit():
    assert fit_temperature(torch.eye(3), torch.arange(3)) == 0.05
    assert fit_temperature(torch.eye(3), torch.tensor([1, 2, 0])) == 20


def test_class_that_training_never_saw_does_not_count():
    logits, label = draw(300, 2.0)
    wider = torch.cat([torch.cat([logits, torch.full((300, 1), -torch.inf)], dim=1), torch.zeros(1, 4)])
    wider[-1, 3] = -torch.inf
    assert fit_temperature(wider, torch.cat([label, torch.tensor([3])])) == pytest.approx(
        fit_temperature(logits, label)
    )


def test_shares_the_contract_of_all_evaluators(shared_contract):
    shared_contract(Calibration(Calibration.Config(), 0), Calibration(Calibration.Config(), 0))


def test_probe_as_it_was_stands_beside_and_predicts_the_same_classes(blobs):
    train, val, test = blobs(60, 0, distance=2), blobs(40, 1, distance=2), blobs(200, 2, distance=2)
    scaled = fit(train, val)
    plain = scaled.also["uncalibrated"]
    assert torch.equal(plain.predict(test.x), Linear(Linear.Config(), 0).fit(train, val).predict(test.x))
    assert torch.equal(scaled.predict(test.x).argmax(1), plain.predict(test.x).argmax(1))
    expected = (plain.predict(test.x).log() / scaled.selected["temperature"]).softmax(dim=1)
    torch.testing.assert_close(scaled.predict(test.x), expected)


def test_confidence_of_an_overfitted_probe_is_put_right(blobs):
    parts = [blobs(n, seed, features=64, distance=1.5) for seed, n in enumerate((60, 300, 3000))]
    scaled = fit(*parts[:2], c_values=(10.0,))
    gaps = []
    for predictor in (scaled.also["uncalibrated"], scaled):
        proba = predictor.predict(parts[2].x)
        gaps.append(abs(float((proba.argmax(1) == parts[2].y).float().mean() - proba.amax(1).mean())))
    assert scaled.selected["temperature"] > 1.5
    assert gaps[1] < 0.25 * gaps[0]


def test_temperature_at_its_limit_is_said(blobs):
    scaled = fit(blobs(60, 0, distance=30), blobs(30, 1, distance=30), c_values=(1e-5,))
    assert scaled.selected["temperature"] == 0.05
    assert "at its limit" in scaled.notes[0]


def test_class_without_a_training_sample_has_probability_zero(blobs):
    scaled = fit(blobs(60, 0, present=2), blobs(30, 1))
    assert (scaled.predict(blobs(9, 2).x)[:, 2] == 0).all()


def test_validation_part_is_needed_even_for_one_strength(blobs):
    with pytest.raises(DataError, match="no temperature can be fitted"):
        fit(blobs(30, 0), blobs(0, 1), c_values=(1.0,))


def test_single_class_is_predicted_and_said(blobs):
    predictor = fit(blobs(10, 0, present=1), blobs(9, 1))
    assert (predictor.predict(blobs(5, 2).x) == torch.tensor([1.0, 0.0, 0.0])).all()
    assert "only one class" in predictor.notes[0]
