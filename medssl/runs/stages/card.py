"""The encoder of a run in its result: its facts, and warnings about licence and training data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medssl.contracts import EncoderCard
from medssl.recipe import Recipe
from medssl.results.privacy import hidden_path, named_run
from medssl.results.sections import LEAK
from medssl.runs.context import RunContext
from medssl.train.encoder.building import Encoder
from medssl.train.encoder.given import named_encoders

__all__ = ["describe_card", "warn_of_card"]


def describe_card(context: RunContext, encoder: Encoder) -> dict[str, Any]:
    """Return the section ``encoder`` of the result."""
    recipe = context.recipe
    card = recipe.card
    return {
        "name": _shown_name(recipe),
        "architecture": encoder.backbone_name,
        "feature_dim": encoder.feature_dim,
        "parameters": sum(value.numel() for value in encoder.network.parameters()),
        "image_size": recipe.views.image_size,
        **card.preprocessing.described(),
        "pooling": card.pooling,
        "licence": card.licence,
        "forbids": list(card.forbids),
        "gate": card.gate,
        "trained_on": None if card.trained_on is None else list(card.trained_on),
        "source": encoder.origin.get("source"),
        "sha256": encoder.origin.get("sha256"),
    }


def warn_of_card(recipe: Recipe) -> Iterator[str]:
    """Yield warnings about given weights: what their licence forbids, and whether they have seen this dataset."""
    trains = recipe.method.plugin.trains
    if recipe.initial_weights is not None:
        yield from _warn(recipe, recipe.card, _shown_name(recipe), "trains them further" if trains else "")
    for name, _, card in named_encoders(recipe):
        yield from _warn(recipe, card, _hidden(name), "trains another encoder to be like it")


def _warn(recipe: Recipe, card: EncoderCard, name: str, derives: str) -> Iterator[str]:
    """Yield the warnings about one encoder; ``derives`` says how the run makes a derivative of it, if it does."""
    if card.licence is None and not card.forbids:
        yield f"the licence of the weights '{name}' is not known. Find out what it allows before you publish or sell"
    for use in card.forbids:
        if use != "derivatives":
            yield f"the licence of the weights '{name}' ({card.licence or 'name not known'}) forbids {use}"
        elif derives:
            yield (
                f"the licence of the weights '{name}' ({card.licence or 'name not known'}) forbids derivatives, and "
                f"this run {derives}. Do not pass the encoder on"
            )
    named = {recipe.dataset.name, *(v for v in vars(recipe.dataset.config).values() if isinstance(v, str))}
    if seen := sorted(named.intersection(card.trained_on or ())):
        yield (
            f"{LEAK}the weights '{name}' were trained on {', '.join(seen)}, as their authors say. Test images may have "
            "been among the training images"
        )


def _shown_name(recipe: Recipe) -> str:
    """Name the encoder for a result: a file by its run, or else by a private name."""
    return _hidden(recipe.network)


def _hidden(name: str) -> str:
    path = Path(name)
    if not path.exists():
        return name
    run = path if path.is_dir() else path.parent
    return named_run(run) if (run / "recipe.yaml").is_file() else hidden_path(path)
