"""medssl: self-supervised learning on small medical image datasets.

The public names are imported on first use, so ``import medssl`` and the command line are fast and do not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medssl.export.embedding import embed, load_encoder
    from medssl.results.directory import RunResult
    from medssl.runs.pipeline import Place, run
    from medssl.study.schedule.running import bench

__all__ = ["Place", "RunResult", "__version__", "bench", "embed", "load_encoder", "run"]

_HOMES = {
    "Place": "medssl.runs.pipeline",
    "RunResult": "medssl.results.directory",
    "bench": "medssl.study.schedule.running",
    "embed": "medssl.export.embedding",
    "load_encoder": "medssl.export.embedding",
    "run": "medssl.runs.pipeline",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415  # a third of the time of `medssl --help`

        return metadata.version("medssl")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'medssl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
