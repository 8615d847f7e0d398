"""Checks of the contract of encoders, on the defaults of their options with random weights."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from medssl.conformance.running import Check, NotSeen, Subject, require
from medssl.contracts import Built, EncoderCard, EncoderPlugin
from medssl.errors import MedsslError

__all__ = ["CHECKS"]

_SIDE = 224  # pixels; a multiple of every usual patch size


def _opened(subject: Subject) -> EncoderPlugin:
    config = subject.config
    if any(option.name == "weights" for option in fields(config)):
        config = replace(config, weights=None)  # a check downloads nothing
    source: EncoderPlugin = subject.plugin(config, {})
    return source


def _built(subject: Subject, seed: int = 0) -> tuple[EncoderPlugin, Built]:
    source = _opened(subject)
    torch.default_generator.manual_seed(seed)
    try:
        return source, source.build(_SIDE)
    except MedsslError as error:
        raise NotSeen(f"it needs files or options to be built: {error}") from error


def check_card_can_be_read(subject: Subject) -> None:
    """``card`` returns an EncoderCard whose deviations are above 0."""
    try:
        card = _opened(subject).card
    except MedsslError as error:
        raise NotSeen(f"its card needs files or options: {error}") from error
    require(isinstance(card, EncoderCard), f"card must be an EncoderCard, but is a {type(card).__name__}")
    require(all(value > 0 for value in card.preprocessing.std), "the deviations must be above 0")


def check_features_are_one_row_per_image(subject: Subject) -> None:
    """``features`` maps (N, 3, H, W) to finite (N, F), and an image's row does not depend on the other images."""
    source, built = _built(subject)
    built.network.eval()
    images = torch.randn(2, 3, _SIDE, _SIDE)
    with torch.no_grad():
        both, one = source.features(built.network, images), source.features(built.network, images[:1])
    require(both.ndim == 2 and len(both) == 2, f"features must be (N, F), but are {tuple(both.shape)}")
    require(bool(both.isfinite().all()), "features must be finite")
    require(torch.allclose(both[:1], one, atol=1e-4), "the features of an image must not depend on its batch")


def check_equal_seeds_build_equal_networks(subject: Subject) -> None:
    """Random weights come from torch's global generator."""
    states = [_built(subject)[1].network.state_dict() for _ in range(2)]
    same = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    require(same, "build() must draw random weights from torch's global generator only")


def check_rebuild_gives_the_same_network(subject: Subject) -> None:
    """``Built.rebuild`` holds options that build a network with the same tensors."""
    _, built = _built(subject)
    again = replace(subject.config, **built.rebuild)
    if any(option.name == "weights" for option in fields(again)):
        again = replace(again, weights=None)
    other = subject.plugin(again, {}).build(_SIDE).network.state_dict()
    own = built.network.state_dict()
    same = own.keys() == other.keys() and all(own[name].shape == other[name].shape for name in own)
    require(same, "Built.rebuild must describe the network completely")


def check_blocks_are_modules(subject: Subject) -> None:
    """Every name of ``blocks`` is a module of the network."""
    source, built = _built(subject)
    known = dict(built.network.named_modules())
    unknown = [name for name in source.blocks(built.network) if name not in known]
    require(not unknown, f"blocks must be names of modules, but these are none: {', '.join(unknown[:3])}")


CHECKS: tuple[Check, ...] = (
    check_card_can_be_read,
    check_features_are_one_row_per_image,
    check_equal_seeds_build_equal_networks,
    check_rebuild_gives_the_same_network,
    check_blocks_are_modules,
)
