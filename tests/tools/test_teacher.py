from __future__ import annotations

import copy

import pytest
import torch
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from medssl.tools import Teacher, cosine_momentum


def student(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU()), nn.Linear(6, 3)


def encode(views, encoder, *, dense=False):
    return tuple(encoder(view) for view in views)


@pytest.fixture
def views():
    rng = torch.Generator().manual_seed(0)
    return [3 * torch.randn(8, 4, generator=rng) + 1 for _ in range(2)]


def test_begins_as_the_student_without_sharing_its_weights(views):
    encoder, head = student()
    teacher = Teacher(encoder, head)
    expected = [head(encoder(view)) for view in views]
    for weight in (*encoder.parameters(), *head.parameters()):
        weight.data.zero_()
    for ours, theirs in zip(teacher(views, encode), expected, strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad
    assert not any(weight.requires_grad for weight in teacher.parameters())


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_each_weight_moves_by_the_rest_of_the_momentum(momentum):
    encoder, head = student()
    teacher = Teacher(encoder, head)
    before = [weight.double() for weight in teacher.parameters()]
    for weight in (*encoder.parameters(), *head.parameters()):
        weight.data += 1
    teacher.update(momentum)
    for old, new in zip(before, teacher.parameters(), strict=True):
        torch.testing.assert_close(new.double(), momentum * old + (1 - momentum) * (old + 1), rtol=1e-6, atol=1e-6)


def test_statistics_are_its_own(views):
    encoder, head = student()
    teacher = Teacher(encoder, head)
    for _ in range(3):
        encoder(views[0])
    teacher.update(0.5)
    fresh = nn.BatchNorm1d(6).state_dict()
    statistics = {name: value for name, value in teacher.encoder[1].state_dict().items() if "running" in name}
    assert all(torch.equal(value, fresh[name]) for name, value in statistics.items())
    teacher(views, encode)
    assert teacher.encoder[1].num_batches_tracked == 2


def test_state_holds_the_copies_alone():
    encoder, head = student()
    names = {f"encoder.{name}" for name in encoder.state_dict()} | {f"heads.0.{name}" for name in head.state_dict()}
    assert set(Teacher(encoder, head).state_dict()) == names


def test_a_copy_of_student_and_teacher_follows_the_copied_student():
    encoder, head = student()
    copied_encoder, copied = copy.deepcopy((encoder, Teacher(encoder, head)))
    encoder[0].weight.data.fill_(7.0)
    copied_encoder[0].weight.data.fill_(5.0)
    copied.update(0.0)
    assert (copied.encoder[0].weight == 5).all()


@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("start", [0.0, 0.99])
def test_momentum_rises_along_lightlys_cosine(total, start):
    ours = [cosine_momentum(step, total, start) for step in range(1, total + 1)]
    theirs = [cosine_schedule(step, total + 1, start, 1.0) for step in range(total)]
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert ours[0] == start
    assert ours == sorted(ours)
