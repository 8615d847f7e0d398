"""``medssl show data``: a card of what a folder or a table holds, and the command that runs on it; and ``--data``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from medssl.catalog import Catalog, load_catalog
from medssl.cli.options import PATH, catalog_option, named_path, recipe_layers, settings_option
from medssl.cli.output import print_json
from medssl.contracts.kinds import DATASET
from medssl.errors import DataError, MedsslError, OptionError, shorten
from medssl.io.plain_text import printable

__all__ = ["read_card", "show_data", "with_data"]

_SHOWN = 12  # classes, kinds and sites in one line
_OURS = ("plugin", "path", "labels")  # settings of a dataset that are no options of its plugin
_AUTO = "auto"  # the plugin of an external test set that is to be understood


@click.command(name="data")
@click.argument("path", type=PATH)
@click.option("--dataset", metavar="NAME", help="Dataset plugin that reads it.  [default: the one that fits best]")
@settings_option("An option of the dataset, instead of a guess, for instance dataset.label_column=dx.")
@catalog_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_data(
    path: Path, dataset: str | None, settings: tuple[str, ...], catalog_file: Path | None, as_json: bool
) -> None:
    """Show how PATH, a folder of images or a table that lists them, is understood, and the command for a run on it.

    Nothing is written. Guesses are named as guesses, each with the option that corrects it.
    """
    catalog = load_catalog(catalog_file)
    card = read_card(path, catalog, dataset, settings)
    if as_json:
        print_json(card)
    else:
        click.echo(printable("\n".join([*card_lines(card), "", "run:", f"  {card['command']}"])))


def read_card(path: Path, catalog: Catalog, name: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """Understand a path, list its images and describe them.

    Raises:
        MedsslError: It is not understood, or cannot be listed.
    """
    return _card(path, catalog, name, _given(settings))


def _card(path: Path, catalog: Catalog, name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    from medssl.data.listing import read_listing
    from medssl.data.loading import open_dataset
    from medssl.data.understanding import describe_images, understand
    from medssl.recipe import choose
    from medssl.runs.pipeline import collect_warnings

    name, found = understand(path, catalog, given, name)
    options = {**found.options, **given}
    with collect_warnings() as warnings:
        choice = choose(DATASET.name, name, options, catalog)
        dataset = open_dataset(choice, catalog, found.folder)
        listing = read_listing(dataset, name)
    return {
        "path": str(path),
        "dataset": name,
        "directory": str(found.folder),
        "sure": round(found.sure, 2),
        "options": options,
        "said": list(found.said),
        "guesses": list(found.guesses),
        "warnings": list(dict.fromkeys(warnings)),
        **describe_images(dataset, listing),
        "command": run_command(path, found.folder, name, options, catalog),
    }


def _given(settings: Sequence[str], section: str = DATASET.section, name: str | None = None) -> dict[str, Any]:
    """Return the dataset's options among the settings, or those of an external test set of this name."""
    import yaml

    found: dict[str, Any] = {}
    for layer in recipe_layers({"settings": settings}):
        values = layer.get(section, {})
        found |= values if name is None else values.get(name, {})
    given = {key: value for key, value in found.items() if key not in _OURS}
    return {k: yaml.safe_load(v) if isinstance(v, str) and v.startswith("[") else v for k, v in given.items()}


def run_command(path: Path, folder: Path, name: str, options: Mapping[str, Any], catalog: Catalog) -> str:
    """Return the command of a run on the data, with every option that is not at its default."""
    method = catalog.plan("quick")["methods"][0] if "quick" in catalog.plan_names() else "NAME"
    place = path if path.is_dir() and path.resolve() == folder else folder
    words = ["medssl", "run", "--method", method, "--dataset", name, "--data-dir", str(place)]
    for key, value in options.items():
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else str(value)
        words += ["--set", f"{DATASET.section}.{key}={text}"]
    return shlex.join(words)


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """Write the card, without its command, in lines for a person."""
    looked, groups = card["looked_at"], card["groups"]
    files = ", ".join(f"{count} {kind}" for kind, count in card["files"].items()) or "no separate files"
    lines = [
        f"{card['path']} is read by the dataset '{card['dataset']}'.",
        "",
        f"  images   {card['images']} ({files})",
        f"  sizes    {_sizes(looked)}",
        f"  labels   {_labels(card)}",
        f"  groups   {_groups(card, groups)}",
        f"  parts    {'not given' if set(card['parts']) <= {'no part'} else _counts(card['parts'])}",
        f"  split    {card['split']}: {card['split_reason']}",
    ]
    if card["sites"]:
        lines.append(f"  sites    {_counts(card['sites'])}")
    if card["facts"]:
        lines.append(f"  facts    {shorten(card['facts'], _SHOWN)}")
    for title, texts in (
        ("understood:", card["said"]),
        ("guesses (correct them with --set OPTION=VALUE):", card["guesses"]),
        ("to know:", [*card["warnings"], *looked["unreadable"], *filter(None, [card["too_few"]])]),
    ):
        if texts:
            lines += ["", title, *(f"  - {text}" for text in texts[:_SHOWN])]
            lines += [f"  - and {len(texts) - _SHOWN} more"] * (len(texts) > _SHOWN)
    if not card["counts"] or card["without_label"] == card["images"]:
        lines += ["", "Without labels, a run pre-trains an encoder and measures its features, but scores nothing."]
    return lines


