"""A toy encoder, toy views, and the checks that hold for every method whatever its loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medssl.contracts import Batch, Method, Task, ViewSpec

FEATURES = 32  # F of the toy encoder
TWO_VIEWS = ViewSpec()
SIGNAL, PIXELS = 4, 16  # of a toy image's 16 pixels, 4 tell what it shows; the others are noise


class ToyEncoder(nn.Sequential):
    """Flattens, mixes, normalises and rectifies an image of 16 pixels."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(PIXELS, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())

    def dense(self, images: Tensor) -> Tensor:
        """Feature maps (N, F, 2, 2) whose mean are the features."""
        return self(images)[:, :, None, None] * torch.tensor([[0.25, 0.75], [1.25, 1.75]])


@dataclass
class Rig:
    """An encoder with a method on it, and the ``encode`` that the method is called with."""

    encoder: nn.Module
    method: Method
    noise: float = 4.0

    def encode(
        self, views: Sequence[Tensor], encoder: nn.Module | None = None, *, dense: bool = False
    ) -> tuple[Tensor, ...]:
        used = self.encoder if encoder is None else encoder
        return tuple((used.dense if dense else used)(view) for view in views)

    def loss(self, batch: Batch) -> Tensor:
        return self.method.loss(batch, self.encode)

    def batch(self, count: int = 32, seed: int = 0, step: int = 0) -> Batch:
        """A batch with the views that the method wants, all of one size."""
        return toy_batch(count, seed, self.method.views, step, self.noise)


def task(feature_dim: int = FEATURES) -> Task:
    return Task(feature_dim=feature_dim, num_samples=96, num_classes=3, image_size=4, batch_size=32, total_steps=100)


def build(method_class: type[Method], seed: int = 0, **options: object) -> Rig:
    torch.manual_seed(seed)
    encoder = ToyEncoder()
    return Rig(encoder, method_class(method_class.Config(**options), encoder, task()))


def toy_views(count: int, seed: int, views: int = 2, noise: float = 4.0) -> tuple[tuple[Tensor, ...], Tensor]:
    """Views (count, 1, 4, 4) whose signal pixels agree, beside noise of four times their spread; and the classes."""
    rng = torch.Generator().manual_seed(seed)
    centre = 2.0 * nn.functional.one_hot(torch.arange(3), SIGNAL)  # classes lie sqrt(8) apart, with a spread of 0.6
    label = torch.arange(count) % 3
    signal = centre[label] + 0.6 * torch.randn(count, SIGNAL, generator=rng)
    others = [noise * torch.randn(count, PIXELS - SIGNAL, generator=rng) for _ in range(views)]
    return tuple(torch.cat([signal, other], dim=1).view(count, 1, 4, 4) for other in others), label


def toy_batch(count: int = 32, seed: int = 0, spec: ViewSpec = TWO_VIEWS, step: int = 0, noise: float = 4.0) -> Batch:
    views, _ = toy_views(count, seed, spec.count, noise)
    index = torch.arange(count)
    return Batch(
        views=views,
        index=index,
        group=index,
        label=None,
        generator=torch.Generator().manual_seed(seed),
        step=step,
        geometry=toy_geometry(count, seed, spec.count) if spec.geometry else None,
    )


def toy_geometry(count: int, seed: int, views: int) -> tuple[Tensor, ...]:
    """Boxes (count, 2, 3) of half to all of the image's width and height, somewhere in it."""
    rng = torch.Generator().manual_seed(seed)
    size = 0.5 + 0.5 * torch.rand(views, count, 2, generator=rng)
    shift = (2 * torch.rand(views, count, 2, generator=rng) - 1) * (1 - size)
    return torch.cat([torch.diag_embed(size), shift[..., None]], dim=-1).unbind()


def neighbour_accuracy(encoder: nn.Module, noise: float = 4.0) -> float:
    """Share of 300 new images whose nearest of 300 others, by cosine of the features, is of the same class."""
    (train,), train_label = toy_views(300, 1001, 1, noise)
    (test,), test_label = toy_views(300, 1002, 1, noise)
    frozen = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        a, b = (nn.functional.normalize(frozen(x), dim=1) for x in (test, train))
    return (train_label[(a @ b.T).argmax(dim=1)] == test_label).float().mean().item()


