"""The contract of a method: heads, a loss, and the views it needs.

N samples in a batch, V views of each, C channels, H x W pixels, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from medssl.contracts.first_edition import Renamed
from medssl.contracts.targets import TARGETS, Target
from medssl.contracts.views import ViewSpec
from medssl.errors import TrainingError

__all__ = ["Batch", "Encode", "Method", "Task"]


def _no_encoder(name: str) -> nn.Module:
    raise TrainingError(f"the encoder '{name}' cannot be loaded outside a run. Start the method with medssl.run.")


@dataclass(frozen=True, kw_only=True)
class Task(Renamed):
    """The facts that a method may use to build its heads.

    Attributes:
        feature_dim: F, the width of the encoder's output.
        num_samples: Images in the training part.
        target: The target of the samples.
        image_size: Side of a full-size view in pixels.
        batch_size: N; a method with a ``labelled_share`` may get fewer samples in each step.
        total_steps: Optimizer steps of the whole run.
        load_encoder: Loads another encoder with its weights, for instance a teacher, by a name as ``--encoder`` takes
            it. The module is on the run's device, frozen and in evaluation mode. It takes the views of the run
            ``(N, C, H, W)`` and returns ``(N, F')``; ``feature_dim`` is F'. Keep it in a tuple, so that torch does not
            register it and saved states stay small. Name the options with such names in :attr:`Method.encoders`.
        y: Values of the training part, in the order of ``Batch.index``, with -1 or NaN if unknown; ``None`` unless
            ``Method.uses_labels``.
    """

    feature_dim: int
    num_samples: int
    target: Target
    image_size: int
    batch_size: int
    total_steps: int
    load_encoder: Callable[[str], nn.Module] = field(default=_no_encoder, compare=False, repr=False)
    y: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Batch(Renamed):
    """One step's data, on the device.

    Attributes:
        views: V tensors ``(N, C, H, W)``, normalised floating point, channels-last in memory.
        index: ``(N,)`` int64, position in the training part (``0 .. Task.num_samples - 1``).
        group: ``(N,)`` int64, equal for samples of one group; a sample without a group has a unique number.
        y: Values of the samples, as encoded by ``Task.target``, with -1 or NaN if unknown (see
            :mod:`medssl.contracts.targets`); ``None`` unless ``Method.uses_labels``.
        generator: Seeded by (seed, step): the only source of random numbers a loss may use.
        step: Number of this optimizer step, from 0.
        geometry: V tensors ``(N, 2, 3)`` float32, the affine map from a view's coordinates (x, y, 1) to its image's,
            both in [-1, 1] from the left and upper edge to the right and lower one; ``None`` unless
            ``ViewSpec.geometry``.
    """

    views: tuple[Tensor, ...]
    index: Tensor
    group: Tensor
    y: Tensor | None
    generator: torch.Generator
    step: int
    geometry: tuple[Tensor, ...] | None = None


class Encode(Protocol):
    """The encoder for a loss: one forward pass per view size, with separate BatchNorm statistics per view."""

    def __call__(
        self,
        views: Sequence[Tensor],
        encoder: nn.Module | None = None,
        *,
        dense: bool = False,
        beside: Sequence[Tensor] = (),
    ) -> tuple[Tensor, ...]:
        """Encode V tensors ``(N, C, H, W)`` into V tensors ``(N, F)``, float32.

        On several devices, each encodes some of the N rows. The features are those of all rows on every device.

        Args:
            views: Views to encode; they may differ in size.
            encoder: Another encoder of the same kind (a momentum teacher); ``None`` is the one in training. Wrap the
                call in ``torch.no_grad()`` for a teacher. Any module around the encoder is allowed if it returns one
                row per image; its output is returned as float32.
            dense: Return feature maps ``(N, F, h, w)`` instead. Their mean over h and w equals the pooled features if
                the encoder uses average pooling, like ResNets, but not transformers with a class token.
            beside: V tensors ``(N, ...)``, for instance masks: the encoder is called with a view and the one beside it.
                Do not keep values of single images in the module instead, because a device has only some of the images.

        Raises:
            OptionError: The encoder has no feature maps with the width of its pooled features.
        """


class Method(nn.Module, ABC):
    """A self-supervised method: heads, a loss and views, without loop, device, logging or checkpoint code.

    All state must be in parameters, buffers or submodules, because only these are restored in a resumed run. Submodules
    are moved to the device and trained together with the encoder; set ``requires_grad`` to ``False`` for parameters
    that must not be trained. The loss is called with autocast disabled and float32 features.

    Attributes:
        Config: A frozen, keyword-only dataclass of this method's options; a comment at each default gives its source.
        uses_labels: Whether the batch has training labels; the report states this.
        labelled_share: Share of each batch that is drawn from the samples with a known value, if it uses labels; the
            rest is drawn from all samples. 1: it trains on the labelled ones alone. 0: all samples are alike, and few
            labels mean batches with few of them or none. An epoch has as many steps as without a share, and goes over
            the labelled samples several times, each time with other views. With too few, a batch is smaller.
        targets: The kinds of targets it can train on, of those in :data:`medssl.contracts.targets.TARGETS`.
        trains: Whether anything is trained; ``False`` for a baseline that uses the encoder without training.
        transformer_only: Whether it works on timm's vision transformers only; the conformance kit then checks it on a
            small one.
        needs_weights: Whether the encoder must start from given weights, because random weights would make the method's
            name wrong.
        encoders: Options that name another encoder; the core checks its licence and its training images.
        views: The views this method needs; the constructor may set them from the options.
        ranges: Ranges in which a search looks for options, by option: ``{"temperature": "0.05..0.5:log"}``. Values
            separated by commas are a list.

    Args:
        config: The options.
        encoder: The network in training: ``(N, C, H, W)`` to ``(N, F)``. Most methods leave it alone. One that keeps a
            copy (a teacher) copies it here.
        task: Sizes of the work ahead.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    uses_labels: ClassVar[bool] = False
    labelled_share: ClassVar[float] = 0.0
    targets: ClassVar[tuple[str, ...]] = tuple(TARGETS)
    trains: ClassVar[bool] = True
    needs_weights: ClassVar[bool] = False
    transformer_only: ClassVar[bool] = False
    encoders: ClassVar[tuple[str, ...]] = ()
    views: ViewSpec = ViewSpec()
    ranges: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Any, encoder: nn.Module, task: Task) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the scalar float32 loss of one batch."""

    def after_step(self, step: int, total_steps: int) -> None:
        """Run after each optimizer step; ``step`` counts from 1. For momentum teachers and the like."""

    def forward(self, batch: Batch, encode: Encode) -> Tensor:
        """Same as :meth:`loss`, so that wrappers which call a module work."""
        return self.loss(batch, encode)


class AsGiven(Method):
    """The method ``none`` of a recipe: nothing is trained, and the encoder keeps its given weights."""

    trains: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = True

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Raise an error, because there is nothing to train.

        Raises:
            TrainingError: Always.
        """
        raise TrainingError("the method 'none' trains nothing. It does not change the encoder. Choose another.")
