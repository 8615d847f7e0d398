"""Evaluation of a trained encoder: a run that takes its encoder from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from medssl.catalog import load_catalog
from medssl.contracts.kinds import DATASET, ENCODER, METHOD, NONE
from medssl.data.loading import data_folder
from medssl.errors import CheckpointError, OptionError
from medssl.export.embedding import TrainedEncoder, load_encoder
from medssl.io.files import read_header
from medssl.io.reading import parse_yaml, read_json, read_yaml
from medssl.recipe import resolve
from medssl.recipe.naming import is_file_of_a_run
from medssl.results.directory import RunResult, load_run
from medssl.results.privacy import read_desk, restored
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, execute

__all__ = ["evaluate", "evaluation_layers"]

# the settings that determine a new split
_DRAWN = ("protocol", "fractions", "seed", "folds", "fold", "of")


def evaluate(
    encoder: RunResult | TrainedEncoder | Path | str,
    dataset: str | Mapping[str, Any] | None = None,
    /,
    *,
    place: Place | None = None,
    catalog: Path | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> RunResult:
    """Evaluate a trained encoder, frozen, on a dataset; what ``medssl evaluate`` does.

    On the dataset that the run was trained on, the run's dataset options and split are used again, unless you give
    others. Every image keeps its part, and the protocol places images that were added later.

    The encoder file of a run records which images it was trained on. It is an error if the test or validation part
    contains one of these images, a near-duplicate, or another image of the same patient.

    Args:
        encoder: The result or the folder of a run, its ``encoder.safetensors``, what :func:`medssl.load_encoder`
            returned, any timm-format weights file (with ``encoder={"backbone": NAME}``), or the word ``pretrained`` for
            the weights that timm provides.
        dataset: The name of a dataset, or a mapping of ``plugin`` (the name) and options.
        place: Where to read and write.
        catalog: A catalogue file of the user's own, merged over medssl's.
        listener: Is told of the progress.
        **settings: Sections of a recipe, as for :func:`medssl.run`: ``evaluators=[NAME]``,
            ``split={"of": RUN}`` to use the split of the run that trained the encoder, or
            ``evaluate={"allow_seen": True}`` to test on images that it was trained on; the result then says so.

    Returns:
        The result of a run with the method ``none``.

    Raises:
        CheckpointError: There is no encoder, it is damaged, or its weights were changed after it was loaded.
        DataError: The encoder was trained on test or validation images; see also :func:`medssl.run`.
        OptionError: A setting is wrong, or the network of the weights is unknown.
        PluginError: A plugin cannot be loaded.
    """
    if METHOD.section in settings:
        raise OptionError(f"an evaluation trains nothing and takes no {METHOD.name}. Leave it out, or call medssl.run.")
    place, known = place or Place(), load_catalog(catalog)
    own = [{DATASET.section: dataset}, settings] if dataset is not None else [settings]
    layers = evaluation_layers(_file_of(encoder), own, place.data_dir)
    return execute(resolve(known, layers), catalog=known, place=place, listener=listener or Listener())


def _file_of(encoder: RunResult | TrainedEncoder | Path | str) -> Path | str:
    """Return the file or folder of an encoder.

    Raises:
        CheckpointError: A loaded encoder is no longer what its file holds.
    """
    if isinstance(encoder, RunResult):
        return encoder.path
    if not isinstance(encoder, TrainedEncoder):
        return encoder
    file = load_encoder(encoder.path).state_dict()
    own = encoder.state_dict()
    if file.keys() != own.keys() or not all(torch.equal(own[name].cpu(), file[name]) for name in file):
        raise CheckpointError(
            f"the encoder of {encoder.path} was changed after it was loaded. What it was trained on since is unknown. "
            "Save its weights to a file, and evaluate that file."
        )
    return encoder.path


def evaluation_layers(
    encoder: Path | str,
    own: Sequence[Mapping[str, Any]],
    data_dir: Path | None,
    below: Sequence[Mapping[str, Any]] = (),
) -> list[Mapping[str, Any]]:
    """Return the recipe layers of an evaluation, weakest first.

    Args:
        encoder: The folder of a run, a file, or ``pretrained``.
        own: Layers of the user. They take precedence over what follows from the encoder's file.
        data_dir: Where the images are.
        below: Layers of the user over which that takes precedence.

    Raises:
        CheckpointError: There is no encoder, or the recipe beside it is damaged.
        OptionError: The file does not say which network its weights belong to.
    """
    base = {METHOD.section: NONE}
    if str(encoder) == "pretrained":
        return [*below, {**base, ENCODER.section: {"weights": "pretrained"}}, *own]
    path = Path(encoder)
    path = path / "encoder.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(
            f"there is no encoder at {path}. Give the folder of a run, a weights file, or `pretrained` for timm's "
            "weights."
        )
    header = read_header(path)
    network: dict[str, Any] = {"weights": str(path)}
    views: dict[str, Any] = {}
    if is_file_of_a_run(header):
        network = {"plugin": str(path)} if ENCODER.name in header else {**network, "backbone": header["backbone"]}
        views = {name: header[name] for name in ("image_size", "window") if name in header}
    elif _given(own, ENCODER.section, "backbone") is None:
        raise OptionError(
            f"{path} does not say which network its weights belong to. Name the network with --backbone (in Python: "
            'encoder={"backbone": NAME}).'
        )
    return [*below, {**base, ENCODER.section: network, "views": views}, *_split_of_run(path, own, data_dir), *own]


def _split_of_run(path: Path, own: Sequence[Mapping[str, Any]], data_dir: Path | None) -> list[Mapping[str, Any]]:
    """Return dataset options and split of the run that trained the encoder, if it used the same dataset."""
    named = _given(own, "split", "of")
    run = Path(named) if named else path.parent
    run = run.parent if run.is_file() else run
    recipe = _recipe_of(run)
    dataset = _dataset(own)
    if recipe is None or dataset is None:
        return []
    if not named and _had_no_labels(run):
        given = any(_given(own, "split", name) is not None for name in _DRAWN)
        return [] if given else [{"split": {"of": str(run)}}]  # what was trained on stays out of the test part
    if recipe[DATASET.section]["plugin"] != dataset:
        return []
    protocol = _given(own, "split", "protocol") is not None
    split = {"split": {key: value for key, value in recipe["split"].items() if key != "of"}}
    options = {key: value for key, value in recipe[DATASET.section].items() if key != "plugin"}
    if not (named or _is_folder_of(run, dataset, data_dir)):
        return [] if protocol else [split]
    if protocol:
        return [{DATASET.section: options}]
    drawn = any(_given(own, "split", name) is not None for name in _DRAWN)
    if not (named or drawn or _other_options(options, own)) and (run / "splits.json").is_file():
        split["split"]["of"] = str(run)
    return [{DATASET.section: options}, split]


def _given(layers: Sequence[Mapping[str, Any]], section: str, name: str) -> Any:
    """Return the value that the strongest layer gives to a setting; ``None``: no layer does."""
    sections = [layer.get(section) for layer in layers]
    values = [found.get(name) for found in sections if isinstance(found, Mapping)]
    return next((value for value in reversed(values) if value is not None), None)


def _dataset(layers: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the name of the dataset that the strongest layer names."""
    named = [layer.get(DATASET.section) for layer in layers]
    names = [found.get("plugin") if isinstance(found, Mapping) else found for found in named]
    return next((str(name) for name in reversed(names) if name is not None), None)


