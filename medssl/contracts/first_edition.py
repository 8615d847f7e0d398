"""Names of the first version of the contracts: an error tells old plugins what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from medssl.errors import PluginError

__all__ = ["Renamed", "RenamedError", "old_words", "refuse_old_predictor", "refuse_old_sample"]

_RENAMED: Mapping[tuple[str, str], str] = {
    ("Features", "label"): "Features.label is now Features.y, in the form that Features.target gives it",
    ("Features", "num_classes"): "Features.num_classes is now Features.target.outputs",
    ("Images", "label"): "Images.label is now Images.y, in the form that Images.target gives it",
    ("Images", "num_classes"): "Images.num_classes is now Images.target.outputs",
    ("Task", "num_classes"): "Task.num_classes is now Task.target.outputs",
    ("Batch", "label"): "Batch.label is now Batch.y, in the form that Task.target gives it",
}
_SAMPLES = (
    "samples() is now index(), and must return a Listing: write `return Listing(samples=samples, "
    "target=Classes(names))`, with group_kind, default_split and split_reason in the Listing instead of on the class"
)
_PREDICT = (
    "predict_proba() is now predict(): rename it. It returns (N, target.outputs), and the evaluator's class lists in "
    "`targets` the kinds of targets that it supports"
)


class RenamedError(PluginError, AttributeError):
    """A plugin uses a name of the first version of the contracts."""


class Renamed:
    """Base of a class with renamed attributes: an error names the replacement of one that an old plugin uses.

    Raises:
        RenamedError: The attribute was renamed.
        AttributeError: It never existed.
    """

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Raise an error, because the attribute does not exist."""
            owner = type(self).__name__
            if (owner, name) in _RENAMED:
                raise RenamedError(f"{_RENAMED[owner, name]}. Change the plugin.")
            raise AttributeError(f"'{owner}' object has no attribute '{name}'")


def refuse_old_predictor(plugin: type) -> None:
    """Raise an error for a predictor of the first version, which only has ``predict_proba``.

    Raises:
        PluginError: It uses the first version of the contract.
    """
    if "predict_proba" in vars(plugin) and "predict" not in vars(plugin):
        raise PluginError(f"{plugin.__name__}.{_PREDICT}.")


def old_words(plugin: type) -> str | None:
    """Describe what to change in a dataset of the first version; ``None`` for any other plugin."""
    old = hasattr(plugin, "samples") and "index" in getattr(plugin, "__abstractmethods__", ())
    return _SAMPLES if old else None


def refuse_old_sample(error: TypeError) -> None:
    """Raise an error for a sample that was created with ``label``.

    Raises:
        PluginError: ``error`` comes from such a call.
    """
    if "unexpected keyword argument 'label'" in str(error):
        raise PluginError(
            "Sample(label=...) is now Sample(y=...), a value of the listing's target. Change the plugin."
        ) from error
