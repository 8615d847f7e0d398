"""The settings of a run that do not belong to a plugin; each default states its source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from medssl.contracts import Fraction, NonNegative, Positive
from medssl.recipe.operating_rule import OperatingRule

__all__ = ["EvaluateSettings", "PrecisionName", "SplitSettings", "TrainSettings", "ViewSettings"]

PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]

_MOST = 1_000_000  # of epochs, resamples and the like: more is a slip of the keyboard, and would run for years
_Count = Annotated[int, Ge(0), Le(_MOST)]
_Positive = Annotated[int, Ge(1), Le(_MOST)]
_Seed = Annotated[int, Ge(0), Lt(2**63)]


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
        batch_norm_devices: Statistics of one training on several devices: over the rows of ``all`` devices, as one
            device would have them, or of ``each`` device alone, which needs no exchange in each layer but depends on
            the number of devices.
        compile: Let PyTorch compile the encoder (``torch.compile``), which takes a minute at the start and, on a
            processor, needs a C++ compiler.
        validate_every: Number of epochs between two validations by k nearest neighbours; 0 turns validation off.
        keep: Which encoder is kept: that of the ``last`` epoch, or of the ``best`` validated epoch, the one with the
            lowest Brier score on the validation part. If several epochs are equally good, the latest is kept.
        last_blocks: Train only the last blocks of the encoder, this many, and what follows them; the others keep their
            given weights. ``None``: train all.
        layer_decay: Factor of the learning rate from one block to the block before it; 1: all have the same.
        lora_rank: Rank of low-rank adapters (LoRA), trained beside the frozen weights of the encoder; 0: none.
        lora_alpha: The adapters are scaled by ``lora_alpha / lora_rank``; ``None`` stands for the rank.
        lora_layers: Which layers of the blocks get adapters: those of the ``attention``, or ``all`` linear layers and
            convolutions.
        LATER: Settings that are left out of a recipe while they have their default, so that recipes of earlier versions
            keep their key.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"batch_norm_devices", "last_blocks", "layer_decay", "lora_rank", "lora_alpha", "lora_layers"}
    )

    epochs: _Positive = 100  # lightly's small-data benchmarks start at 200; half of it is feasible on a CPU
    batch_size: Annotated[int, Ge(2), Le(_MOST)] = 64  # the best value in the ICIP 2023 study
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"  # SimSiam sec. 4; LARS helps only large batches
    learning_rate: Positive | None = None
    base_learning_rate: Positive | None = None
    momentum: Fraction = 0.9  # SimSiam sec. 4
    weight_decay: NonNegative = 5e-4  # SimSiam appendix D (CIFAR-10); lightly's small-data benchmarks
    schedule: Literal["cosine", "constant"] = "cosine"  # SimCLR sec. 2.3
    warmup_epochs: Annotated[float, Ge(0), Le(_MOST)] = 0.0  # not needed at these batch sizes (SimSiam sec. 4)
    batch_norm: Literal["per-view", "joint"] = "per-view"  # as in the methods' original code
    batch_norm_devices: Literal["all", "each"] = "all"  # the number of devices does not change the method
    compile: bool = False  # measured: ResNet-18, 64 px, two cores: as fast without (docs/performance.md)
    validate_every: _Count = 5
    keep: Literal["last", "best"] = "last"  # the methods' papers; the best of many epochs is partly chance
    last_blocks: _Positive | None = None  # the methods' papers train all
    layer_decay: Annotated[float, Gt(0), Le(1)] = 1.0  # the methods' papers
    lora_rank: _Count = 0  # the methods' papers
    lora_alpha: Positive | None = None  # LoRA (arXiv 2106.09685), sec. 4.1: the first rank that was tried
    lora_layers: Literal["attention", "all"] = "attention"  # LoRA sec. 4.2


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Views. Any field of :class:`medssl.contracts.Augmentation` may also be set in a recipe's ``views`` section.

    Attributes:
        image_size: Side length of a full-size view, and of the image at evaluation, in pixels. An encoder that was
            trained on images of one size has that size as its default.
        augmentation: Name of an augmentation recipe; ``None`` stands for the dataset's.
    """

    image_size: Annotated[int, Ge(16), Le(8192)] = 64  # small images, small network: S3L, arXiv 2103.13559
    augmentation: str | None = None


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How images become training, validation and test parts, and how many labels are used.

    Attributes:
        protocol: ``random``, ``grouped``, ``official``, ``kfold``, ``grouped-kfold``, ``loso`` (leave one group out) or
            ``site`` (leave one site out); ``None`` stands for the dataset's default.
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
        groups: Table with the columns ``path`` and ``group``, as ``medssl audit --groups FILE`` writes it; its groups
            replace those of the dataset.
        LATER: Settings that are left out of a recipe while they have their default, so that recipes of earlier versions
            keep their key.
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"groups"})

    protocol: str | None = None
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: _Seed = 0
    folds: Annotated[int, Ge(2), Le(10_000)] = 5  # Hastie, Tibshirani & Friedman 2009, sec. 7.10.1; BreaKHis
    fold: Annotated[int, Ge(0)] | None = None
    label_fraction: Annotated[float, Gt(0), Le(1)] = 1.0
    label_seed: _Seed = 0
    of: Path | None = None
    pretrain_seed: _Seed | None = None
    groups: Path | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Evaluation.

    Attributes:
        bootstrap: Number of resamples for the confidence intervals; 0 turns them off.
        confidence: Level of the confidence intervals.
        operating_point: How the decision threshold is chosen on the validation part: ``youden`` (largest sum of
            sensitivity and specificity), ``sensitivity>=0.95`` (then the largest specificity), ``specificity>=0.9``, or
            ``cost=5:1`` (a miss costs five times as much as a false alarm; the smallest total cost).
        allow_seen: Also test on images that the encoder was trained on before this run, on their near-duplicates, and
            on images of the same groups; the result says so. If off, such images are an error.
        baseline: Also evaluate the encoder before training, so that the result shows the benefit of pre-training, at
            the cost of one more evaluation. A study that has the untrained encoder as a row leaves this out.
        unit: What the answer is about: ``image``, or ``group`` (patient, slide) where some group has several images.
            Tables show its scores first, and differences are tested for it. The result has the scores of both.
        pooling: How the predictions of a group's images become one: ``mean``, ``top-k``, ``max`` or ``noisy-or``;
            ``None``: the one with the smallest log loss on the validation part.
        subgroups: Columns by whose values the test part is also scored, such as ``sex``: facts that the dataset knows.
            The sites are always among them, if there are several.
        positive: Which of two classes is the positive one, by name: sensitivity, predictive values, average precision,
            net benefit and operating points are about it; ``None``: the second, or the first if the second is
            named like the class without the disease (``normal``, ``No Finding``).
        prior: Expected frequency of each class where the model is used, in the order of the classes. The result then
            also has the scores of the probabilities corrected for it.
        least_groups: Smallest number of groups (images, where groups are not known) for which a subgroup's scores are
            shown; with fewer, only the counts are.
        closed: Keep the test part closed: no test image is encoded, and all scores are of the validation part, on which
            the evaluators also chose their settings. For searches (``medssl tune``).
        compared: Number of settings that were compared on the validation part before this run; the result says it.
        LATER: Settings that are left out of a recipe while they have their default, so that recipes of earlier versions
            keep their key.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"unit", "pooling", "subgroups", "least_groups", "closed", "compared", "operating_point", "prior", "positive"}
    )

    bootstrap: _Count = 2000  # two stable digits of a percentile (Efron & Tibshirani 1993, ch. 13)
    confidence: Annotated[float, Ge(0.5), Lt(1)] = 0.95
    operating_point: str = "youden"  # needs no costs or bounds, which only the user knows (Youden 1950, Cancer 3)
    allow_seen: bool = False  # such a result measures memorisation
    baseline: bool = True  # an untrained encoder alone gives usable features (Saxe et al. 2011, ICML)
    unit: Literal["image", "group"] = "image"  # as in the literature on these data sets
    pooling: Literal["mean", "top-k", "max", "noisy-or"] | None = None  # which one fits depends on the disease
    subgroups: tuple[str, ...] = ()
    closed: bool = False
    compared: _Positive = 1
    positive: str | None = None  # the second as in scikit-learn, but not the class without the disease
    prior: tuple[Fraction, ...] = ()
    least_groups: _Positive = 10  # ours; intervals are too narrow with 5 to 30 groups: Cameron et al. 2008, table 2

    def __post_init__(self) -> None:
        """Check the rule of the operating point.

        Raises:
            ValueError: It is not a rule.
        """
        OperatingRule.parse(self.operating_point)
