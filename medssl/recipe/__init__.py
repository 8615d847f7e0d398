"""Every setting of a run, resolved, checked, frozen and hashed: a data, a training and an evaluation part.

Layers, later ones win: the defaults of the settings, the catalogue's recipe, the user's recipe file, flags and
``--set``.
"""

from medssl.recipe.choosing import Choice, choose
from medssl.recipe.parts import DataRecipe, EvaluateRecipe, Recipe, TrainRecipe
from medssl.recipe.resolving import resolve, resolve_data

__all__ = ["Choice", "DataRecipe", "EvaluateRecipe", "Recipe", "TrainRecipe", "choose", "resolve", "resolve_data"]
