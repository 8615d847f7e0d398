"""Each check must fail on a plugin that breaks just what it looks at."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from medssl.conformance import ContractError, check_plugin, run_checks
from medssl.contracts import Dataset, Evaluator, Method, Predictor, Sample


def failed(kind, plugin):
    return [result.name for result in run_checks(kind, plugin) if result.problem]


class GoodMethod(Method):
    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.head = nn.Linear(task.feature_dim, 8)
        self.register_buffer("mean", torch.zeros(8))

    def loss(self, batch, encode):
        a, b = (self.head(f) for f in encode(batch.views))
        self.mean.copy_(0.9 * self.mean + 0.1 * a.detach().mean(0))
        return (a - b).pow(2).mean() + (a - self.mean).pow(2).mean()


class BatchOfTwoIsNotFinite(GoodMethod):
    def loss(self, batch, encode):
        return super().loss(batch, encode) / (len(batch.index) - 2)


class IgnoresTheEncoder(GoodMethod):
    def loss(self, batch, encode):
        return self.head.weight.sum()


class DrawsGlobally(GoodMethod):
    def loss(self, batch, encode):
        return super().loss(batch, encode) + 0 * torch.rand(())


class DrawsFromNumpy(GoodMethod):
    def loss(self, batch, encode):
        return super().loss(batch, encode) + 0 * float(np.random.rand())  # noqa: NPY002  (the breach itself)


class ForgetsItsState(GoodMethod):
    seen = 0.0

    def after_step(self, step, total_steps):
        self.seen = float(step)

    def loss(self, batch, encode):
        return super().loss(batch, encode) + self.seen


class UnequalForEqualSeeds(GoodMethod):
    calls = 0

    def loss(self, batch, encode):
        type(self).calls += 1
        return super().loss(batch, encode) * (1 + type(self).calls)


def test_a_good_method_passes():
    check_plugin("method", GoodMethod)


@pytest.mark.parametrize(
    ("plugin", "check"),
    [
        (BatchOfTwoIsNotFinite, "loss is a finite scalar"),
        (IgnoresTheEncoder, "gradients reach the encoder"),
        (DrawsGlobally, "draws only from the batch generator"),
        (DrawsFromNumpy, "draws only from the batch generator"),
        (ForgetsItsState, "state survives a resume"),
        (UnequalForEqualSeeds, "equal seeds give equal losses"),
    ],
)
def test_each_method_check_sees_its_breach(plugin, check):
    assert check in failed("method", plugin)


class GoodDataset(Dataset):
    classes = ("a", "b")

    def samples(self):
        return [Sample(id=f"{i}", label=i % 2) for i in range(4)]

    def read(self, sample):
        return np.full((4, 4, 1), int(sample.id), np.uint8)


class DoubleIds(GoodDataset):
    def samples(self):
        return [Sample(id="same", label=0), Sample(id="same", label=1)]

    def read(self, sample):
        return np.zeros((4, 4, 1), np.uint8)


class LabelTooLarge(GoodDataset):
    def samples(self):
        return [Sample(id="0", label=2)]


class FloatPixels(GoodDataset):
    def read(self, sample):
        return np.zeros((4, 4, 1), np.float32)


class GroupsWithoutAKind(GoodDataset):
    def samples(self):
        return [Sample(id="0", label=0, group="p1")]


def test_a_good_dataset_passes():
    check_plugin("dataset", GoodDataset)


@pytest.mark.parametrize("plugin", [DoubleIds, LabelTooLarge, FloatPixels, GroupsWithoutAKind])
def test_unsound_samples_are_seen(plugin):
    assert failed("dataset", plugin) == ["samples are sound"]


class Nearest(Predictor):
    def __init__(self, train):
        self.train = train

    def predict_proba(self, x):
        near = torch.cdist(x, self.train.x).argmin(1)
        return nn.functional.one_hot(self.train.label[near], self.train.num_classes).float()


class GoodEvaluator(Evaluator):
    def fit(self, train, val):
        return Nearest(train)


class NotProbabilities(GoodEvaluator):
    def fit(self, train, val):
        predictor = Nearest(train)
        once = predictor.predict_proba
        predictor.predict_proba = lambda x: 2 * once(x)
        return predictor


class Guesses(GoodEvaluator):
    def fit(self, train, val):
        predictor = Nearest(train)
        predictor.predict_proba = lambda x: torch.rand(len(x), train.num_classes).softmax(1)
        return predictor


def test_a_good_evaluator_passes():
    check_plugin("evaluator", GoodEvaluator)


def test_each_evaluator_check_sees_its_breach():
    assert failed("evaluator", NotProbabilities) == ["probabilities sum to one"]
    assert {"separates blobs", "fit is deterministic"} <= set(failed("evaluator", Guesses))


def test_all_findings_come_at_once():
    class Broken(GoodEvaluator):
        @dataclass
        class Config:
            k: int

        def __init__(self, *args):
            pass

    with pytest.raises(ContractError) as error:
        check_plugin("evaluator", Broken)
    text = str(error.value)
    assert "not frozen" in text
    assert "without a default: k" in text
    assert "*args" in text


def test_something_that_is_no_plugin_is_said_to_be_none():
    assert run_checks("dataset", GoodEvaluator)[0].problem == (
        "GoodEvaluator is not a subclass of medssl.contracts.Dataset"
    )
