"""Builds a recipe's method on an encoder, and finds the views that it uses."""

from __future__ import annotations

from dataclasses import replace

import torch

from medssl.contracts import Method, Target, Task, ViewSpec
from medssl.recipe import Recipe
from medssl.train.encoder.backbones import Encoder, build_encoder
from medssl.train.loop.seeding import derive_seed

__all__ = ["build_method", "view_spec"]


def build_method(recipe: Recipe, encoder: Encoder, *, num_samples: int, target: Target) -> Method:
    """Build the recipe's method; its initial weights are drawn with the recipe's seed."""
    batch = recipe.train.batch_size
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=num_samples,
        target=target,
        image_size=recipe.views.image_size,
        batch_size=batch,
        total_steps=recipe.train.epochs * (num_samples // batch),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "method"))
        method: Method = recipe.method.plugin(recipe.method.config, encoder, task)
    return method


def view_spec(recipe: Recipe, *, num_samples: int, target: Target) -> ViewSpec | None:
    """Return the views that a method uses; ``None`` if it does not train.

    The method is built for this purpose, on an encoder with random weights, because its options may determine its
    views.
    """
    if not recipe.method.plugin.trains:
        return None
    encoder = build_encoder(replace(recipe.encoder, weights=None), recipe.views.image_size, recipe.seed)
    method = build_method(recipe, encoder, num_samples=num_samples, target=target)
    return recipe.data.views_for(method.views)
