"""Evaluators get copies of the data, and of their options."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
import torch

from medssl.contracts import Classes, Evaluator, Features, Predictor
from medssl.errors import PluginError
from medssl.recipe import Choice
from medssl.runs.crossing import Called

TARGET = Classes(("a", "b"))


class Spoils(Predictor):
    def predict(self, x):
        x.zero_()
        return torch.full((len(x), 2), 0.5)


class InPlace(Evaluator):
    """Changes everything that it gets."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        names: list = field(default_factory=list)

    def fit(self, train, val):
        self.config.names.append("mine")
        for part in (train, val):
            part.x.zero_()
            part.y.fill_(1)
        return Spoils()


def choice(plugin):
    return Choice(
        kind="evaluator", name="own", distribution="own-package", version="1", plugin=plugin, config=plugin.Config()
    )


def features(n=20, f=8):
    x = torch.randn(n, f, generator=torch.Generator().manual_seed(0))
    return Features(x=x, y=torch.arange(n) % 2, target=TARGET)


def test_what_an_evaluator_changes_is_its_own():
    part, own = features(), choice(InPlace)
    x, y = part.x.clone(), part.y.clone()
    called = Called(own, 0, TARGET)
    called.predict(called.fit(part, part), part.x)
    assert torch.equal(part.x, x)
    assert torch.equal(part.y, y)
    assert own.config.names == []


def test_a_breach_names_plugin_package_function_and_file():
    class Wrong(InPlace):
        def fit(self, train, val):
            return None

    with pytest.raises(
        PluginError, match=r"evaluator 'own' \(own-package 1\) breaks its contract in fit\(\) \(test_cr"
    ):
        Called(choice(Wrong), 0, TARGET).fit(features(), features())


def test_the_copies_cost_little():
    part = features(7000, 512)
    start = time.perf_counter()
    Called(choice(InPlace), 0, TARGET).fit(part, features())
    assert time.perf_counter() - start < 1.0  # 3 ms where nothing else runs
