"""Functions that a plugin may call: downloads, images, help with training, measures of features.

Each name loads its own module on first use, so a dataset imports no training code and a method no downloader.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medssl.io.identities import private_id
    from medssl.io.limits import TABLE_ROWS
    from medssl.io.reading import open_regular, read_content, read_json, read_npz, read_table_file
    from medssl.tools.downloading import Source, download
    from medssl.tools.images import (
        IMAGE_SUFFIXES,
        SYMMETRIES,
        count_pages,
        read_image,
        read_opened,
        require_pixels,
        turn,
    )
    from medssl.tools.layers import freeze_before, layer_groups, number_layers
    from medssl.tools.measures import alignment, effective_rank, feature_std, uniformity
    from medssl.tools.queue import Queue
    from medssl.tools.reading import installed_readers
    from medssl.tools.teacher import Teacher, cosine_momentum
    from medssl.tools.training import (
        KeepBest,
        activation,
        balanced_chances,
        balanced_weights,
        batches,
        evaluation_mode,
        halving,
        loss_scaler,
        number_scale,
        parameter_groups,
        seeded,
        target_loss,
        train,
        warmup_cosine,
    )
    from medssl.tools.unpacking import unpack
    from medssl.tools.weights import read_weights, unwrap

__all__ = [
    "IMAGE_SUFFIXES",
    "SYMMETRIES",
    "TABLE_ROWS",
    "KeepBest",
    "Queue",
    "Source",
    "Teacher",
    "activation",
    "alignment",
    "balanced_chances",
    "balanced_weights",
    "batches",
    "cosine_momentum",
    "count_pages",
    "download",
    "effective_rank",
    "evaluation_mode",
    "feature_std",
    "freeze_before",
    "halving",
    "installed_readers",
    "layer_groups",
    "loss_scaler",
    "number_layers",
    "number_scale",
    "open_regular",
    "parameter_groups",
    "private_id",
    "read_content",
    "read_image",
    "read_json",
    "read_npz",
    "read_opened",
    "read_table_file",
    "read_weights",
    "require_pixels",
    "seeded",
    "target_loss",
    "train",
    "turn",
    "uniformity",
    "unpack",
    "unwrap",
    "warmup_cosine",
]

_NAMES = {
    "downloading": ("Source", "download"),
    "images": ("IMAGE_SUFFIXES", "SYMMETRIES", "count_pages", "read_image", "read_opened", "require_pixels", "turn"),
    "layers": ("freeze_before", "layer_groups", "number_layers"),
    "measures": ("alignment", "effective_rank", "feature_std", "uniformity"),
    "queue": ("Queue",),
    "reading": ("installed_readers",),
    "teacher": ("Teacher", "cosine_momentum"),
    "training": (
        "KeepBest",
        "activation",
        "balanced_chances",
        "balanced_weights",
        "batches",
        "evaluation_mode",
        "halving",
        "loss_scaler",
        "number_scale",
        "parameter_groups",
        "seeded",
        "target_loss",
        "train",
        "warmup_cosine",
    ),
    "unpacking": ("unpack",),
    "weights": ("read_weights", "unwrap"),
}
_HOMES = {name: f"medssl.tools.{module}" for module, names in _NAMES.items() for name in names}
_HOMES["TABLE_ROWS"] = "medssl.io.limits"
# the core needs these below the tools
_HOMES["private_id"] = "medssl.io.identities"
_HOMES |= dict.fromkeys(
    ("open_regular", "read_content", "read_json", "read_npz", "read_table_file"), "medssl.io.reading"
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'medssl.tools' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
