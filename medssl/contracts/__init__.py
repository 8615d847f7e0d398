"""What a plugin is: the contracts, and the types that pass between the core and a plugin.

A plugin is one class in one file plus one line of package metadata. Of medssl it imports this module, with the types;
:mod:`medssl.tools`, with functions it may call; and :mod:`medssl.errors`. The core does everything else: files and
splits, views, the training loop, devices and precision, checkpoints, metrics, reports.

Shapes: N samples in a batch or a set, V views of each, C channels, H x W pixels, F features, K classes.

The names are imported when they are first used, so that :mod:`medssl.contracts.kinds` can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medssl.contracts.datasets import Dataset, Listing, Part, Sample, Understanding
    from medssl.contracts.encoders import (
        HALF,
        IMAGENET,
        Built,
        EncoderCard,
        EncoderPlugin,
        Interpolation,
        Pooling,
        Preprocessing,
        forbidden_by,
    )
    from medssl.contracts.evaluators import (
        Evaluator,
        Features,
        Images,
        Kept,
        Observation,
        Observer,
        Outcome,
        Predictor,
        Ranker,
        RestoreContext,
    )
    from medssl.contracts.launchers import Job, Launcher, TaskState
    from medssl.contracts.methods import Batch, Encode, Method, Task
    from medssl.contracts.options import Fraction, NonNegative, Positive, PositiveInt
    from medssl.contracts.readers import FileFacts, Reader, Readers
    from medssl.contracts.targets import TARGETS, Classes, Findings, Grades, Quantity, Target, Unlabelled, Value
    from medssl.contracts.trackers import FinishedRun, StartedRun, Tracker
    from medssl.contracts.views import Augmentation, ViewGroup, ViewSpec

__all__ = [
    "HALF",
    "IMAGENET",
    "TARGETS",
    "Augmentation",
    "Batch",
    "Built",
    "Classes",
    "Dataset",
    "Encode",
    "EncoderCard",
    "EncoderPlugin",
    "Evaluator",
    "Features",
    "FileFacts",
    "Findings",
    "FinishedRun",
    "Fraction",
    "Grades",
    "Images",
    "Interpolation",
    "Job",
    "Kept",
    "Launcher",
    "Listing",
    "Method",
    "NonNegative",
    "Observation",
    "Observer",
    "Outcome",
    "Part",
    "Pooling",
    "Positive",
    "PositiveInt",
    "Predictor",
    "Preprocessing",
    "Quantity",
    "Ranker",
    "Reader",
    "Readers",
    "RestoreContext",
    "Sample",
    "StartedRun",
    "Target",
    "Task",
    "TaskState",
    "Tracker",
    "Understanding",
    "Unlabelled",
    "Value",
    "ViewGroup",
    "ViewSpec",
    "forbidden_by",
]

# where the names are, those that import least first
_MODULES = (
    "medssl.contracts.options",
    "medssl.contracts.encoders",
    "medssl.contracts.targets",
    "medssl.contracts.views",
    "medssl.contracts.readers",
    "medssl.contracts.datasets",
    "medssl.contracts.trackers",
    "medssl.contracts.launchers",
    "medssl.contracts.methods",
    "medssl.contracts.evaluators",
)
_MOVED = ("IMAGE_SUFFIXES", "Source", "download", "unpack")
_ALSO_HERE = ("read_image",)  # users' scripts import this one from here, and its arguments and results are as before


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in map(import_module, _MODULES):
            if name in module.__all__:
                value = globals()[name] = getattr(module, name)
                return value
    if name in _ALSO_HERE:
        return getattr(import_module("medssl.tools"), name)
    if name in _MOVED:
        raise ImportError(f"'{name}' is now in medssl.tools. Write `from medssl.tools import {name}`.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
