"""The catalogue: what is known about names, read from ``registry.yaml`` and a file of the user's own over it.

It makes no plugin loadable and holds no plugin's defaults; it adds papers, licences, sources, augmentations, recipes
and published results to names, whether they are installed or not.
"""

from medssl.catalog.catalog import Catalog
from medssl.catalog.reading import load_catalog

__all__ = ["Catalog", "load_catalog"]
