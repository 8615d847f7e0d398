"""Functions that a plugin may call: downloads, images, help with training, measures of features.

The names are listed in ``__init__.pyi``. Each loads its own module on first use, so a dataset imports no training code
and a method no downloader.
"""

from __future__ import annotations

from medssl.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
