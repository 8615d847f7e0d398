"""The settings of a run that are no plugin's own, each default with its source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from medssl.contracts import Fraction, NonNegative, Positive, PositiveInt

__all__ = [
    "EncoderSettings",
    "EvaluateSettings",
    "PrecisionName",
    "SplitSettings",
    "TrainSettings",
    "ViewSettings",
]

PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Pre-training.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Samples per step; the last, smaller batch of an epoch is dropped.
        optimizer: ``sgd``, ``adamw`` or ``lars``.
        learning_rate: Peak value; ``None``: ``base_learning_rate * batch_size / 256``.
        base_learning_rate: Peak value at batch size 256; ``None``: 0.24 for SGD (0.06 at batch 64, see the recorded
            results; lightly's Imagenette benchmark has a quarter of it), 0.0005 for AdamW (DINO sec. 3.2), 0.3 for LARS
            (SimCLR sec. 2.3).
        momentum: Of SGD and LARS; the first beta of AdamW is fixed at 0.9.
        weight_decay: Not applied to biases and normalisation layers.
        schedule: ``cosine`` to zero, or ``constant``, after the warm-up.
        warmup_epochs: Linear warm-up from zero.
        batch_norm: ``per-view``: each view has its own statistics, as if encoded alone; ``joint``: one set over all.
        compile: Let PyTorch compile the encoder (``torch.compile``), which takes a minute at the start and, on a
            processor, a C++ compiler.
        validate_every: Epochs between two validations by k nearest neighbours; 0 for none.
        keep: The encoder of the ``last`` epoch, or of the ``best`` validated one, the latest among equals.
    """

    epochs: PositiveInt = 100  # lightly's small-data benchmarks begin at 200; half of it fits a CPU
    batch_size: Annotated[int, Ge(2)] = 64  # the ICIP 2023 study's best
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"  # SimSiam sec. 4; LARS helps large batches only
    learning_rate: Positive | None = None
    base_learning_rate: Positive | None = None
    momentum: Fraction = 0.9  # SimSiam sec. 4
    weight_decay: NonNegative = 5e-4  # SimSiam appendix D (CIFAR-10); lightly's small-data benchmarks
    schedule: Literal["cosine", "constant"] = "cosine"  # SimCLR sec. 2.3
    warmup_epochs: NonNegative = 0.0  # not needed at these batch sizes (SimSiam sec. 4)
    batch_norm: Literal["per-view", "joint"] = "per-view"  # what the methods' own code does
    compile: bool = False  # measured: ResNet-18, 64 px, on two cores is as fast without (docs/performance.md)
    validate_every: Annotated[int, Ge(0)] = 5
    keep: Literal["last", "best"] = "last"  # the methods' papers; the best of many epochs is the luckiest


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Views; any field of :class:`medssl.contracts.Augmentation` may stand beside these in a recipe's ``views``.

    Attributes:
        image_size: Side of a full-size view, and of the image at evaluation, in pixels.
        augmentation: Name of an augmentation recipe; ``None``: the dataset's.
        normalisation: ``imagenet``: channel means and deviations of ImageNet, so that timm weights fit; ``half``:
            0.5 and 0.5.
    """

    image_size: Annotated[int, Ge(16)] = 64  # small images, small network: S3L, arXiv 2103.13559
    augmentation: str | None = None
    normalisation: Literal["imagenet", "half"] = "imagenet"


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The network that is kept.

    Attributes:
        backbone: Any timm model name.
        weights: A timm-format state dict (.safetensors, .pth, or an encoder of an earlier run); ``pretrained``: timm's
            own for this backbone, trained on ImageNet for most; ``None``: random.
        stem: ``small``: 3 x 3 first convolution, stride 1, no max-pooling (SimCLR appendix B.9); ``standard``;
            ``auto``: small below 64 px where the backbone is a ResNet; with weights, the stem they were trained with.
    """

    backbone: str = "resnet18"
    weights: Literal["pretrained"] | Path | None = None
    stem: Literal["auto", "small", "standard"] = "auto"


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How images become training, validation and test parts, and how many labels are used.

    Attributes:
        protocol: ``random``, ``grouped``, ``official``, ``kfold``, ``grouped-kfold``, ``loso``; ``None``: the
            dataset's default.
        fractions: Of the training, validation and test part (ICIP 2023 paper, sec. 3). Where the test part is a fold or
            given, the first two divide the rest.
        seed: Of the split alone, so that seeds of a study share one split.
        folds: How many folds ``kfold`` and ``grouped-kfold`` make.
        fold: Which fold is tested on, from 0; one run carries out one fold.
        label_fraction: Share of the training and of the validation labels that is used; all images stay in
            pre-training. Someone with few labels has few to choose settings with too (Oliver et al. 2018, arXiv
            1804.09170, sec. 4.6).
        label_seed: Of the choice of those labels.
        of: Folder of an earlier run, or its ``splits.json``: its images keep their parts, new ones are placed by its
            protocol. ``protocol``, ``fractions``, ``seed``, ``folds`` and ``fold`` are not read then.
        pretrain_seed: Pre-train on the training part of the split with this seed instead: a leak, since test images are
            among it, which the result says. Only to measure what the ICIP 2023 study's unseeded splits are worth.
    """

    protocol: str | None = None
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0
    folds: Annotated[int, Ge(2)] = 5  # Hastie, Tibshirani & Friedman 2009, sec. 7.10.1; as reported on BreaKHis
    fold: Annotated[int, Ge(0)] | None = None
    label_fraction: Annotated[float, Gt(0), Le(1)] = 1.0
    label_seed: int = 0
    of: Path | None = None
    pretrain_seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Scoring.

    Attributes:
        bootstrap: Resamples for the intervals; 0 for none.
        confidence: Of the intervals.
        allow_seen: Test also on images that the encoder was trained on before this run, or that are nearly the same or
            of the same group; the result says so. Otherwise they are an error.
        baseline: Evaluate the encoder before training too, so that the result says what pre-training has added, at the
            cost of one more evaluation. A study that has the untrained encoder as a row leaves it out.
    """

    bootstrap: Annotated[int, Ge(0)] = 2000  # two stable digits of a percentile (Efron & Tibshirani 1993, ch. 13)
    confidence: Annotated[float, Ge(0.5), Lt(1)] = 0.95
    allow_seen: bool = False  # such a number measures memory
    baseline: bool = True  # an untrained encoder alone gives usable features (Saxe et al. 2011, ICML)
