"""The network of a run as one module, from images with values from 0 to 1 to predictions or features.

N images, S side length of an image in pixels, F features, O outputs of the target.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from medssl.catalog import load_catalog
from medssl.contracts.kinds import DATASET
from medssl.data.listing import index
from medssl.data.loading import open_dataset
from medssl.data.views.normalisation import statistics
from medssl.errors import DataError, OptionError
from medssl.export.embedding import open_views
from medssl.export.images import as_dataset
from medssl.export.model import TrainedModel
from medssl.recipe import choose
from medssl.results.privacy import read_desk, restored
from medssl.train.machine.machine import Machine

__all__ = ["ExportedNetwork", "exported_network", "real_images"]


class ExportedNetwork(nn.Module):
    """Normalisation, encoder and, if any, head: ``(N, 3, S, S)`` from 0 to 1 to ``(N, O)`` or ``(N, F)``.

    Args:
        body: From normalised images to features, or to predictions.
        head: From features to predictions; ``None``: there is none.
        scale: Multiplies images, ``(3, 1, 1)``.
        shift: Is then subtracted, ``(3, 1, 1)``.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, body: nn.Module, head: nn.Module | None, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, images: Tensor) -> Tensor:
        """Compute predictions, or features if there is no head."""
        x: Tensor = self.body(images * self.scale - self.shift)
        return x if self.head is None else self.head(x)


def exported_network(model: TrainedModel, evaluator: str | None) -> ExportedNetwork:
    """Build the module, in float32 on the CPU and in evaluation mode.

    Args:
        model: The run.
        evaluator: Name of a predictor; ``None``: the encoder alone.

    Raises:
        OptionError: The predictor has no form of standard layers.
    """
    encoder = model.encoder.to("cpu").eval()
    scale, shift = statistics(encoder.preprocessing, torch.device("cpu"))
    if evaluator is None:
        return ExportedNetwork(_plain(encoder.network), None, scale, shift).eval()
    name = model.choose_evaluator(evaluator)
    module = model.restored(name).module()
    if module is None:
        raise OptionError(
            f"the predictor '{name}' has no form of standard layers (a vote of neighbours has none), so it cannot be "
            "exported. Export the encoder alone, or a linear predictor of the run."
        )
    if model.heads.by_name[name].needs == "images":
        return ExportedNetwork(_plain(module), None, scale, shift).eval()
    return ExportedNetwork(_plain(encoder.network), module, scale, shift).eval()


def _plain(network: nn.Module) -> nn.Module:
    """Copy a network, without the precautions for bfloat16, which an export does not use."""
    copied = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)
    for layer in copied.modules():
        vars(layer).pop("forward", None)
    return copied.requires_grad_(requires_grad=False)


def real_images(model: TrainedModel, given: Sequence[Path], count: int, part: str = "test") -> Tensor:
    """Return real images as the exported network takes them, ``(n, 3, S, S)`` from 0 to 1.

    Args:
        model: The run.
        given: Image files or folders; empty: images of the run's own dataset.
        count: At most this many, evenly spaced.
        part: Part of the run's split, if nothing is given.

    Raises:
        DataError: The run's images are not where they were.
    """
    encoder, catalog = model.encoder, load_catalog()
    if given:
        dataset = as_dataset(list(given), catalog, None)
        samples = list(index(dataset).samples)
    else:
        desk = read_desk(model.run.path / "desk.json")
        recipe: Any = restored(model.run.recipe[DATASET.section], desk)
        try:
            chosen = choose(DATASET.name, recipe["plugin"], recipe, catalog)
            dataset = open_dataset(chosen, catalog, None if desk.directory is None else Path(desk.directory))
            names = set(getattr(model.run.split(), part))
            samples = [sample for sample in index(dataset).samples if sample.id in names]
        except DataError as error:
            raise DataError(f"{error} An export is checked on real images. Name some with --images.") from error
    if not samples:
        raise DataError("there is no image on which the export could be checked. Name some with --images.")
    step = max(1, len(samples) // count)
    samples = samples[::step][:count]
    scale, shift = statistics(encoder.preprocessing, torch.device("cpu"))
    with TemporaryDirectory(prefix="medssl-") as cache:
        store, views = open_views(
            encoder, dataset, samples, Machine.choose("cpu", "float32"), cache=Path(cache), on_bad_image="skip"
        )
        normal = views(torch.arange(len(store)))
    return ((normal + shift) / scale).clamp(0, 1).contiguous()
