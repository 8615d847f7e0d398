"""What a plugin is: the three contracts, and the types that pass between the core and a plugin.

A plugin is one class in one file plus one line of package metadata. It imports this module and :mod:`medssl.errors`
and nothing else of medssl. The core gives it everything else: files and splits, views, the training loop, devices and
precision, checkpoints, metrics, reports.

Shapes in this file: N samples in a batch or a set, V views of each, C channels, H x W pixels, F features, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from medssl.download import Source, download, unpack
from medssl.images import IMAGE_SUFFIXES, read_image

__all__ = [
    "IMAGE_SUFFIXES",
    "Augmentation",
    "Batch",
    "Dataset",
    "Encode",
    "Evaluator",
    "Features",
    "Fraction",
    "Method",
    "NonNegative",
    "Part",
    "Positive",
    "PositiveInt",
    "Predictor",
    "Sample",
    "Source",
    "Task",
    "ViewGroup",
    "ViewSpec",
    "download",
    "read_image",
    "unpack",
]

#: Option types for a plugin's ``Config``: a wrong value is refused before anything is downloaded or trained.
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
PositiveInt = Annotated[int, Gt(0)]

Part = Literal["train", "val", "test"]


# ---------------------------------------------------------------------------------------------------------- datasets


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image of a dataset, before it is read.

    Attributes:
        id: Unique in the dataset and the same on every machine; the path relative to the dataset's root, with forward
            slashes, where there are files.
        label: Position in ``Dataset.classes``; ``None`` for an image without a label, which is pre-trained on only.
        group: What must never be on both sides of a split (patient, slide, source image); ``None`` where not known.
        part: The part that the dataset's makers put it in; ``None`` where they made no parts.
    """

    id: str
    label: int | None = None
    group: str | None = None
    part: Part | None = None


