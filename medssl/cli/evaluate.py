"""``medssl evaluate``: a run that takes a trained encoder from a file."""

from __future__ import annotations

from typing import Any

import click

from medssl.catalog import load_catalog
from medssl.cli.card import with_data
from medssl.cli.options import find_plugins, recipe_layers
from medssl.cli.run import run, run_layers
from medssl.contracts.kinds import DATASET, EVALUATOR

__all__ = ["evaluate"]

# the options that affect an evaluation; the other options of `run` are about training
_SHARED = (
    *(DATASET.section, "data", "data_dir", "recipe", "backbone", "image_size", "split", "split_of", "groups"),
    "allow_seen",
    *(EVALUATOR.section, "external", "seed", "precision"),
    *("settings", "device", "catalog_file", "on_bad_image", "verify", "output", "keep_heads", "force", "as_json"),
)


def _evaluate(ctx: click.Context, /, encoder: str, **words: Any) -> None:
    """Evaluate ENCODER, frozen, on a dataset.

    ENCODER is the folder of a run, its encoder.safetensors, any timm-format weights file (with --backbone), or the
    word `pretrained` for the weights that timm provides.

    On the dataset that the run was trained on, the run's dataset options and split are used again, unless you give
    others. Every image keeps its part, and the protocol places images that were added later.

    The encoder file of a run records which images it was trained on, independently of their file names. It is an error
    if the test or validation part contains one of these images, a near-duplicate, or another image of the same
    patient. --split-of RUN uses the split of the run that trained the encoder. --allow-seen evaluates anyway, and the
    result says so. For other encoders the training images are unknown, and the result says that too.
    """
    catalog = load_catalog(words["catalog_file"])
    words = with_data(words, catalog)
    find_plugins(words, catalog)
    below, own = recipe_layers({"recipe": words.pop("recipe")})[:-1], recipe_layers(words)
    from medssl.export.evaluating import evaluation_layers

    run_layers(ctx, evaluation_layers(encoder, own, words["data_dir"], below), catalog, words)


#: Its options are defined in `run`.
evaluate = click.Command(
    "evaluate",
    callback=click.pass_context(_evaluate),
    help=_evaluate.__doc__,
    params=[click.Argument(["encoder"]), *(option for option in run.params if option.name in _SHARED)],
)
