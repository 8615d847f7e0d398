"""The catalogue: facts about names, read from ``registry.yaml`` and the user's own catalogue file.

It does not load plugins and contains no defaults of plugins. It adds papers, licences, sources, augmentations, recipes
and published results to names, installed or not.
"""

from medssl.catalog.catalog import Catalog
from medssl.catalog.reading import load_catalog

__all__ = ["Catalog", "load_catalog"]
