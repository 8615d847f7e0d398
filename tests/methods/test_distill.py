"""Distillation against loops in float64, and from a real file of weights."""

from __future__ import annotations

import math

import pytest
import torch

from medssl.contracts import Classes, Task
from medssl.errors import OptionError
from medssl_methods.distill import Distill, angle_loss, cosine_loss, distance_loss

N, STUDENT, TEACHER = 6, 5, 7


def draw(width, seed):
    return torch.randn(N, width, generator=torch.Generator().manual_seed(seed))


def huber(difference):
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def length(a):
    return math.sqrt(sum(v * v for v in a))


def minus(a, b):
    return [p - q for p, q in zip(a, b, strict=True)]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def distances(rows):
    pairs = {(i, j): length(minus(rows[i], rows[j])) for i in range(N) for j in range(N)}
    mean = sum(pairs.values()) / (N * (N - 1))
    return {pair: value / mean for pair, value in pairs.items()}


def angles(rows):
    found = {}
    for i in range(N):
        for j in range(N):
            for k in range(N):
                a, b = minus(rows[j], rows[i]), minus(rows[k], rows[i])
                found[i, j, k] = 0.0 if i in (j, k) else dot(a, b) / (length(a) * length(b))
    return found


def mean_huber(a, b):
    return sum(huber(a[key] - b[key]) for key in a) / len(a)


def test_losses_equal_loops_in_float64():
    student, teacher = 3 * draw(STUDENT, 0), draw(TEACHER, 1)
    x, y = student.double().tolist(), teacher.double().tolist()
    assert distance_loss(student, teacher).item() == pytest.approx(mean_huber(distances(x), distances(y)), rel=1e-5)
    assert angle_loss(student, teacher).item() == pytest.approx(mean_huber(angles(x), angles(y)), rel=1e-5)
    mapped = draw(TEACHER, 2)
    cosines = [dot(a, b) / (length(a) * length(b)) for a, b in zip(mapped.double().tolist(), y, strict=True)]
    assert cosine_loss(mapped, teacher).item() == pytest.approx(1 - sum(cosines) / N, rel=1e-5)


def test_relations_do_not_depend_on_scale_place_or_turn():
    x = draw(STUDENT, 0).double()
    turn, _ = torch.linalg.qr(torch.randn(STUDENT, STUDENT, generator=torch.Generator().manual_seed(3)).double())
    moved = 4 * x @ turn + 2
    assert distance_loss(moved, x).item() < 1e-20
    assert angle_loss(moved, x).item() < 1e-20


def test_gradients_are_right_and_finite_for_equal_images():
    x, y = draw(STUDENT, 0).double().requires_grad_(), draw(TEACHER, 1).double()
    assert torch.autograd.gradcheck(lambda x: distance_loss(x, y) + angle_loss(x, y), x)
    same = torch.ones(3, STUDENT, requires_grad=True)
    (distance_loss(same, y[:3].float()) + angle_loss(same, y[:3].float())).backward()
    assert same.grad.isfinite().all()


def test_without_a_loss_nothing_would_be_learnt():
    from medssl.conformance import toy

    task = Task(
        feature_dim=toy.FEATURES, num_samples=8, target=Classes(("a", "b")), image_size=16, batch_size=4,
        total_steps=2, load_encoder=lambda _: toy.ToyTeacher(),
    )  # fmt: skip
    with pytest.raises(OptionError, match="all three losses"):
        Distill(Distill.Config(cosine=0, distance=0, angle=0), toy.ToyEncoder(), task)


# ----------------------------------------------------------------------------------------------------------- a teacher


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    import timm
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state = timm.create_model("test_resnet", num_classes=0).state_dict()
    save_file(state, path, metadata={"backbone": "test_resnet", "mean": "0.1,0.2,0.3", "std": "0.5,0.4,0.6"})
    return path


def test_teacher_gets_views_in_its_own_normalisation_and_size():
    from medssl.contracts import IMAGENET, EncoderCard, Preprocessing
    from medssl.train.encoder.building import build_encoder
    from medssl.train.encoder.given import GivenEncoder
    from medssl_encoders.timm import Timm

    encoder = build_encoder(Timm.of(backbone="test_resnet"), 48, seed=0)
    own = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.6))
    given = GivenEncoder(encoder, EncoderCard(preprocessing=own, image_size=48), IMAGENET)
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))

    def normalised(how):
        mean, std = (torch.tensor(value)[:, None, None] for value in (how.mean, how.std))
        return (images - mean) / std

    given.train()
    assert not any(module.training for module in given.modules())
    assert not any(parameter.requires_grad for parameter in given.parameters())
    torch.testing.assert_close(given(normalised(IMAGENET)), encoder(normalised(own)), atol=1e-5, rtol=1e-5)
    assert given(torch.zeros(2, 3, 20, 20)).shape == (2, encoder.feature_dim)


def test_run_learns_from_a_file_and_records_its_checksum(teacher, tmp_path, monkeypatch):
    import medssl
    from medssl.io.files import checksum
    from medssl.runs.pipeline import Place

    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    result = medssl.run(
        {"plugin": "distill", "teacher": str(teacher)},
        {"plugin": "phantom", "images_per_patient": 2, "size": 24},
        place=Place(output=tmp_path),
        encoder={"backbone": "test_resnet", "stem": "standard"},
        train={"epochs": 2, "batch_size": 16, "validate_every": 0},
        views={"image_size": 24},
        evaluators=["knn"],
        evaluate={"bootstrap": 20},
    )
    (used,) = result.values["pretrain"]["encoders"]
    assert used["sha256"] == checksum(teacher)
    assert str(tmp_path.parent) not in (result.path / "result.json").read_text()
    assert any("is not known" in words for words in result.data.warnings)
    before, after = (record.loss for record in result.history())
    assert after < before
