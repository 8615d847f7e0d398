"""TabICL: a transformer that was trained on made-up tables predicts from the training part, which it reads as context.

Qu, Holzmueller, Varoquaux and Le Morvan, TabICL: A Tabular Foundation Model for In-Context Learning on Large Data, ICML
2025, arXiv 2502.05564, through the package ``tabicl`` (``pip install medssl[tabicl]``). Nothing is trained: the network
sees the labelled features and the new ones together. Its weights are a file that you bring; nothing is downloaded.

It was trained on tables of up to about a hundred columns, and encoders give up to 2,560. So features are reduced to
their principal components in the training part, if there are more. It knows a limited number of classes (ten in the
published weights). There is nothing to choose on the validation part.

N samples, F features, K classes, P components.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from medssl.contracts import Evaluator, Features, PositiveInt, Predictor
from medssl.errors import CheckpointError, OptionError, PluginError
from medssl_evaluators._choice import ConstantPredictor, only_class

__all__ = ["TabICL"]

_WHERE = (
    "Download tabicl-classifier-v2-20260212.ckpt from https://huggingface.co/jingang/TabICL and give it with "
    "--set evaluators.tabicl.weights=FILE."
)


class TabICL(Evaluator):
    """In-context classification of features by TabICL with given weights."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            weights: A checkpoint of TabICL's classifier; there is no default.
            components: Principal components that features are reduced to, if they have more columns.
            members: Predictions that are averaged, each with other orders of columns and classes.
        """

        weights: Path | None = None
        components: PositiveInt = 100  # Qu et al. sec. 4: columns of the tables it was trained on
        members: PositiveInt = 8  # the package's default

    targets: ClassVar[tuple[str, ...]] = ("classes",)
    config: Config

    def fit(self, train: Features, val: Features) -> Predictor:  # noqa: ARG002  (it has nothing to choose)
        """Keep the training part as context.

        Raises:
            PluginError: The package is not installed.
            CheckpointError: The weights are missing, or are not those of a classifier of TabICL.
            OptionError: The target has more classes than the weights know.
        """
        if (label := only_class(train)) is not None:
            return ConstantPredictor(label, train.target.outputs)
        centre, axes = _axes(train.x, self.config.components)
        model = self._open()
        try:
            with torch.random.fork_rng(devices=[]):  # the network draws random weights before it reads the given ones
                model.fit(((train.x - centre) @ axes).numpy(), train.y.numpy())
        except Exception as error:  # any error of Python, where the file holds something else
            if getattr(model, "n_classes_", 0) > getattr(getattr(model, "model_", None), "max_classes", 10**9):
                raise OptionError(
                    f"the evaluator 'tabicl' cannot tell {train.target.outputs} classes apart. Its weights know "
                    f"{model.model_.max_classes}. Use the evaluator 'linear'."
                ) from error
            raise CheckpointError(
                f"{self.config.weights} cannot be used as weights of TabICL ({type(error).__name__}: {error!s:.150}). "
                f"{_WHERE}"
            ) from error
        return _InContext(model, centre, axes, train)

    def _open(self) -> Any:
        """Create the package's classifier; it reads the weights as plain tensors, and downloads nothing."""
        path = self.config.weights
        if path is None:
            raise CheckpointError(f"the evaluator 'tabicl' needs weights. {_WHERE}")
        try:
            package = import_module("tabicl")
        except ImportError as error:
            raise PluginError(
                f"the evaluator 'tabicl' needs the package tabicl. {error}. Install it with `pip install "
                "medssl[tabicl]` and run the same command again, or use the evaluator 'linear'."
            ) from error
        if not path.is_file():
            raise CheckpointError(f"the weights file {path} does not exist. {_WHERE}")
        return package.TabICLClassifier(
            n_estimators=self.config.members,
            model_path=path,
            allow_auto_download=False,
            support_many_classes=False,
            random_state=self.seed % 2**32,
        )


def _axes(x: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Return the mean ``(F,)`` and the principal axes ``(F, P)``; the identity if there are few enough columns."""
    if x.shape[1] <= components:
        return torch.zeros(x.shape[1]), torch.eye(x.shape[1])
    centre = x.mean(dim=0)
    axes = torch.linalg.svd((x - centre).double(), full_matrices=False).Vh[:components].T
    signs = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()  # equal features have equal signs
    return centre, (axes * signs).float()


class _InContext(Predictor):
    """The classifier with its context."""

    def __init__(self, model: Any, centre: Tensor, axes: Tensor, train: Features) -> None:
        self.model, self.centre, self.axes, self.outputs = model, centre, axes, train.target.outputs
        reduced = axes.shape[1] < axes.shape[0]
        self.selected = {"components": axes.shape[1]} if reduced else {}
        if reduced:
            self.notes = (f"Features of {axes.shape[0]} columns were reduced to {axes.shape[1]} principal components.",)

    def predict(self, x: Tensor) -> Tensor:
        """Map features ``(N, F)`` to probabilities ``(N, K)``; a class without a training image has none."""
        found = torch.zeros(len(x), self.outputs)
        if len(x):
            known = torch.as_tensor(self.model.classes_)
            proba = self.model.predict_proba(((x.cpu() - self.centre) @ self.axes).numpy())
            found[:, known] = torch.as_tensor(proba, dtype=torch.float32)
        return found
