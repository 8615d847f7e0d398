"""Methods on the toy encoder and the toy views of the conformance kit, for comparisons with what a paper says.

What holds for every method whatever its loss is the kit's to check; ``tests/test_first_party.py`` runs it on each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from medssl.conformance import methods, toy
from medssl.conformance.running import Subject
from medssl.contracts import Batch, Method, Task, ViewSpec

SAMPLES, BATCH = 96, 32


@dataclass(frozen=True)
class Rig(methods.Rig):
    """The kit's rig, with batches of the views that the method wants."""

    def batch(self, count: int = BATCH, seed: int = 0, step: int = 0) -> Batch:
        return toy_batch(count, seed, self.method.views, step)


def build(method_class: type[Method], seed: int = 0, **options: object) -> Rig:
    subject = Subject(method_class, method_class.Config(**options))
    made = methods.build_rig(subject, seed=seed, samples=SAMPLES, batch_size=BATCH)
    return Rig(made.method, made.encoder)


def task(feature_dim: int = toy.FEATURES) -> Task:
    return Task(
        feature_dim=feature_dim,
        num_samples=SAMPLES,
        target=toy.target("classes"),
        image_size=toy.SIDE,
        batch_size=BATCH,
        total_steps=methods.TOTAL_STEPS,
    )


def toy_batch(count: int = BATCH, seed: int = 0, spec: ViewSpec | None = None, step: int = 0) -> Batch:
    images, label = toy.stripes(count, seed)
    asking = SimpleNamespace(views=spec or ViewSpec(), uses_labels=False)
    batch = methods.make_batch(asking, images, label, torch.arange(count), seed, step)
    return batch if batch.geometry is None else replace(batch, geometry=toy_geometry(count, seed, len(batch.views)))


def toy_geometry(count: int, seed: int, views: int) -> tuple[Tensor, ...]:
    """Boxes (count, 2, 3) of half to all of the image's width and height, somewhere in it."""
    rng = torch.Generator().manual_seed(seed)
    size = 0.5 + 0.5 * torch.rand(views, count, 2, generator=rng)
    shift = (2 * torch.rand(views, count, 2, generator=rng) - 1) * (1 - size)
    return torch.cat([torch.diag_embed(size), shift[..., None]], dim=-1).unbind()


class Checks:
    """What a test of a method builds on."""

    build = staticmethod(build)
    task = staticmethod(task)
    batch = staticmethod(toy_batch)

    def statistics_are_of_each_view_alone(self, method_class: type[Method]) -> None:
        """The head's running mean after one call is what two separate calls leave, in the order of the views."""
        rig, batch = build(method_class), toy_batch()
        head = copy.deepcopy(next(iter(rig.method.children())))
        rig.loss(batch)
        for features in rig.encode(batch.views):
            head(features)
        after = next(iter(rig.method.children())).state_dict()
        torch.testing.assert_close(after["layers.1.running_mean"], head.state_dict()["layers.1.running_mean"])
        assert after["layers.1.num_batches_tracked"] == 2

    def teacher_follows_the_cosine_schedule(self, method_class: type[Method]) -> None:
        """In the middle of the training, the momentum of 0.9 is 0.95."""
        rig = build(method_class, momentum=0.9)
        student, teacher = rig.encoder.layers[0].weight, rig.method.teacher.encoder.layers[0].weight
        old = teacher.clone()
        student.data += 1
        rig.method.after_step(51, 100)
        torch.testing.assert_close(teacher, old + 0.05)

    def head_is_as_wide_as_the_encoder(self, method_class: type[Method]) -> None:
        """Two layers, the first as wide as the features unless an option says otherwise; 128 dimensions."""
        for feature_dim in (64, 512):
            head = method_class(method_class.Config(), nn.Identity(), task(feature_dim)).head
            assert head.layers[0].weight.shape == (feature_dim, feature_dim)
            assert head(torch.randn(4, feature_dim)).shape == (4, 128)
            config = method_class.Config(hidden_dim=16, output_dim=8)
            head = method_class(config, nn.Identity(), task(feature_dim)).head
            assert head.layers[0].weight.shape == (16, feature_dim)
            assert head(torch.randn(4, feature_dim)).shape == (4, 8)


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