def _sizes(looked: Mapping[str, Any]) -> str:
    if not looked["images"]:
        return "no image could be read"
    height, width = (
        str(low) if low == high else f"{low} to {high}" for low, high in (looked["height"], looked["width"])
    )
    return f"height {height}, width {width} px; {', '.join(looked['kinds'])} ({looked['images']} images looked at)"


def _labels(card: Mapping[str, Any]) -> str:
    kind, without = card["target"]["kind"], card["without_label"]
    if kind == "none":
        return "none"
    unit = f" in {card['target']['unit']}" if "unit" in card["target"] else ""
    missing = f"; {without} images without a label" if without else ""
    return f"{kind}{unit}: {_counts(card['counts'])}{missing}"


def _groups(card: Mapping[str, Any], groups: Mapping[str, Any] | None) -> str:
    if groups is None:
        return "not known"
    without = f"; {card['images_without_group']} images without one" if card["images_without_group"] else ""
    return f"{groups['count']} ({groups['kind']}), up to {groups['largest']} images each{without}"


def _counts(counts: Mapping[str, int]) -> str:
    return shorten([f"{name} {count}" for name, count in counts.items()], _SHOWN)


def with_data(words: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Replace ``--data PATH`` by the dataset, its folder and its options, and show the card on standard error.

    External test sets are understood in the same way, if ``--data`` is given, if they are tables, or if the user asks
    for it with the plugin ``auto``. Otherwise the run's dataset reads them with the run's options.

    Args:
        words: Values of a command's options by name.
        catalog: Of plugins.

    Raises:
        OptionError: ``--data`` and ``--data-dir`` are both given.
        MedsslError: The path is not understood.
    """
    path = words.get("data")
    if path is None:
        return {**words, "external_options": _understand_others(words, catalog, every=False)}
    if words.get("data_dir") is not None:
        raise OptionError("--data and --data-dir are both given. --data is enough: it names the folder or the table.")
    card = read_card(path, catalog, words.get(DATASET.section), words.get("settings") or ())
    click.echo(printable("\n".join(card_lines(card))) + "\n", err=True)
    return {
        **words,
        "external_options": _understand_others(words, catalog, every=True),
        DATASET.section: card["dataset"],
        "data_dir": Path(card["directory"]),
        "dataset_options": card["options"],
    }


def _understand_others(words: Mapping[str, Any], catalog: Catalog, *, every: bool) -> dict[str, dict[str, Any]]:
    """Understand the external test sets, and return the settings of each that is understood.

    Args:
        words: Values of a command's options by name.
        catalog: Of plugins.
        every: Whether folders too are understood if the user does not ask for it.

    Raises:
        MedsslError: One message has the problems of all sets.
    """
    found, problems = {}, []
    for name, text in map(named_path, words.get("external") or ()):
        settings, path = words.get("settings") or (), Path(text)
        named = _plugin_of(settings, name)
        if not (every or path.is_file() or named == _AUTO):
            continue
        try:
            found[name] = _understand_other(name, path, catalog, None if named == _AUTO else named, settings)
        except MedsslError as error:
            problems.append(f"--external {name}: {error}")
    if problems:
        raise DataError("\n".join(problems))
    return found


def _plugin_of(settings: Sequence[str], name: str) -> str | None:
    layers = recipe_layers({"settings": settings})
    named = [layer.get("external", {}).get(name, {}).get("plugin") for layer in layers]
    return next((str(each) for each in reversed(named) if each), None)


def _understand_other(
    name: str, path: Path, catalog: Catalog, plugin: str | None, settings: Sequence[str]
) -> dict[str, Any]:
    """Return every option of the dataset that understands an external test set, so that none is the run's."""
    from medssl.recipe import choose

    other = _card(path, catalog, plugin, _given(settings, "external", name))
    lines = "\n".join(card_lines(other)).replace("dataset.", f"external.{name}.")
    click.echo(printable(f"external test set {name}: {lines}\n"), err=True)
    options = choose(DATASET.name, other["dataset"], other["options"], catalog).to_dict()
    return {**options, "path": other["directory"], "plugin": other["dataset"]}
