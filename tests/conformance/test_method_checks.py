"""Each check of a method must fail on one that breaks just what the check looks at."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medssl.conformance import run_checks
from medssl.contracts import Method, ViewGroup, ViewSpec


class Good(Method):
    """Predicts one view's embedding from the other's, with a teacher that keeps state in every way there is."""

    views = ViewSpec((ViewGroup(count=2), ViewGroup(count=1, scale=0.5)), geometry=True)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        width: int = 16

    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.head = nn.Linear(task.feature_dim, config.width)
        self.register_buffer("mean", torch.zeros(config.width))

    def loss(self, batch, encode):
        assert len(batch.geometry) == len(batch.views) == 3
        z = [F.normalize(self.head(features), dim=1) for features in encode(batch.views)]
        logits = z[0] @ torch.cat(z[1:]).T / 0.2
        same = torch.arange(len(logits), device=logits.device)
        noise = torch.randn(self.mean.shape, generator=batch.generator, device=batch.generator.device)
        self.mean.copy_(0.9 * self.mean + 0.1 * z[0].detach().mean(dim=0))
        return F.cross_entropy(logits, same) + ((z[0] - self.mean) @ (1e-3 * noise)).mean()

    def after_step(self, step, total_steps):
        with torch.no_grad():
            self.mean.mul_(1 - 0.1 * step / total_steps)


class StrangeView(Good):
    views = ViewSpec((ViewGroup(count=3, augment={"blurr": 0.1}),), geometry=True)


class BatchOfTwoIsNotFinite(Good):
    def loss(self, batch, encode):
        return super().loss(batch, encode) / (len(batch.index) - 2)


class LargerViewsBreak(Good):
    def loss(self, batch, encode):
        return super().loss(batch, encode) if batch.views[0].shape[2] == 16 else torch.tensor(float("nan"))


class NotFloat32(Good):
    def loss(self, batch, encode):
        return super().loss(batch, encode).double()


class NotAScalar(Good):
    def loss(self, batch, encode):
        return super().loss(batch, encode)[None]


class IgnoresTheEncoder(Good):
    def loss(self, batch, encode):
        return self.head.weight.sum()


class NotFiniteGradient(Good):
    def loss(self, batch, encode):
        return super().loss(batch, encode) + 0 * (encode(batch.views)[0].detach() @ self.head.weight.T * 0).sqrt().sum()


class DeviatesOverPixels(Good):
    def loss(self, batch, encode):
        maps = encode(batch.views, dense=True)[2]
        return super().loss(batch, encode) + maps.flatten(2).std(dim=2).mean()  # of one pixel: not a number


class DiffersByPrecision(Good):
    def loss(self, batch, encode):
        rounded = bool((encode(batch.views)[0].bfloat16().float() == encode(batch.views)[0]).all())
        return super().loss(batch, encode) * (1000 if rounded and batch.views[0].shape[2] == 32 else 1)


class UntrainedTeacher(Good):
    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.teacher = nn.Linear(2, 2)


class FixedWidth(Good):
    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.head = nn.Linear(32, config.width)


class WritesIntoItsViews(Good):
    def loss(self, batch, encode):
        batch.views[0].mul_(0.5)
        return super().loss(batch, encode)


class DrawsFromTorch(Good):
    def loss(self, batch, encode):
        return super().loss(batch, encode) + 0 * torch.rand((), device=batch.views[0].device)


class DrawsFromNumpy(Good):
    def after_step(self, step, total_steps):
        np.random.rand()  # noqa: NPY002  (the breach itself)


class UnequalForEqualSeeds(Good):
    calls = 0

    def loss(self, batch, encode):
        type(self).calls += 1
        return super().loss(batch, encode) * (1 + type(self).calls)


class ForgetsANumber(Good):
    seen = 0.0

    def loss(self, batch, encode):
        self.seen += 0.1
        return super().loss(batch, encode) + self.seen


class ForgetsATensorOfItsSeed(Good):
    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.direction = torch.randn(config.width)

    def loss(self, batch, encode):
        return super().loss(batch, encode) + self.head.weight.sum(dim=1) @ self.direction.to(batch.index.device)


class CountsItsSteps(Good):
    calls = 0

    def after_step(self, step, total_steps):
        type(self).calls += 1
        self.mean.add_(type(self).calls)


class DividesByWhatIsLeft(Good):
    def after_step(self, step, total_steps):
        self.mean.add_(1.0 if step < total_steps else float("inf"))


class KeepsTheGraph(Good):
    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.register_buffer("weights", torch.zeros(config.width, task.feature_dim))

    def after_step(self, step, total_steps):
        self.weights = 0.9 * self.weights + self.head.weight


class MakesATensorOnTheProcessor(Good):
    def loss(self, batch, encode):
        return super().loss(batch, encode) + (encode(batch.views)[0] * torch.ones(1, 1)).mean() * 0


class NeedsViewsApart(Good):
    def loss(self, batch, encode):
        first, second = encode([batch.views[0]]), encode([batch.views[1]])
        joint = encode(batch.views[:2])
        apart = (first[0] - joint[0]).abs().mean() + (second[0] - joint[1]).abs().mean()
        return super().loss(batch, encode) + (0 if type(encode).__name__ != "JointEncode" else 1) + 0 * apart


class LearnsNothing(Good):
    def loss(self, batch, encode):
        return encode(batch.views)[0].square().mean()


def test_a_good_method_passes_every_check():
    results = run_checks("method", Good)
    assert [result.problem for result in results if result.problem] == []
    assert len(results) > 12


@pytest.mark.parametrize(
    ("plugin", "check"),
    [
        (StrangeView, "views can be drawn"),
        (BatchOfTwoIsNotFinite, "loss is a finite scalar"),
        (LargerViewsBreak, "loss is a finite scalar"),
        (NotFloat32, "loss is a finite scalar"),
        (NotAScalar, "loss is a finite scalar"),
        (IgnoresTheEncoder, "gradients reach the encoder"),
        (NotFiniteGradient, "gradients reach the encoder"),
        (DeviatesOverPixels, "maps of one pixel are trained on"),
        (DiffersByPrecision, "maps of one pixel are trained on"),
        (UntrainedTeacher, "what is not trained asks for no gradient"),
        (FixedWidth, "heads fit any encoder"),
        (WritesIntoItsViews, "leaves the batch alone"),
        (DrawsFromTorch, "draws only from the batch generator"),
        (DrawsFromNumpy, "draws only from the batch generator"),
        (UnequalForEqualSeeds, "equal seeds give equal losses"),
        (ForgetsANumber, "state survives a resume"),
        (ForgetsATensorOfItsSeed, "state survives a resume"),
        (CountsItsSteps, "after step can be repeated"),
        (DividesByWhatIsLeft, "after step can be repeated"),
        (KeepsTheGraph, "after step can be repeated"),
        (MakesATensorOnTheProcessor, "computes where the batch lies"),
        (NeedsViewsApart, "joint forward changes nothing"),
        (LearnsNothing, "learns beyond the untrained encoder"),
    ],
)
def test_a_breach_is_seen_by_its_check(plugin, check, problem):
    assert problem("method", plugin, check)


def test_a_failure_says_what_the_contract_is_and_what_was_seen(problem):
    assert problem("method", NotFloat32, "loss is a finite scalar") == (
        "loss() must return float32, but for 2 samples of 16 px in float32 it is torch.float64"
    )


def test_a_teacher_and_a_memory_on_the_device_are_no_breach(problem):
    class WithTeacher(Good):
        def __init__(self, config, encoder, task):
            super().__init__(config, encoder, task)
            self.teacher = nn.Linear(task.feature_dim, config.width).requires_grad_(False)
            self.register_buffer("bank", torch.zeros(task.num_samples, config.width))

        def loss(self, batch, encode):
            self.bank[batch.index] = self.teacher(encode(batch.views[:1])[0].detach())
            return super().loss(batch, encode)

    for check in (
        "computes where the batch lies",
        "what is not trained asks for no gradient",
        "state survives a resume",
    ):
        assert not problem("method", WithTeacher, check)


def test_a_method_for_transformers_is_given_one(problem):
    class OnTokens(Good):
        transformer_only = True

        def __init__(self, config, encoder, task):
            assert encoder.network.patch_embed.patch_size == (4, 4)
            super().__init__(config, encoder, task)

    assert not problem("method", OnTokens, "loss is a finite scalar")
    assert not problem("method", OnTokens, "computes where the batch lies")


def test_a_method_that_trains_nothing_has_only_its_options_looked_at():
    class Nothing(Method):
        trains = False

        def loss(self, batch, encode):
            raise AssertionError

    assert [result.name for result in run_checks("method", Nothing)] == [
        "keeps the signature",
        "options have names types and defaults",
    ]


def test_options_reach_the_method(problem):
    class NeedsWidth(Good):
        def __init__(self, config, encoder, task):
            assert config.width == 8
            super().__init__(config, encoder, task)

    assert not problem("method", NeedsWidth, "loss is a finite scalar", config=NeedsWidth.Config(width=8))


@pytest.mark.parametrize("check", ["equal seeds give equal losses", "state survives a resume"])
def test_a_loss_that_is_finite_at_first_only_is_called_that(check, problem):
    class NanLater(Good):
        def loss(self, batch, encode):
            return super().loss(batch, encode) * (float("nan") if batch.step >= 2 else 1)

    assert problem("method", NanLater, check) == "the loss must stay finite, but became nan at step 2"
