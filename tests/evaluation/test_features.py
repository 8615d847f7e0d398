"""Frozen features: what they are, and what must not have changed afterwards."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from medssl.errors import TrainingError
from medssl.evaluation.features import extract

N, F = 37, 8


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, F, 3), nn.BatchNorm2d(F), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    layers[1].running_mean.uniform_(-1, 1)
    layers[1].running_var.uniform_(0.5, 2)
    return layers


@pytest.fixture
def images() -> Tensor:
    return torch.randn(N, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def test_features_are_those_of_evaluation_mode_in_order(images: Tensor) -> None:
    encoder = network()
    with torch.no_grad():
        expected = torch.cat([network().eval()(image[None]) for image in images])
    found = extract(encoder.train(), lambda positions: images[positions], N, batch_size=10)
    assert found.shape == (N, F)
    assert found.dtype == torch.float32
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch_size", [1, 5, 36, 37, 1000])
def test_batch_size_does_not_change_features(images: Tensor, batch_size: int) -> None:
    encoder = network()
    whole = extract(encoder, images.__getitem__, N, batch_size=N)
    torch.testing.assert_close(extract(encoder, images.__getitem__, N, batch_size=batch_size), whole)


def test_parameters_buffers_and_gradients_are_unchanged(images: Tensor) -> None:
    encoder = network().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    extract(encoder, images.__getitem__, N)
    after = encoder.state_dict()
    assert "1.num_batches_tracked" in after
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_every_module_returns_to_its_own_mode(images: Tensor) -> None:
    encoder = network().train()
    encoder[1].eval()  # frozen by its owner
    extract(encoder, images.__getitem__, N)
    assert [module.training for module in encoder] == [True, False, True, True, True, True]
    assert encoder.training


def test_modes_return_when_a_forward_fails(images: Tensor) -> None:
    encoder = network().train()

    def broken(positions: Tensor) -> Tensor:
        raise RuntimeError("no such image")

    with pytest.raises(RuntimeError, match="no such image"):
        extract(encoder, broken, N)
    assert encoder[1].training


def test_a_probe_can_be_trained_on_features(images: Tensor) -> None:
    found = extract(network(), images.__getitem__, N)
    assert not found.requires_grad
    assert not found.is_inference()
    probe = nn.Linear(F, 2)
    probe(found).sum().backward()
    torch.testing.assert_close(probe.weight.grad, found.sum(dim=0).expand(2, F))


def test_each_position_is_asked_for_once(images: Tensor) -> None:
    asked: list[int] = []

    def views(positions: Tensor) -> Tensor:
        assert positions.dtype == torch.int64
        asked.extend(positions.tolist())
        return images[positions]

    extract(network(), views, N, batch_size=16)
    assert asked == list(range(N))


@dataclass
class HalfPrecision:
    entered: int = 0

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        self.entered += 1
        return torch.autocast("cpu", dtype=torch.bfloat16)


def test_encoder_runs_under_the_precision_it_is_given(images: Tensor) -> None:
    encoder, precision = network(), HalfPrecision()
    full, half = extract(encoder, images.__getitem__, N), extract(encoder, images.__getitem__, N, precision=precision)
    assert precision.entered == 1
    assert half.dtype == torch.float32
    assert not torch.equal(full, half)
    torch.testing.assert_close(full, half, atol=0.05, rtol=0.05)


def test_training_goes_on_after_an_extraction_under_autocast(images: Tensor) -> None:
    encoder = network().train()
    extract(encoder, images.__getitem__, N, precision=HalfPrecision())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoder(images).float().square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_features_that_are_not_finite_are_an_error_with_their_count(images: Tensor) -> None:
    images[3] = torch.nan
    with pytest.raises(TrainingError, match=r"not finite numbers for 1 of 37 images"):
        extract(network(), images.__getitem__, N)


def test_no_images_give_no_features() -> None:
    encoder = network()
    encoder.feature_dim = F
    assert extract(encoder, lambda positions: positions, 0).shape == (0, F)
