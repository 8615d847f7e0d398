"""medssl: self-supervised learning on small medical image datasets.

The public names are listed in ``__init__.pyi`` and imported on first use, so ``import medssl`` and the command line are
fast and do not import torch.
"""

from __future__ import annotations

from typing import Any

from medssl.lazy import lazy_names

_load, __dir__, __all__ = lazy_names(__name__, __file__, "__version__")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415  # a third of the time of `medssl --help`

        return metadata.version("medssl")
    return _load(name)
