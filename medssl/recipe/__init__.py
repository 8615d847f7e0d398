"""Every setting of a run, resolved, checked, frozen and hashed: a data, a training and an evaluation part.

Settings come in layers; a later layer takes precedence: the defaults of the settings, the catalogue's recipe, the
user's recipe file, options of the command line and ``--set``.
"""

from medssl.recipe.choosing import Choice, choose
from medssl.recipe.parts import DataRecipe, EvaluateRecipe, Recipe, TrainRecipe
from medssl.recipe.resolving import resolve, resolve_data

__all__ = ["Choice", "DataRecipe", "EvaluateRecipe", "Recipe", "TrainRecipe", "choose", "resolve", "resolve_data"]
