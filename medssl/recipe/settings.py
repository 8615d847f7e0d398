"""The settings of a run that do not belong to a plugin; each default states its source."""

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
        epochs: Number of passes over the training part.
        batch_size: Samples per step; the last, smaller batch of an epoch is dropped.
        optimizer: ``sgd``, ``adamw`` or ``lars``.
        learning_rate: Peak value; ``None`` stands for ``base_learning_rate * batch_size / 256``.
        base_learning_rate: Peak value at batch size 256. ``None`` stands for 0.24 with SGD (0.06 at batch 64, see the
            recorded results; lightly's Imagenette benchmark uses a quarter of it), 0.0005 with AdamW (DINO sec. 3.2)
            and 0.3 with LARS (SimCLR sec. 2.3).
        momentum: Momentum of SGD and LARS; the first beta of AdamW is fixed at 0.9.
        weight_decay: Weight decay; not applied to biases and normalisation layers.
        schedule: Learning rate after the warm-up: ``cosine`` decays to zero, ``constant`` stays at the peak.
        warmup_epochs: Epochs of linear warm-up from zero.
        batch_norm: ``per-view``: each view has its own statistics, as if encoded alone; ``joint``: all views share
            them.
        compile: Let PyTorch compile the encoder (``torch.compile``), which takes a minute at the start and, on a
            processor, needs a C++ compiler.
        validate_every: Number of epochs between two validations by k nearest neighbours; 0 turns validation off.
        keep: Which encoder is kept: that of the ``last`` epoch, or of the ``best`` validated epoch. If several epochs
            are equally good, the latest is kept.
    """

    epochs: PositiveInt = 100  # lightly's small-data benchmarks start at 200; half of it is feasible on a CPU
    batch_size: Annotated[int, Ge(2)] = 64  # the best value in the ICIP 2023 study
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"  # SimSiam sec. 4; LARS helps only large batches
    learning_rate: Positive | None = None
    base_learning_rate: Positive | None = None
    momentum: Fraction = 0.9  # SimSiam sec. 4
    weight_decay: NonNegative = 5e-4  # SimSiam appendix D (CIFAR-10); lightly's small-data benchmarks
    schedule: Literal["cosine", "constant"] = "cosine"  # SimCLR sec. 2.3
    warmup_epochs: NonNegative = 0.0  # not needed at these batch sizes (SimSiam sec. 4)
    batch_norm: Literal["per-view", "joint"] = "per-view"  # as in the methods' original code
    compile: bool = False  # measured: ResNet-18, 64 px, two cores: as fast without (docs/performance.md)
    validate_every: Annotated[int, Ge(0)] = 5
    keep: Literal["last", "best"] = "last"  # the methods' papers; the best of many epochs is partly chance


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Views. Any field of :class:`medssl.contracts.Augmentation` may also be set in a recipe's ``views`` section.

    Attributes:
        image_size: Side length of a full-size view, and of the image at evaluation, in pixels.
        augmentation: Name of an augmentation recipe; ``None`` stands for the dataset's.
        normalisation: ``imagenet``: channel means and standard deviations of ImageNet, which timm weights expect;
            ``half``: mean 0.5 and standard deviation 0.5.
    """

    image_size: Annotated[int, Ge(16)] = 64  # small images, small network: S3L, arXiv 2103.13559
    augmentation: str | None = None
    normalisation: Literal["imagenet", "half"] = "imagenet"


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The network that becomes the encoder.

    Attributes:
        backbone: Any timm model name.
        weights: Initial weights: a timm-format state dict (.safetensors, .pth, or an encoder of an earlier run);
            ``pretrained``: the weights that timm provides for this backbone, most trained on ImageNet; ``None``:
            random.
        stem: ``small``: 3 x 3 first convolution, stride 1, no max-pooling (SimCLR appendix B.9); ``standard``: the
            backbone's own; ``auto``: small for ResNets below 64 px. With weights, ``auto`` is the stem that they were
            trained with.
    """

    backbone: str = "resnet18"
    weights: Literal["pretrained"] | Path | None = None
    stem: Literal["auto", "small", "standard"] = "auto"


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How images become training, validation and test parts, and how many labels are used.

    Attributes:
        protocol: ``random``, ``grouped``, ``official``, ``kfold``, ``grouped-kfold`` or ``loso`` (leave one group out);
            ``None`` stands for the dataset's default.
        fractions: Fractions of the training, validation and test part (ICIP 2023 paper, sec. 3). If the test part is a
            fold or is given, the first two divide the rest.
        seed: Seed of the split alone, so that all seeds of a study use the same split.
        folds: How many folds ``kfold`` and ``grouped-kfold`` make.
        fold: Which fold is the test part, from 0; one run evaluates one fold.
        label_fraction: Fraction of the training and of the validation labels that is used; pre-training uses all
            images. The validation labels are reduced too, because with few labels there are also few to choose settings
            with (Oliver et al. 2018, arXiv 1804.09170, sec. 4.6).
        label_seed: Seed that selects those labels.
        of: Folder of an earlier run, or its ``splits.json``: its images keep their parts, and its protocol places new
            images. ``protocol``, ``fractions``, ``seed``, ``folds`` and ``fold`` are then ignored.
        pretrain_seed: Pre-train on the training part of the split with this seed instead. This is a leak, because that
            part contains test images, and the result says so. Use it only to measure the effect of the unseeded splits
            of the ICIP 2023 study.
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
    """Evaluation.

    Attributes:
        bootstrap: Number of resamples for the confidence intervals; 0 turns them off.
        confidence: Level of the confidence intervals.
        allow_seen: Also test on images that the encoder was trained on before this run, on their near-duplicates, and
            on images of the same groups; the result says so. If off, such images are an error.
        baseline: Also evaluate the encoder before training, so that the result shows the benefit of pre-training, at
            the cost of one more evaluation. A study that has the untrained encoder as a row leaves this out.
    """

    bootstrap: Annotated[int, Ge(0)] = 2000  # two stable digits of a percentile (Efron & Tibshirani 1993, ch. 13)
    confidence: Annotated[float, Ge(0.5), Lt(1)] = 0.95
    allow_seen: bool = False  # such a result measures memorisation
    baseline: bool = True  # an untrained encoder alone gives usable features (Saxe et al. 2011, ICML)
