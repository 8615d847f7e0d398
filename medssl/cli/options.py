"""The options that set the recipe, shared by every command that takes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from medssl.catalog import Catalog
from medssl.contracts.kinds import DATASET, ENCODER, RUN_KINDS, Kind
from medssl.errors import OptionError
from medssl.io.reading import read_yaml
from medssl.recipe.layers import nested
from medssl.recipe.naming import require_known

if TYPE_CHECKING:
    from medssl.runs.pipeline import Place

__all__ = [
    "PATH",
    "bad_image_option",
    "catalog_option",
    "data_dir_option",
    "data_option",
    "device_option",
    "find_plugins",
    "keep_heads_option",
    "named_path",
    "output_option",
    "place_of",
    "plugin_option",
    "recipe_layers",
    "recipe_options",
    "settings_option",
    "shown_path",
    "verify_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

# flag -> where its value goes in a recipe
_PLACES = {
    "epochs": ("train", "epochs"),
    "batch_size": ("train", "batch_size"),
    "learning_rate": ("train", "learning_rate"),
    "backbone": (ENCODER.section, "backbone"),
    "init": (ENCODER.section, "weights"),
    "image_size": ("views", "image_size"),
    "augmentation": ("views", "augmentation"),
    "split": ("split", "protocol"),
    "split_of": ("split", "of"),
    "groups": ("split", "groups"),
    "allow_seen": ("evaluate", "allow_seen"),
}

#: The type of a file or a folder.
PATH = click.Path(path_type=Path)

#: The option ``--catalog FILE``; its value arrives as ``catalog_file``.
catalog_option = click.option(
    "--catalog",
    "--registry",  # its previous name
    "catalog_file",
    type=PATH,
    metavar="FILE",
    help="Your own catalogue file; its entries are added to medssl's or replace them.",
)


def _require_folder(_ctx: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.is_file():
        raise OptionError(
            f"{option.opts[0]} {path} is a file. A folder is expected. Give the folder that contains the images; "
            "unpack an archive first."
        )
    return path


#: The option ``--on-bad-image fail|skip``.
bad_image_option = click.option(
    "--on-bad-image",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do with images that cannot be read.",
)

#: The option ``--output FOLDER`` of commands that make run folders.
output_option = click.option(
    "--output", type=PATH, default="runs", show_default=True, help="Directory for the run folders."
)

#: The option ``--device NAME``.
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")


def settings_option(words: str) -> Callable[[_Command], _Command]:
    """Make the repeatable option ``--set KEY=VALUE``; its values arrive as ``settings``.

    Args:
        words: Its help.
    """
    return click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help=words)


#: The option ``--data PATH``; see :func:`medssl.cli.card.with_data`.
data_option = click.option(
    "--data",
    type=PATH,
    metavar="PATH",
    help="A folder of your images, or a table that lists them, instead of --dataset; `medssl show data PATH` shows how "
    "it is understood.",
)


def data_dir_option(
    words: str = "Directory that contains the dataset's folder, or the dataset folder itself.  [default: MEDSSL_DATA]",
) -> Callable[[_Command], _Command]:
    """Make the option ``--data-dir FOLDER``.

    Args:
        words: Its help.
    """
    return click.option("--data-dir", type=PATH, metavar="FOLDER", callback=_require_folder, help=words)


def _verify(_ctx: click.Context, _option: click.Parameter, chosen: bool) -> None:
    from medssl.data.store.store import default_cache, forget_checks

    if chosen:
        forget_checks(default_cache())


#: The option ``--verify``.
verify_option = click.option(
    "--verify",
    is_flag=True,
    expose_value=False,
    callback=_verify,
    help="Read all images again, also those whose size and time have not changed, and check the cache.",
)


#: The option ``--keep-heads all|features|none``.
keep_heads_option = click.option(
    "--keep-heads",
    type=click.Choice(["all", "features", "none"]),
    default="all",
    show_default=True,
    help="Fitted heads to keep for `medssl predict`; features: no fine-tuned networks, which take more space.",
)


_SAID = {
    ENCODER: "Encoder: a name of `medssl list encoders`, PLUGIN:NAME for a repository of the Hugging Face Hub, a "
    "weights file, or the folder of a run.  [default: the network of --backbone]"
}


def plugin_option(kind: Kind, *, many: bool | None = None) -> Callable[[_Command], _Command]:
    """Make the option that selects plugins of one kind. A repeatable option passes its values under the plural name.

    Args:
        kind: The kind of plugin.
        many: Whether the option may be repeated; ``None``: if a run takes several plugins of this kind.
    """
    words = _SAID.get(kind, f"{kind.name.capitalize()} plugin; `medssl list {kind.plural}` shows the names.")
    if many or (many is None and kind.many):
        name, words = kind.plural, f"{words} May be repeated."
    else:
        name = kind.name
    return click.option(f"--{kind.name}", name, multiple=name == kind.plural, metavar="NAME", help=words)


_OPTIONS = (
    *map(plugin_option, RUN_KINDS),
    data_dir_option(),
    click.option(
        "--recipe", metavar="NAME|FILE", help="A recipe from the catalogue, or a YAML file.  [default: medssl]"
    ),
    click.option("--epochs", metavar="N", help="Passes over the training images."),
    click.option("--batch-size", metavar="N", help="Images per training step."),
    click.option("--learning-rate", metavar="X", help="Peak learning rate at this batch size."),
    click.option("--backbone", metavar="NAME", help="Any timm model, for instance resnet18 or resnet50."),
    click.option(
        "--init",
        metavar="FILE|pretrained",
        help="Initial weights: a file, or `pretrained` for the weights that timm provides.",
    ),
    click.option("--image-size", metavar="PX", help="Side length of a view in pixels."),
    click.option("--augmentation", metavar="NAME", help="Augmentation recipe to use instead of the dataset's."),
    click.option(
        "--split",
        metavar="PROTOCOL",
        help="random, grouped, official, kfold, grouped-kfold, loso (leave one group out) or site (leave one site out)."
        "  [default: the dataset's]",
    ),
    click.option(
        "--split-of",
        type=PATH,
        metavar="RUN",
        help="Use the split of an earlier run: its images keep their parts, and its protocol places new images.",
    ),
    click.option(
        "--groups",
        type=PATH,
        metavar="FILE",
        help="Table of path and group (patient, slide) for any dataset; `medssl audit --groups` writes one.",
    ),
    click.option(
        "--allow-seen",
        is_flag=True,
        default=None,
        help="Also test on images that the encoder was trained on; the result says so.  [default: an error]",
    ),
    click.option(
        "--external",
        multiple=True,
        metavar="NAME=PATH",
        help="Also test on another hospital's images, a folder or a table, without training on them. May be repeated.",
    ),
    click.option(
        "--seed", metavar="N", help="Seed of the initial weights, the order of images, the views and the evaluators."
    ),
    click.option("--precision", metavar="NAME", help="auto, float32, bfloat16 or float16."),
    settings_option("Any setting, for instance method.temperature=0.2."),
    device_option,
    catalog_option,
    bad_image_option,
    verify_option,
)


def recipe_options(command: _Command) -> _Command:
    """Add the shared options to a command, in the order above."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def recipe_layers(words: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn the command's options into recipe layers, weakest first.

    Args:
        words: Values of :func:`recipe_options` by name; ``dataset_options`` has those of the dataset, and
            ``external_options`` those of each external test set.

    Raises:
        OptionError: ``--set`` has no ``=``, or the recipe file cannot be read.
    """
    if words.get("split") is not None and words.get("split_of") is not None:
        raise OptionError(
            "--split and --split-of were both given. A run draws a new split or uses an earlier one. Leave one of "
            "them out."
        )
    flags: dict[str, Any] = {}
    for word, (section, key) in _PLACES.items():
        if words.get(word) is not None:
            flags.setdefault(section, {})[key] = words[word]
    for word in ("seed", "precision"):
        if words.get(word) is not None:
            flags[word] = words[word]
    understood = words.get("external_options") or {}
    if named := words.get("external"):
        given = dict(named_path(text) for text in named)
        flags["external"] = {name: {"path": path, **understood.get(name, {})} for name, path in given.items()}
    for kind in RUN_KINDS:
        if named := words.get(kind.section):
            flags[kind.section] = list(named) if kind.many else {"plugin": named, **flags.get(kind.section, {})}
    if words.get("dataset_options"):
        flags[DATASET.section] |= words["dataset_options"]
    layers = [*_recipe_layer(words.get("recipe")), flags]
    # for an external test set that was understood, the plugin is known: the user's word, or what `auto` has found
    said = {f"external.{name}.plugin" for name in understood}
    settings = [text for text in words.get("settings") or () if text.partition("=")[0].strip() not in said]
    layers.extend(_setting_layer(text) for text in settings)
    return layers


def find_plugins(words: Mapping[str, Any], catalog: Catalog) -> None:
    """Find every plugin that an option names, so that a mistyped name fails at once, before torch is imported.

    Raises:
        PluginError: A name is unknown, of another kind, not installed, or claimed twice.
    """
    for kind in RUN_KINDS:
        named = words.get(kind.section) or ()
        for name in named if kind.many else [named] if named else ():
            require_known(kind, name, catalog)


def place_of(words: Mapping[str, Any]) -> Place:
    """Return where a command's runs read and write, from the values of its options by name."""
    from medssl.runs.pipeline import Place

    return Place(**{field.name: words[field.name] for field in fields(Place) if field.name in words})