class Checks:
    """What every method must do."""

    build = staticmethod(build)
    task = staticmethod(task)
    batch = staticmethod(toy_batch)

    def gradients_reach_every_weight(self, method_class: type[Method]) -> None:
        """Those of a teacher are not to be trained."""
        rig = build(method_class)
        loss = rig.loss(rig.batch())
        loss.backward()
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        for name, weight in [*rig.encoder.named_parameters(), *rig.method.named_parameters()]:
            if not weight.requires_grad:
                continue
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
        assert rig.encoder[1].weight.grad.abs().max() > 1e-6

    def saved_state_gives_the_equal_loss(self, method_class: type[Method]) -> None:
        first, second = build(method_class, seed=0), build(method_class, seed=1)
        first.loss(first.batch(seed=3))  # moves the running statistics
        first.method.after_step(1, 100)
        assert not torch.equal(first.loss(first.batch()), second.loss(second.batch()))
        second.encoder.load_state_dict(first.encoder.state_dict())
        second.method.load_state_dict(first.method.state_dict())
        assert torch.equal(first.loss(first.batch()), second.loss(second.batch()))

    def equal_seeds_give_equal_training(self, method_class: type[Method]) -> None:
        losses = [train(build(method_class, seed=5), steps=3) for _ in range(2)]
        assert losses[0] == losses[1]

    def random_numbers_stay_untouched(self, method_class: type[Method]) -> None:
        rig = build(method_class)
        batch = rig.batch()
        before = torch.get_rng_state(), batch.generator.get_state()
        rig.loss(batch)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert torch.equal(batch.generator.get_state(), before[1])

    def random_numbers_come_from_the_batch_alone(self, method_class: type[Method]) -> None:
        """The global state stays as it was, and the batch's generator alone decides what is drawn."""
        rig = build(method_class)
        before = torch.get_rng_state()
        first, again, other = (rig.batch() for _ in range(3))
        other.generator.manual_seed(1)
        losses = [copy.deepcopy(rig).loss(batch).item() for batch in (first, again, other)]
        assert torch.equal(torch.get_rng_state(), before)
        assert losses[0] == losses[1]
        assert losses[0] != losses[2]

    def statistics_are_of_each_view_alone(self, method_class: type[Method]) -> None:
        """The head's running mean after one call is what two separate calls leave, in the order of the views."""
        rig, batch = build(method_class), toy_batch()
        head = copy.deepcopy(next(iter(rig.method.children())))
        rig.loss(batch)
        for features in rig.encode(batch.views):
            head(features)
        after = next(iter(rig.method.children())).state_dict()
        assert torch.equal(after["layers.1.running_mean"], head.state_dict()["layers.1.running_mean"])
        assert after["layers.1.num_batches_tracked"] == 2

    def learns(
        self,
        method_class: type[Method],
        *,
        steps: int,
        learning_rate: float,
        margin: float,
        noise: float = 4.0,
        **options: object,
    ) -> None:
        rig = build(method_class, **options)
        rig.noise = noise
        untrained = neighbour_accuracy(rig.encoder, noise)
        losses = train(rig, steps=steps, learning_rate=learning_rate)
        assert np.mean(losses[-10:]) < np.mean(losses[:10])
        assert neighbour_accuracy(rig.encoder, noise) > untrained + margin


def train(rig: Rig, *, steps: int, learning_rate: float = 0.05) -> list[float]:
    weights = [*rig.encoder.parameters(), *rig.method.parameters()]
    optimizer = torch.optim.SGD(weights, lr=learning_rate, momentum=0.9)
    losses = []
    for step in range(steps):
        loss = rig.loss(rig.batch(64, seed=step, step=step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rig.method.after_step(step + 1, steps)
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="session")
def checks() -> Checks:
    return Checks()


@pytest.fixture
def embeddings() -> Callable[..., tuple[Tensor, Tensor]]:
    """Two float32 views (n, d) of n samples that agree as two views do: neither equal nor independent."""

    def draw(n: int, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(seed)
        shared, first, second = torch.randn(3, n, d, generator=rng)
        return shared + first, shared + second

    return draw
