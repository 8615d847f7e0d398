"""``medssl evaluate``: a run whose encoder comes from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from medssl.catalog import load_catalog
from medssl.cli.run import run
from medssl.errors import CheckpointError, OptionError

__all__ = ["evaluate"]

# what decides an evaluation; the rest of `run` is about training
_SHARED = (
    *("dataset", "data_dir", "recipe", "backbone", "image_size", "split", "evaluator", "seed", "precision"),
    *("settings", "device", "registry", "on_bad_image", "output", "force", "as_json"),
)


def _evaluate(ctx: click.Context, /, encoder: str, **words: Any) -> None:
    """Evaluate ENCODER, frozen, on a dataset.

    ENCODER is the folder of a run, its encoder.safetensors, any timm-format weights (with --backbone), or the word
    `pretrained` for timm's own.

    A run's encoder is evaluated on the run's own split where the dataset is the same, so that its test images are none
    that it was trained on. What other encoders were trained on is not known here.
    """
    method = load_catalog(words["registry"]).marked("method", "as_given")
    if not method:
        raise OptionError(
            "no method evaluates given weights. The catalogue marks none as `as_given`. Mark one in your --registry."
        )
    given = _from_file(encoder, words)
    settings = (*given.pop("settings"), *words.pop("settings"))
    ctx.invoke(run, **{**words, **given, "method": method[0], "settings": settings})


def _from_file(encoder: str, words: dict[str, Any]) -> dict[str, Any]:
    """Return the words of ``run`` that follow from the encoder's file; the user's own win."""
    if encoder == "pretrained":
        return {"init": encoder, "settings": ()}
    path = Path(encoder)
    path = path / "encoder.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(
            f"there is no encoder at {path}. Give a run's folder, a weights file, or `pretrained` for timm's own."
        )
    header = _header(path)
    if "backbone" not in header:
        if not words["backbone"]:
            raise OptionError(f"{path} does not say what network it belongs to. Name it with --backbone.")
        return {"init": str(path), "settings": ()}
    return {
        "init": str(path),
        "backbone": words["backbone"] or header["backbone"],
        "image_size": words["image_size"] or header["image_size"],
        "settings": (
            *(f"views.{name}={header[name]}" for name in ("normalisation", "window") if name in header),
            *_split(path, words),
        ),
    }


def _header(path: Path) -> dict[str, str]:
    from medssl.train.checkpoint import read_header

    return read_header(path)


def _split(path: Path, words: dict[str, Any]) -> list[str]:
    """Take over the split of the run that trained the encoder, if it was on this dataset."""
    import yaml

    recipe = path.with_name("recipe.yaml")
    if words["split"] or not recipe.is_file():
        return []
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    if values["dataset"]["plugin"] != words["dataset"]:
        return []
    return [f"split.{key}={'null' if value is None else value}" for key, value in values["split"].items()]


#: Shares its options with `run`, where each is defined.
evaluate = click.Command(
    "evaluate",
    callback=click.pass_context(_evaluate),
    help=_evaluate.__doc__,
    params=[click.Argument(["encoder"]), *(option for option in run.params if option.name in _SHARED)],
)
