"""Several processes that train one encoder: start-up, exchange of tensors, and the end of all if one is lost."""

from medssl.world.world import ALONE, World

__all__ = ["ALONE", "World"]