class Dataset(ABC):
    """A set of labelled images that lies in one folder.

    The core calls, in this order: the constructor (cheap, touches no file), :meth:`samples`, :meth:`read` once per
    sample (from several threads at once). ``medssl fetch`` calls :meth:`fetch`.

    Attributes:
        Config: A frozen, keyword-only dataclass of this dataset's options, every one with a default.
        classes: Class names in their fixed order; ``Sample.label`` counts into them. May depend on the files; then it
            is a property.
        augmentation: Name of the augmentation recipe that suits the modality (``medssl show augmentations``).
        default_split: Split protocol used when the user names none: ``random``, ``grouped`` or ``official``.
        split_reason: One sentence: why that protocol is the default.
        group_kind: What a group is ("patient", "slide", "source tile"); ``None`` when groups are not known.

    Args:
        config: The options.
        root: Folder that holds the files in their official layout; it need not exist before :meth:`fetch`.
        facts: What the catalogue (``registry.yaml``, with the user's own file laid over it) says about this name:
            ``sources``, ``licence``, ``counts`` and so on. Empty for a dataset that no catalogue knows.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    classes: Sequence[str]
    augmentation: str = "natural"
    default_split: str = "random"
    split_reason: str = "no groups and no official parts are known"
    group_kind: str | None = None

    def __init__(self, config: Any, root: Path, facts: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.root = Path(root)
        self.facts: Mapping[str, Any] = facts or {}

    def fetch(self) -> None:
        """Bring the files to ``root``, verified; do nothing when they are there.

        Raises:
            DataError: The files cannot be had from here; the message says which file (name, size, checksum) to put
                where.
        """

    @abstractmethod
    def samples(self) -> list[Sample]:
        """List every sample, in an order that does not depend on the disk's.

        Raises:
            DataError: The folder is missing or holds something else; the message says what was expected where.
        """

    @abstractmethod
    def read(self, sample: Sample) -> np.ndarray:
        """Decode one image: ``(H, W, C)``, C 1 or 3, uint8 or uint16. Must be safe to call from several threads."""

    def path(self, sample: Sample) -> Path | None:
        """Return the file that holds this one image, or ``None`` when images do not lie in files of their own.

        The store keys its cache by these files' contents. Where this is ``None``, see :meth:`fingerprint`.
        """
        return None

    def fingerprint(self) -> str | None:
        """Return a text that changes whenever any pixel would, for datasets without a file per image.

        ``None`` (with :meth:`path` ``None`` too) makes the store decode every image again at each start.
        """
        return None


# ------------------------------------------------------------------------------------------------------------- views


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a random view is drawn from an image; named ones (``natural``, ``histology``, ``xray``) are in the catalogue.

    Operations apply in the order of the fields, as in SimCLR (Chen et al. 2020, appendix A) and torchvision; every
    sample draws its own parameters, and the four colour operations of the jitter come in a random order per sample.

    Attributes:
        crop_scale: Range of the crop's area as a fraction of the image's.
        crop_ratio: Range of the crop's width over its height, drawn log-uniformly.
        horizontal_flip: Probability.
        vertical_flip: Probability.
        rotate90: Probability of a rotation by 90, 180 or 270 degrees (equally likely).
        jitter: Probability that the four operations below are applied.
        brightness: Factor drawn from ``[max(0, 1 - x), 1 + x]``.
        contrast: Likewise.
        saturation: Likewise; nothing changes on a grey image.
        hue: Shift drawn from ``[-x, x]``, in turns of the colour circle, at most 0.5.
        greyscale: Probability.
        blur: Probability of a Gaussian blur.
        blur_sigma: Range of its standard deviation, in pixels of a 224 px view (scaled with the view's side).
        solarise: Probability of inverting the pixels at or above the threshold.
        solarise_threshold: Fraction of the full range.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    rotate90: Fraction = 0.0
    jitter: Fraction = 0.8
    brightness: NonNegative = 0.4
    contrast: NonNegative = 0.4
    saturation: NonNegative = 0.2
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.1
    greyscale: Fraction = 0.2
    blur: Fraction = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise: Fraction = 0.0
    solarise_threshold: Fraction = 0.5


@dataclass(frozen=True, kw_only=True)
class ViewGroup:
    """Some views of one size and one augmentation.

    Attributes:
        count: How many views.
        scale: Side length as a fraction of the recipe's image size (1.0: full size; 0.43 gives the 96 px of a 224 px
            multi-crop).
        augment: Fields of the augmentation recipe to replace, for instance ``{"solarise": 0.2}`` for one of two
            asymmetric views. Values the user sets win over these.
    """

    count: int = 2
    scale: float = 1.0
    augment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ViewSpec:
    """The views a method wants of each sample, in the order it receives them."""

    groups: tuple[ViewGroup, ...] = (ViewGroup(),)

    @property
    def count(self) -> int:
        """V, over all groups."""
        return sum(group.count for group in self.groups)


# ----------------------------------------------------------------------------------------------------------- methods


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a method may know about the work ahead when it builds its heads.

    Attributes:
        feature_dim: F, the width of the encoder's output.
        num_samples: Images in the training part.
        num_classes: K.
        image_size: Side of a full-size view in pixels.
        batch_size: N.
        total_steps: Optimizer steps of the whole run.
    """

    feature_dim: int
    num_samples: int
    num_classes: int
    image_size: int
    batch_size: int
    total_steps: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's data, on the device.

    Attributes:
        views: V tensors ``(N, C, H, W)``, normalised floating point, channels-last in memory.
        index: ``(N,)`` int64, position in the training part (``0 .. Task.num_samples - 1``).
        group: ``(N,)`` int64, equal for samples of one group; a sample without a group has a number of its own.
        label: ``(N,)`` int64, -1 for none; ``None`` unless ``Method.uses_labels``.
        generator: Seeded by (seed, step): the only source of random numbers a loss may use.
        step: Number of this optimizer step, from 0.
    """

    views: tuple[Tensor, ...]
    index: Tensor
    group: Tensor
    label: Tensor | None
    generator: torch.Generator
    step: int


class Encode(Protocol):
    """The encoder as a loss sees it: views of a size in one forward, each with BatchNorm statistics of its own."""

    def __call__(self, views: Sequence[Tensor], encoder: nn.Module | None = None) -> tuple[Tensor, ...]:
        """Encode V tensors ``(N, C, H, W)`` into V tensors ``(N, F)``.

        Args:
            views: Views to encode; they may differ in size.
            encoder: Another encoder of the same kind (a momentum teacher); ``None`` is the one in training. Wrap the
                call in ``torch.no_grad()`` for a teacher.
        """


class Method(nn.Module, ABC):
    """A self-supervised method: heads, a loss, and the views it wants. No loop, device, logging or checkpoint code.

    Everything stateful must be a parameter, a buffer or a submodule: that is what a resumed run restores.
    Submodules are moved to the device and trained together with the encoder; what must not be trained has
    ``requires_grad`` off. The loss is called with autocast disabled and float32 features.

    Attributes:
        Config: A frozen, keyword-only dataclass of this method's options; a comment beside each default names its
            source.
        uses_labels: Whether training labels arrive in the batch; the report says so.
        trains: Whether there is anything to train; a baseline that takes the encoder as it is sets this to ``False``.
        views: The views this method wants; may be set in the constructor from the options.

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
    trains: ClassVar[bool] = True
    views: ViewSpec = ViewSpec()

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


# -------------------------------------------------------------------------------------------------------- evaluators


@dataclass(frozen=True, kw_only=True)
class Features:
    """Frozen features of one part, with labels.

    Attributes:
        x: ``(N, F)`` float32.
        label: ``(N,)`` int64 in ``0 .. num_classes - 1``.
        num_classes: K, of the whole dataset: some classes may have no sample here.
    """

    x: Tensor
    label: Tensor
    num_classes: int

    def __len__(self) -> int:
        """N."""
        return len(self.x)


class Predictor(ABC):
    """What an evaluator makes of the training and validation parts.

    Attributes:
        selected: What was chosen on the validation part, and what came of it there: plain numbers and texts.
        also: Further predictors to score beside this one, by a short suffix; ``{"k200": ...}`` of the evaluator ``knn``
            is reported as ``knn_k200``.
        notes: Sentences the reader of the result must see ("k=200 is larger than the training part ...").
    """

    selected: Mapping[str, Any] = {}
    also: Mapping[str, Predictor] = {}
    notes: Sequence[str] = ()

    @abstractmethod
    def predict_proba(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` float32 to class probabilities ``(N, K)`` float32; rows sum to one."""


class Evaluator(ABC):
    """Turns frozen features into predictions. Sees no test label: the core computes every metric.

    Attributes:
        Config: A frozen, keyword-only dataclass of this evaluator's options.
        online: Whether it takes seconds at most, so that it can watch the validation part during pre-training.

    Args:
        config: The options.
        seed: For every random draw of the evaluator.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    online: ClassVar[bool] = False

    def __init__(self, config: Any, seed: int) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def fit(self, train: Features, val: Features) -> Predictor:
        """Learn from ``train``; choose every setting on ``val``."""