def _recipe_layer(word: str | None) -> list[dict[str, Any]]:
    """Read the recipe: a word with a YAML suffix or a slash is a file, any other names a recipe of the catalogue."""
    if word is None:
        return []
    if Path(word).suffix in (".yaml", ".yml") or "/" in word:
        return [_read_recipe_file(Path(word))]
    return [{"recipe": word}]


def _read_recipe_file(path: Path) -> dict[str, Any]:
    """Read a YAML recipe file: the same keys as a run's ``recipe.yaml``, and all are optional."""
    from medssl.results.privacy import read_desk, restored

    try:
        values = restored(read_yaml(path), read_desk(path.with_name("desk.json")))
    except (OSError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise OptionError(f"the recipe file {path} cannot be read. {cause}. Give a YAML file with --recipe.") from error
    if not isinstance(values, dict):
        raise OptionError(f"the recipe file {path} contains no settings. It must be a YAML mapping: `train: {{...}}`.")
    return values


def named_path(text: str) -> tuple[str, str]:
    """Divide the value of ``--external`` into the name and the path.

    Raises:
        OptionError: One of them is missing.
    """
    name, equals, path = text.partition("=")
    if not equals or not name.strip() or not path.strip():
        raise OptionError(
            f"--external {text} is not complete. It must have the form NAME=PATH. "
            "For instance: --external leiden=/data/leiden."
        )
    return name.strip(), path.strip()


def shown_path(path: Path) -> str:
    """Write a path for standard output: as the user typed it, but of an absolute path only the name."""
    return path.name if path.is_absolute() else str(path)


def _setting_layer(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise OptionError(
            f"--set {text} is not a setting. It must have the form KEY=VALUE with a dotted key. "
            "For instance: --set method.temperature=0.2."
        )
    return nested(key.strip(), value.strip())
