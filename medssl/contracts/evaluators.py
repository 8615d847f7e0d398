"""The contract of an evaluator: it turns a frozen encoder into predictions, rankings or measurements.

An evaluator learns from the training part and chooses settings on the validation part. The returned object is then
applied to the test part, without labels. Only the core has the test labels and computes the metrics. The core also asks
a predictor for the validation part, on which it chooses decision thresholds.

N samples of a part, F features, O outputs of the target, S side of an image in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray
from torch import Tensor, nn

from medssl.contracts.first_edition import Renamed, refuse_old_predictor
from medssl.contracts.targets import Target

__all__ = [
    "Evaluator",
    "Features",
    "Images",
    "Kept",
    "Observation",
    "Observer",
    "Outcome",
    "Predictor",
    "Ranker",
    "RestoreContext",
]


@dataclass(frozen=True, kw_only=True)
class Features(Renamed):
    """Frozen features of one part, with labels.

    Attributes:
        x: ``(N, F)`` float32.
        y: Values of the samples, as encoded by the target (see :mod:`medssl.contracts.targets`):
            ``(N,)`` int64 of classes and grades, all of them known; ``(N, O)`` float32 of findings, NaN where one is
            unknown; ``(N,)`` float32 of a quantity.
        target: Target of the whole dataset; some classes may have no sample here.
        groups: ``(N,)`` int64, equal within a group (patient, slide); a sample without a group has a unique number.
            ``None`` if no group is known.
    """

    x: Tensor
    y: Tensor
    target: Target
    groups: Tensor | None = None

    def __len__(self) -> int:
        """N."""
        return len(self.x)


@dataclass(frozen=True, kw_only=True)
class Images(Renamed):
    """Images of one part, with labels and the pre-trained encoder, for an evaluator with ``needs = "images"``.

    Attributes:
        y: Values of the samples, as in :class:`Features`.
        target: Target of the whole dataset.
        plain: Maps positions ``(n,)`` int64 on the CPU to images ``(n, 3, S, S)`` on the device, as in evaluation.
        augmented: Maps an epoch (from 0) and positions to one random view each, ``(n, 3, S, S)``.
        encoder: A copy of the pre-trained encoder on its device, ``(n, 3, S, S)`` to ``(n, F)``; the evaluator may
            train it. In a run, ``network`` is the network, and ``blocks`` holds the names of its blocks.
        feature_dim: F.
        autocast: Opens a context in which the encoder computes in the run's precision.
    """

    y: Tensor
    target: Target
    plain: Callable[[Tensor], Tensor]
    augmented: Callable[[int, Tensor], Tensor]
    encoder: nn.Module
    feature_dim: int
    autocast: Callable[[], AbstractContextManager[Any]]

    def __len__(self) -> int:
        """N."""
        return len(self.y)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A fitted predictor as plain data, so that it can predict new images after the run.

    The run writes it to ``heads.safetensors``. It holds no Python objects, so a file cannot run code.

    Attributes:
        tensors: Tensors by name. A tensor that several predictors of a run share is written once.
        settings: Everything else, as JSON values: numbers, texts, and lists and dicts of them.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RestoreContext:
    """The objects of a run with which :meth:`Evaluator.restore` rebuilds a predictor.

    Attributes:
        target: Target of the run.
        encoder: A copy of the run's encoder on its device, ``(n, 3, S, S)`` to ``(n, F)``; the evaluator may change it.
        feature_dim: F.
        autocast: Opens a context in which the encoder computes in the run's precision.
    """

    target: Target
    encoder: nn.Module
    feature_dim: int
    autocast: Callable[[], AbstractContextManager[Any]]


class Outcome:
    """What :meth:`Evaluator.fit` returns: a :class:`Predictor`, a :class:`Ranker` or an :class:`Observer`.

    Attributes:
        selected: Settings chosen on the validation part, and their scores there: plain numbers and texts.
        also: Further outcomes to score, by a short suffix: ``{"k200": ...}`` is reported under the evaluator's name,
            followed by ``_k200``.
        notes: Sentences the reader of the result must see ("k=200 is larger than the training part ...").
    """

    selected: Mapping[str, Any] = {}
    also: Mapping[str, Outcome] = {}
    notes: Sequence[str] = ()


class Predictor(Outcome, ABC):
    """Predicts the target; scored by the target's metrics."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        refuse_old_predictor(cls)

    @abstractmethod
    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` float32 to predictions ``(N, O)`` float32.

        For classes and grades: probabilities, rows sum to one. For findings: the independent probability of each. For a
        quantity: one number in its unit.

        For an evaluator with ``needs = "images"``, ``x`` is a batch of images ``(N, 3, S, S)`` on the device.
        """

    def predict_groups(self, x: Tensor, groups: Tensor) -> Tensor | None:
        """Predict groups of images, such as patients, from all images of each.

        ``None``, the default: the core pools the predictions of the images. Otherwise ``(G, O)``, one row for each
        group in ascending order of its number; the core scores it beside :meth:`predict`.

        Args:
            x: Features ``(N, F)``.
            groups: ``(N,)`` int64, the group of each image.
        """
        return None

    def keep(self) -> Kept | None:
        """Return the data from which :meth:`Evaluator.restore` builds an equal predictor.

        ``None``, the default: this predictor cannot be kept, and ``medssl predict`` cannot use it.
        """
        return None

    def module(self) -> nn.Module | None:
        """Return :meth:`predict` as a module of standard layers, for exports to other formats.

        ``None``, the default: it has no such form, as a vote of neighbours. The module takes features ``(N, F)`` and
        returns predictions ``(N, O)``.
        """
        return None


class Ranker(Outcome, ABC):
    """Ranks the training samples by likeness; scored by mean average precision and recall."""

    @abstractmethod
    def rank(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to ``(N, M)`` int64: all M training samples, the most alike first."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The measurements of an observer.

    Attributes:
        values: Plain numbers for ``diagnostics`` of the result.
        arrays: One row per test sample each, for ``diagnostics.npz``: coordinates of a map, for instance.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Observer(Outcome, ABC):
    """Measures properties of the features themselves: effective rank, a two-dimensional map."""

    @abstractmethod
    def observe(self, x: Tensor) -> Observation:
        """Measure the test part's features ``(N, F)``."""


class Evaluator(ABC):
    """Turns a frozen encoder into predictions, rankings or observations. Sees no test label.

    Attributes:
        Config: A frozen, keyword-only dataclass of this evaluator's options.
        targets: The supported kinds of targets, out of :data:`medssl.contracts.targets.TARGETS`. For another target,
            the run fails before anything is trained.
        needs: ``features``: :meth:`fit` gets :class:`Features`; ``images``: it gets :class:`Images`.
        online: Whether it takes at most seconds, so it can monitor the validation part during pre-training.
        label_free: Whether it needs no label. Only such evaluators run on a dataset without labels; then all ``y``
            are -1.

    Args:
        config: The options.
        seed: For every random draw of the evaluator.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    targets: ClassVar[tuple[str, ...]] = ("classes", "grades")
    needs: ClassVar[Literal["features", "images"]] = "features"
    online: ClassVar[bool] = False
    label_free: ClassVar[bool] = False

    def __init__(self, config: Any, seed: int) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def fit(self, train: Any, val: Any) -> Outcome:
        """Learn from ``train``; choose every setting on ``val``. Both :class:`Features` or :class:`Images`."""

    @classmethod
    def restore(cls, kept: Kept, context: RestoreContext) -> Predictor:
        """Build the predictor that :meth:`Predictor.keep` described; its predictions must be equal.

        An evaluator whose predictors return something from ``keep`` overrides this method.

        Args:
            kept: As read from the run's directory, tensors on the CPU.
            context: Target and encoder of the run.

        Raises:
            ValueError: The data was not written by this evaluator, or by another version of it. So do ``KeyError`` and
                other errors of Python while reading it.
        """
        raise NotImplementedError(f"{cls.__name__} has no restore()")
