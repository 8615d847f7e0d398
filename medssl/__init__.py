"""medssl: self-supervised learning on small medical image datasets.

The public names are imported on first use, so ``import medssl`` and the command line are fast and do not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medssl.export.embedding import TrainedEncoder as TrainedEncoder
    from medssl.export.embedding import embed as embed
    from medssl.export.embedding import load_encoder as load_encoder
    from medssl.export.evaluating import evaluate as evaluate
    from medssl.export.model import TrainedModel as TrainedModel
    from medssl.export.model import load_model as load_model
    from medssl.results.directory import RunResult as RunResult
    from medssl.results.directory import load_run as load_run
    from medssl.runs.pipeline import Place as Place
    from medssl.runs.pipeline import run as run
    from medssl.study.schedule.running import Study as Study
    from medssl.study.schedule.running import bench as bench

    __version__: str

_HOMES = {
    "Place": "medssl.runs.pipeline",
    "RunResult": "medssl.results.directory",
    "Study": "medssl.study.schedule.running",
    "TrainedEncoder": "medssl.export.embedding",
    "TrainedModel": "medssl.export.model",
    "bench": "medssl.study.schedule.running",
    "embed": "medssl.export.embedding",
    "evaluate": "medssl.export.evaluating",
    "load_encoder": "medssl.export.embedding",
    "load_model": "medssl.export.model",
    "load_run": "medssl.results.directory",
    "run": "medssl.runs.pipeline",
}

__all__ = [
    "Place",
    "RunResult",
    "Study",
    "TrainedEncoder",
    "TrainedModel",
    "__version__",
    "bench",
    "embed",
    "evaluate",
    "load_encoder",
    "load_model",
    "load_run",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415  # a third of the time of `medssl --help`

        return metadata.version("medssl")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'medssl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
