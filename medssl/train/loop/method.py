"""Builds a recipe's method on an encoder, and finds the views that it uses."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from medssl.contracts import Method, Target, Task, ViewSpec
from medssl.contracts.crossing.methods import views_problems
from medssl.errors import BreachError
from medssl.recipe import Recipe
from medssl.train.encoder.building import Encoder, build_encoder
from medssl.train.encoder.given import Loader
from medssl.train.loop.seeding import derive_seed

__all__ = ["build_method", "view_spec"]


def build_method(
    recipe: Recipe,
    encoder: Encoder,
    *,
    num_samples: int,
    target: Target,
    loader: Loader | None = None,
    y: Tensor | None = None,
) -> Method:
    """Build the recipe's method; its initial weights are drawn with the recipe's seed.

    Args:
        recipe: The recipe.
        encoder: The encoder to train.
        num_samples: Images in the training part.
        target: Their target.
        loader: Loads other encoders for the method; ``None``: a new one.
        y: Values of the training part; a method that uses no labels does not get them.
    """
    batch = recipe.train.batch_size
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=num_samples,
        target=target,
        image_size=recipe.views.image_size,
        batch_size=batch,
        total_steps=recipe.train.epochs * (num_samples // batch),
        load_encoder=loader or Loader(recipe, encoder),
        y=y if recipe.method.plugin.uses_labels else None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "method"))
        method: Method = recipe.method.plugin(copy.deepcopy(recipe.method.config), encoder, task)
        kind = recipe.method.plugin
        if not isinstance(vars(method).get("_parameters"), dict):
            raise BreachError(kind, "__init__()", ["it must call super().__init__(config, encoder, task) first"])
        if problems := views_problems(method.views):
            raise BreachError(kind, "views", problems)
    return method


def view_spec(recipe: Recipe, *, num_samples: int, target: Target, encoder: Encoder | None = None) -> ViewSpec | None:
    """Return the views that a method uses; ``None`` if it does not train.

    The method is built for this purpose, because its options may determine its views.

    Args:
        recipe: The recipe.
        num_samples: Images in the training part.
        target: Their target.
        encoder: The encoder to build it on. ``None``: one with random weights, or with its own if only these say which
            network it is.
    """
    if not recipe.method.plugin.trains:
        return None
    if encoder is None:
        named_by_weights = recipe.encoder.plugin.argument == "weights"
        source = recipe.open_encoder() if named_by_weights else recipe.open_encoder(weights=None, adapter=None)
        encoder = build_encoder(source, recipe.views.image_size, recipe.seed)
    method = build_method(recipe, encoder, num_samples=num_samples, target=target)
    return recipe.data.views_for(method.views)