def _other_options(options: Mapping[str, Any], own: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the user changes the value of a dataset option: the dataset may then list other images or groups."""
    sections = [layer.get(DATASET.section) for layer in own]
    given = [item for found in sections if isinstance(found, Mapping) for item in found.items() if item[0] != "plugin"]
    return not all(name in options and _same(value, options[name]) for name, value in given)


def _same(given: Any, value: Any) -> bool:
    """Compare a value with one of a recipe; a text may be the value as ``--set`` takes it."""
    if given == value:
        return True
    try:
        return isinstance(given, str) and bool(parse_yaml(given) == value)
    except ValueError:
        return False


def _recipe_of(run: Path) -> Mapping[str, Any] | None:
    file = run / "recipe.yaml"
    if not file.is_file():
        return None
    try:
        values = restored(read_yaml(file), read_desk(run / "desk.json"))
        if isinstance(values[DATASET.section]["plugin"], str) and isinstance(values["split"], dict):
            return values  # type: ignore[no-any-return]
        cause = "its dataset or its split is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = " ".join(str(error).split())
    raise CheckpointError(
        f"{file} cannot be read as the recipe of a run: {cause}. Without it the split of that run is unknown. Copy "
        "encoder.safetensors to another folder, and give your own --split."
    )


def _had_no_labels(run: Path) -> bool:
    """Whether no image of the run had a label, so that they come now."""
    try:
        values = read_json(run / "result.json")
        return bool(values["data"]["target"]["kind"] == "none") and (run / "splits.json").is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_folder_of(run: Path, dataset: str, data_dir: Path | None) -> bool:
    """Whether the images are in the folder that the run read them from."""
    directory = read_desk(run / "desk.json").directory
    if directory is None:
        try:
            directory = load_run(run).folder
        except CheckpointError:
            return False
    return directory in {str(data_folder(dataset, data_dir, published=published)) for published in (True, False)}
