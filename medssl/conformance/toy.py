"""A problem that can be learned in a second, with its encoder, views and features.

A toy image shows stripes; their direction is its class. Every view has its own colour cast, contrast and noise, which
mislead the nearest neighbours of an untrained encoder in one case of three. Two views share only the stripes.

N images, V views, F features, K classes, S side length in pixels.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medssl.contracts import Features, Images, Method, Quantity, RestoreContext, Target
from medssl.contracts.targets import target_from_dict

if TYPE_CHECKING:
    from medssl.train.encoder.building import Encoder as Backbone

__all__ = [
    "CLASSES",
    "FEATURES",
    "LINEAR",
    "NEIGHBOURS",
    "SIDE",
    "ToyEncoder",
    "ToyTeacher",
    "accuracies",
    "draw_view",
    "encoder_for",
    "features",
    "image_part",
    "plant_unknown",
    "restore_context",
    "stripes",
    "target",
    "toy_truth",
]

FEATURES, SIDE, CLASSES = 32, 16, 3
NEIGHBOURS, LINEAR = "5 nearest neighbours", "a linear classifier"

# An untrained encoder classifies two of three of these images correctly, a trained one nearly all.
_CAST, _CONTRAST, _NOISE = 0.5, 0.4, 0.6


class ToyEncoder(nn.Module):
    """Convolutions of stride 2 with BatchNorm: ``(N, 3, H, W)`` of any size to ``(N, F)``.

    Args:
        feature_dim: F.
        depth: Number of convolutions, at least 2.
    """

    def __init__(self, feature_dim: int = FEATURES, depth: int = 2) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        middle = [part for _ in range(depth - 2) for part in _block(16, 16)]
        self.layers = nn.Sequential(*_block(3, 16), *middle, *_block(16, feature_dim))

    def dense(self, images: Tensor) -> Tensor:
        """Return the feature maps, ``(N, F, H / 4, W / 4)`` at depth 2, whose mean is the pooled output."""
        maps: Tensor = self.layers(images)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return the features ``(N, F)``."""
        return self.dense(images).mean(dim=(2, 3))


