"""The kit finds what is wrong with an encoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medssl.conformance import run_checks
from medssl.contracts import Built, EncoderCard, EncoderPlugin


class Right(EncoderPlugin):
    """A linear map of mean colours."""

    def read_card(self):
        return EncoderCard()

    def build(self, image_size, channels=3):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
        return Built(network=network, name="linear", rebuild={})


class Maps(Right):
    def features(self, network, images):
        return images


class OfTheBatch(Right):
    def features(self, network, images):
        found = network(images)
        return found - found.mean(dim=0)


class OtherGenerator(Right):
    def build(self, image_size, channels=3):
        built = super().build(image_size, channels)
        nn.init.normal_(built.network[2].weight, generator=torch.Generator().manual_seed(int(torch.seed() % 2**32)))
        return built


class NoModules(Right):
    def blocks(self, network):
        return ("blocks.0",)


def problems(plugin):
    return {result.name: result.problem for result in run_checks("encoder", plugin) if result.problem}


def test_a_right_encoder_has_no_problem():
    assert problems(Right) == {}


@pytest.mark.parametrize(
    ("plugin", "name", "words"),
    [
        (Maps, "features are one row per image", "must be (N, F)"),
        (OfTheBatch, "features are one row per image", "must not depend on its batch"),
        (OtherGenerator, "equal seeds build equal networks", "global generator only"),
        (NoModules, "blocks are modules", "blocks.0"),
    ],
)
def test_a_wrong_encoder_is_found(plugin, name, words):
    assert words in problems(plugin)[name]
