"""The contract of an evaluator: it turns a frozen encoder into predictions, rankings or measurements.

An evaluator learns from the training part and chooses settings on the validation part. The returned object is then
applied to the test part, without labels. Only the core has the test labels and computes the metrics.

N samples of a part, F features, O outputs of the target, S side of an image in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from numpy.typing import NDArray
from torch import Tensor, nn

from medssl.contracts.first_edition import refuse_old_predictor, refuse_renamed
from medssl.contracts.targets import Target

__all__ = ["Evaluator", "Features", "Images", "Observation", "Observer", "Outcome", "Predictor", "Ranker"]


@dataclass(frozen=True, kw_only=True)
class Features:
    """Frozen features of one part, with labels.

    Attributes:
        x: ``(N, F)`` float32.
        y: Values of the samples, as encoded by the target (see :mod:`medssl.contracts.targets`):
            ``(N,)`` int64 of classes and grades, all of them known; ``(N, O)`` float32 of findings, NaN where one is
            unknown; ``(N,)`` float32 of a quantity.
        target: Target of the whole dataset; some classes may have no sample here.
    """

    x: Tensor
    y: Tensor
    target: Target

    def __len__(self) -> int:
        """N."""
        return len(self.x)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Name the replacement of a renamed attribute."""
            refuse_renamed("Features", name)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images of one part, with labels and the pre-trained encoder, for an evaluator with ``needs = "images"``.

    Attributes:
        y: Values of the samples, as in :class:`Features`.
        target: Target of the whole dataset.
        plain: Maps positions ``(n,)`` int64 on the CPU to images ``(n, 3, S, S)`` on the device, as in evaluation.
        augmented: Maps an epoch (from 0) and positions to one random view each, ``(n, 3, S, S)``.
        encoder: A copy of the pre-trained encoder on its device, ``(n, 3, S, S)`` to ``(n, F)``; the evaluator may
            train it.
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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Name the replacement of a renamed attribute."""
            refuse_renamed("Images", name)


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

    def __init__(self, config: Any, seed: int) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def fit(self, train: Any, val: Any) -> Outcome:
        """Learn from ``train``; choose every setting on ``val``. Both :class:`Features` or :class:`Images`."""