class ToyTeacher(nn.Module):
    """A frozen encoder that knows the direction of stripes: the shares of the gradients' squares and product.

    ``(N, 3, H, W)`` of any size to ``(N, 3)``.
    """

    feature_dim = 3

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the features ``(N, 3)``, scaled by the sum of squares."""
        grey = images.float().mean(dim=1)
        across, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
        found = torch.stack([across.square(), down.square(), across * down], dim=1).mean(dim=(2, 3))
        return found / found[:, :2].sum(dim=1, keepdim=True)


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def encoder_for(method: type[Method], feature_dim: int = FEATURES, depth: int = 2) -> ToyEncoder | Backbone:
    """Build an encoder that fits a method; its weights depend on torch's global seed.

    Args:
        method: The method's class.
        feature_dim: F of a convolutional encoder; a transformer is twice as wide.
        depth: Depth of a convolutional encoder.
    """
    if not method.transformer_only:
        return ToyEncoder(feature_dim, depth)
    from timm.models.vision_transformer import VisionTransformer  # noqa: PLC0415  (takes seconds; rarely needed)

    from medssl.train.encoder.building import Encoder as Wrapped  # noqa: PLC0415  (it imports timm)

    width = 2 * feature_dim  # a narrower one needs many more steps to learn
    network = VisionTransformer(
        img_size=SIDE, patch_size=4, embed_dim=width, depth=2, num_heads=2, num_classes=0, dynamic_img_size=True
    )
    return Wrapped(network, backbone_name="toy", image_size=SIDE, feature_dim=width)


def stripes(n: int, seed: int, present: int = CLASSES, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Draw images ``(n, 3, S, S)`` in [-1, 1] and their classes ``(n,)``: stripes in three directions.

    Args:
        n: Number of images.
        seed: Seed of their phase, and of their direction within ten degrees.
        present: Number of classes that occur.
        side: S; two stripes fit into it, so views of half the side still show one.
    """
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % present
    angle = (label + 0.3 * (torch.rand(n, generator=generator) - 0.5)) * math.pi / CLASSES
    phase = 2 * math.pi * torch.rand(n, generator=generator)
    axis = 4 * math.pi / side * torch.arange(side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    across, down, phase = (value[:, None, None] for value in (angle.cos(), angle.sin(), phase))
    return torch.sin(across * x + down * y + phase)[:, None].repeat(1, 3, 1, 1), label


def draw_view(images: Tensor, generator: torch.Generator, side: int | None = None) -> Tensor:
    """Draw a view ``(N, 3, side, side)`` of each whole image, with a random colour cast, contrast and noise."""
    n = len(images)
    if side is not None and side != images.shape[3]:
        images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    contrast = torch.exp(_CONTRAST * torch.randn(n, 1, 1, 1, generator=generator))
    colour = _CAST * torch.randn(n, 3, 1, 1, generator=generator)
    return contrast * images + colour + _NOISE * torch.randn(images.shape, generator=generator)


def accuracies(encoder: nn.Module) -> dict[str, float]:
    """Classify 240 new views with the features of 240 others; return the accuracy of each classifier.

    A ridge regression on the classes, and a vote of the 5 nearest by cosine similarity, both on standardised features.
    """
    (train, train_label), (test, test_label) = (_embedded(encoder, seed) for seed in (101, 102))
    mean, deviation = train.mean(dim=0), train.std(dim=0) + 1e-6
    a, b = ((x - mean) / deviation for x in (test, train))
    classes = F.one_hot(train_label, CLASSES)
    nearest = (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).topk(5, dim=1).indices
    ridge = 0.1 * len(b) * torch.eye(b.shape[1])
    votes = {
        NEIGHBOURS: classes[nearest].sum(dim=1),
        LINEAR: a @ torch.linalg.solve(b.T @ b + ridge, b.T @ (classes - 1 / CLASSES)),
    }
    return {name: float((vote.argmax(dim=1) == test_label).float().mean()) for name, vote in votes.items()}


@torch.no_grad()
def _embedded(encoder: nn.Module, seed: int) -> tuple[Tensor, Tensor]:
    images, label = stripes(240, seed)
    was_training = encoder.training
    encoder.eval()
    x = encoder(draw_view(images, torch.Generator().manual_seed(seed)))
    encoder.train(was_training)
    return x, label


# -------------------------------------------------------------------------------------------- what evaluators are given


_NAMES = tuple(f"toy {k}" for k in range(CLASSES))
_HIDDEN = 5, 3  # of every 5 samples that have a finding, in 3 it is unknown


def target(kind: str) -> Target:
    """Return a toy target: three classes, grades or findings, or the number of the class as a quantity."""
    if kind == "quantity":
        return Quantity("toys").with_edges(list(range(CLASSES)))
    of_names: Target = target_from_dict({"kind": kind, "names": _NAMES})
    return of_names


def toy_truth(kind: str, label: Tensor) -> Tensor:
    """Return what toys of some classes ``(n,)`` are labelled with, all of it known.

    Classes and grades are the class's number, a finding is present in toys of its class alone, and the quantity is the
    class's number.
    """
    if kind == "findings":
        return F.one_hot(label, CLASSES).float()
    return label.float() if kind == "quantity" else label


def plant_unknown(y: Tensor) -> Tensor:
    """Make most of the findings that are present unknown; an evaluator that reads them as absent then finds hardly any.

    Classes, grades and quantities stay as they are, because an evaluator is given none that is unknown.
    """
    if y.ndim == 1:
        return y
    every, hidden = _HIDDEN
    y = y.clone()
    for column in y.T:
        present = column.nonzero()[:, 0]
        column[present[(torch.arange(len(present)) % every) < hidden]] = torch.nan
    return y


def features(n: int, seed: int, present: int = CLASSES, kind: str = "classes") -> Features:
    """Draw one Gaussian blob per class, three standard deviations from the origin, each along a different axis.

    Blobs of grades lie on one axis in their order, three standard deviations apart.

    Args:
        n: Number of samples.
        seed: Seed of the draw.
        present: Number of classes that have samples.
        kind: Kind of the target; most of the findings that are present are unknown.
    """
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % present
    x = torch.randn(n, FEATURES, generator=generator)
    if kind == "grades":
        x[:, 0] += 3.0 * label
    else:
        x[torch.arange(n), label] += 3.0
    return Features(x=x, y=plant_unknown(toy_truth(kind, label)), target=target(kind))


def image_part(n: int, seed: int, present: int = CLASSES, kind: str = "classes") -> Images:
    """Draw toy images; the encoder is the same each time. Arguments as of :func:`features`."""
    images, label = stripes(n, seed, present)
    fixed = draw_view(images, torch.Generator().manual_seed(seed))
    encoder = _toy_encoder()

    def augmented(epoch: int, positions: Tensor) -> Tensor:
        drawn = draw_view(images, torch.Generator().manual_seed(1000 * seed + epoch))
        return drawn[positions]

    return Images(
        y=plant_unknown(toy_truth(kind, label)),
        target=target(kind),
        plain=lambda positions: fixed[positions],
        augmented=augmented,
        encoder=encoder,
        feature_dim=FEATURES,
        autocast=nullcontext,
    )


def restore_context(kind: str) -> RestoreContext:
    """Return the encoder of :func:`image_part` and the target of a kind, to restore a kept predictor."""
    return RestoreContext(target=target(kind), encoder=_toy_encoder(), feature_dim=FEATURES, autocast=nullcontext)


def _toy_encoder() -> ToyEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ToyEncoder()
