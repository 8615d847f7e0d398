"""``medssl evaluate``: a run that takes a trained encoder from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from medssl.cli.run import run
from medssl.contracts.kinds import DATASET, EVALUATOR, METHOD, NONE
from medssl.errors import CheckpointError, OptionError

__all__ = ["evaluate"]

# the options that affect an evaluation; the other options of `run` are about training
_SHARED = (
    *(DATASET.section, "data_dir", "recipe", "backbone", "image_size", "split", "split_of", "allow_seen"),
    *(EVALUATOR.section, "seed", "precision"),
    *("settings", "device", "catalog_file", "on_bad_image", "output", "force", "as_json"),
)

_DRAWN = tuple(
    f"split.{name}" for name in ("protocol", "fractions", "seed", "folds", "fold", "of")
)  # the settings that determine a new split


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
    given = _from_file(encoder, words)
    settings = (*given.pop("settings"), *words.pop("settings"))
    ctx.invoke(run, **{**words, **given, METHOD.section: NONE, "settings": settings})


def _from_file(encoder: str, words: dict[str, Any]) -> dict[str, Any]:
    """Return the options of ``run`` that follow from the encoder's file; the user's own take precedence."""
    if encoder == "pretrained":
        return {"init": encoder, "settings": ()}
    path = Path(encoder)
    path = path / "encoder.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(
            f"there is no encoder at {path}. Give the folder of a run, a weights file, or `pretrained` for timm's "
            "weights."
        )
    from medssl.io.files import read_header

    header = read_header(path)
    own = _own_split(path, words)
    if "backbone" not in header:
        if not words["backbone"]:
            raise OptionError(
                f"{path} does not say which network its weights belong to. Name the network with --backbone."
            )
        return {"init": str(path), "settings": own}
    return {
        "init": str(path),
        "backbone": words["backbone"] or header["backbone"],
        "image_size": words["image_size"] or header["image_size"],
        "settings": (
            *(f"views.{name}={header[name]}" for name in ("normalisation", "window") if name in header),
            *own,
        ),
    }


def _own_split(path: Path, words: dict[str, Any]) -> tuple[str, ...]:
    """Return dataset options and split of the run that trained the encoder, if it used the same dataset.

    The user's own settings take precedence.
    """
    run = words["split_of"] or path.parent
    run = run.parent if run.is_file() else run
    recipe = _recipe_of(run)
    if recipe is None or recipe[DATASET.section]["plugin"] != words[DATASET.section]:
        return ()
    named = bool(words["split_of"])
    split = {key: value for key, value in recipe["split"].items() if key != "of"}
    options = {key: value for key, value in recipe[DATASET.section].items() if key != "plugin"}
    if not (named or _is_folder_of(run, words)):
        return () if words["split"] else _settings("split", split)
    if words["split"]:
        return _settings(DATASET.section, options)
    drawn = _other_options(options, words["settings"]) or any(_key(text) in _DRAWN for text in words["settings"])
    if not (named or drawn) and (run / "splits.json").is_file():
        split["of"] = str(run)
    return (*_settings(DATASET.section, options), *_settings("split", split))


def _key(text: str) -> str:
    return text.partition("=")[0].strip()


def _other_options(options: Mapping[str, Any], settings: Sequence[str]) -> bool:
    """Whether the user changes the value of a dataset option: the dataset may then list other images or groups."""
    import yaml

    for text in settings:
        section, _, name = _key(text).partition(".")
        value = text.partition("=")[2].strip()
        if section == DATASET.section and options.get(name) != value:
            try:
                same = name in options and yaml.safe_load(value) == options[name]
            except yaml.YAMLError:
                same = False
            if not same:
                return True
    return False


def _recipe_of(run: Path) -> Mapping[str, Any] | None:
    import yaml

    file = run / "recipe.yaml"
    if not file.is_file():
        return None
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(values[DATASET.section]["plugin"], str) and isinstance(values["split"], dict):
            return values  # type: ignore[no-any-return]
        cause = "its dataset or its split is missing"
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        cause = " ".join(str(error).split())
    raise CheckpointError(
        f"{file} cannot be read as the recipe of a run: {cause}. Without it the split of that run is unknown. Copy "
        "encoder.safetensors to another folder, and give your own --split."
    )


def _is_folder_of(run: Path, words: dict[str, Any]) -> bool:
    """Whether the images are in the folder that the run read them from."""
    from medssl.data.loading import data_folder

    try:
        directory = str(json.loads((run / "result.json").read_text(encoding="utf-8"))["data"]["directory"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return str(data_folder(words[DATASET.section], words["data_dir"])) == directory


def _settings(section: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Write values in the form that ``--set`` takes."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return tuple(f"{section}.{key}={text}" for key, text in texts.items())


#: Its options are defined in `run`.
evaluate = click.Command(
    "evaluate",
    callback=click.pass_context(_evaluate),
    help=_evaluate.__doc__,
    params=[click.Argument(["encoder"]), *(option for option in run.params if option.name in _SHARED)],
)
