"""Functions that a plugin may call: downloads, images, help with training, measures of features.

Each name loads its own module on first use, so a dataset imports no training code and a method no downloader.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medssl.tools.downloading import Source, download
    from medssl.tools.images import IMAGE_SUFFIXES, SYMMETRIES, read_image, read_opened, turn
    from medssl.tools.measures import alignment, effective_rank, feature_std, uniformity
    from medssl.tools.queue import Queue
    from medssl.tools.teacher import Teacher, cosine_momentum
    from medssl.tools.training import (
        KeepBest,
        activation,
        batches,
        evaluation_mode,
        halving,
        loss_scaler,
        parameter_groups,
        seeded,
        target_loss,
        train,
        warmup_cosine,
    )
    from medssl.tools.unpacking import unpack

__all__ = [
    "IMAGE_SUFFIXES",
    "SYMMETRIES",
    "KeepBest",
    "Queue",
    "Source",
    "Teacher",
    "activation",
    "alignment",
    "batches",
    "cosine_momentum",
    "download",
    "effective_rank",
    "evaluation_mode",
    "feature_std",
    "halving",
    "loss_scaler",
    "parameter_groups",
    "read_image",
    "read_opened",
    "seeded",
    "target_loss",
    "train",
    "turn",
    "uniformity",
    "unpack",
    "warmup_cosine",
]

_NAMES = {
    "downloading": ("Source", "download"),
    "images": ("IMAGE_SUFFIXES", "SYMMETRIES", "read_image", "read_opened", "turn"),
    "measures": ("alignment", "effective_rank", "feature_std", "uniformity"),
    "queue": ("Queue",),
    "teacher": ("Teacher", "cosine_momentum"),
    "training": (
        "KeepBest",
        "activation",
        "batches",
        "evaluation_mode",
        "halving",
        "loss_scaler",
        "parameter_groups",
        "seeded",
        "target_loss",
        "train",
        "warmup_cosine",
    ),
    "unpacking": ("unpack",),
}
_HOMES = {name: f"medssl.tools.{module}" for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'medssl.tools' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
