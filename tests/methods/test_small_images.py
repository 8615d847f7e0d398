"""Every self-supervised method trains on small images alike in float32 and in bfloat16.

With a ResNet's standard stem the smallest views end in maps of one pixel, on which some processors compute wrong
gradients in bfloat16, see :mod:`medssl.train.machine.small_maps`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from medssl.conformance import toy
from medssl.contracts import Task
from medssl.recipe.settings import TrainSettings
from medssl.train.encoder.building import Encoder, build_encoder
from medssl.train.loop.trainer import Trainer
from medssl.train.machine.device import Precision
from medssl.train.machine.small_maps import find_small_maps
from medssl_encoders.timm import Timm

IMAGES, BATCH, EPOCHS, SIZES = 16, 8, 2, (28, 32, 48, 64)
RATES = {"BarlowTwins": 0.00001}  # its loss is a sum over millions of entries, some 500 here
PRECISIONS = [Precision(None, "test"), Precision(torch.bfloat16, "test")]
#: Those that need a second encoder are left out: the trainer alone cannot load one.
METHODS = sorted(
    point.name
    for point in entry_points(group="medssl.methods")
    if point.module.startswith("medssl_methods")
    and (kind := point.load()).trains
    and not kind.uses_labels
    and not kind.encoders
)


class Views:
    """Toy views in the sizes that a method asks for, the same for equal positions."""

    def __init__(self, method, side):
        self.images, _ = toy.stripes(IMAGES, seed=0, side=side)
        self.spec, self.side = method.views, side

    def __len__(self):
        return IMAGES

    def start_epoch(self, epoch):
        self.generator = torch.Generator().manual_seed(epoch)

    def __call__(self, positions, passes):
        sides = [round(self.side * group.scale) for group in self.spec.groups for _ in range(group.count)]
        return tuple(toy.draw_view(self.images[positions], self.generator, side) for side in sides)

    def geometry(self, positions, passes):
        whole = torch.eye(2, 3).expand(len(positions), 2, 3)
        return tuple(whole for group in self.spec.groups for _ in range(group.count)) if self.spec.geometry else None


def make_encoder(kind, side):
    if not kind.transformer_only:
        return build_encoder(Timm.of(backbone="test_resnet", stem="standard"), side, seed=0)
    torch.manual_seed(0)
    network = VisionTransformer(img_size=side, patch_size=4, embed_dim=48, depth=2, num_heads=2, num_classes=0)
    return Encoder(network, backbone_name="toy", image_size=side, feature_dim=48)


def train(kind, side, precision, folder):
    """Losses, weights, and the layers that ran in float32."""
    encoder = make_encoder(kind, side)
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=IMAGES,
        target=toy.target("classes"),
        image_size=side,
        batch_size=BATCH,
        total_steps=EPOCHS * IMAGES // BATCH,
    )
    torch.manual_seed(0)
    method = kind(kind.Config(), encoder, task)
    trainer = Trainer(
        encoder,
        method,
        Views(method, side),
        settings=TrainSettings(
            epochs=EPOCHS,
            batch_size=BATCH,
            learning_rate=RATES.get(kind.__name__, 0.001),
            warmup_epochs=0,
            validate_every=0,
        ),
        seed=0,
        device=torch.device("cpu"),
        precision=precision,
        groups=torch.arange(IMAGES),
        directory=folder,
        fingerprint="test",
    )
    history = trainer.fit()
    sides = [round(side * group.scale) for group in method.views.groups]
    weights = {name: value.detach() for module in (encoder, method) for name, value in module.named_parameters()}
    return [record.loss for record in history], weights, find_small_maps(encoder.network, sides, precision)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_trains_as_float32_does(name, tmp_path):
    (point,) = entry_points(group="medssl.methods", name=name)
    kind = point.load()
    for side in SIZES:
        found = []
        for precision in PRECISIONS:
            folder = tmp_path / f"{side}-{precision.name}"
            folder.mkdir()
            found.append(train(kind, side, precision, folder))
        (losses, weights, _), (rounded_losses, rounded, layers) = found
        for key, value in rounded.items():
            assert float((value - weights[key]).abs().max()) < 0.05, (side, key)
        assert rounded_losses == pytest.approx(losses, rel=0.1, abs=0.02), side
        assert bool(layers) == (name in {"dino", "lejepa", "swav"} and side <= 32)  # small views of 14 and 16 px
