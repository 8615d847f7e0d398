"""``medssl audit``: check a dataset and its split before training."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl.cli.card import with_data
from medssl.cli.options import (
    PATH,
    bad_image_option,
    catalog_option,
    data_dir_option,
    data_option,
    find_plugins,
    recipe_layers,
    settings_option,
    verify_option,
)
from medssl.cli.output import print_json
from medssl.errors import OptionError, counted
from medssl.io.plain_text import printable

if TYPE_CHECKING:
    from medssl.data.audit.findings import Audit

__all__ = ["audit"]

_REACH = (
    "near-duplicates: found if re-encoded, resized, mirrored or turned by right angles; of the rotated copies of\n"
    "lung tiles (LC25000, up to 25 degrees) the search finds 145 of 7,393 pairs, so give groups if there are copies\n"
)
_COLUMNS = ("path", "label", "group")
_SHOWN = 10  # sets of duplicates on the screen; --json lists all
_SHOWN_IMAGES = 5  # images of one set


@click.command(epilog="Every run makes the same checks and writes its findings into its result, under data.warnings.")
@click.option("--dataset", metavar="NAME", help="Dataset plugin; `medssl list datasets` shows the names.")
@data_option
@data_dir_option()
@click.option("--split", metavar="PROTOCOL", help="Look for leaks in this split.  [default: the dataset's]")
@settings_option("Any setting, for instance split.seed=1.")
@catalog_option
@bad_image_option
@verify_option
@click.option(
    "--groups",
    type=PATH,
    metavar="FILE",
    help="Write a CSV that puts duplicate images into the same group, for --split grouped.",
)
@click.option(
    "--names", is_flag=True, help="List duplicates by their file names and groups. Do not pass this output on."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def audit(on_bad_image: Any, groups: Path | None, names: bool, as_json: bool, **words: Any) -> None:
    """Look for duplicate images, duplicates with different labels, and duplicates or groups in two parts of a split.

    Images and groups have private names, which `medssl reveal` looks up; see also --names.
    """
    if groups is not None and groups.exists() and not _is_table_of_groups(groups):
        raise _exists(groups)
    from medssl.catalog import load_catalog
    from medssl.cli.display import reading_images

    catalog = load_catalog(words["catalog_file"])
    words = with_data(words, catalog)
    layers = recipe_layers(words)
    find_plugins(words, catalog)
    from medssl.data.loading import load_data, open_dataset
    from medssl.recipe import resolve_data

    recipe = resolve_data(catalog, layers)  # the same split as a run would use
    dataset = open_dataset(recipe.dataset, catalog, words["data_dir"], recipe.readers)
    with reading_images("duplicates are looked for") as progress:
        data = load_data(recipe, dataset, on_bad_image=on_bad_image, progress=progress)
    values = {
        "dataset": recipe.dataset.name,
        **data.audit.to_dict(names=names),
        **{key: data.describe()[key] for key in ("directory", "warnings")},
    }
    if as_json:
        print_json(values)
    else:
        _print(values)
        if groups is None and any(count["either"] for count in values["seen_before"].values()):
            click.echo(
                "next: --groups FILE writes a CSV that puts duplicate images into the same group; "
                "`medssl run --groups FILE` uses it with any dataset"
            )
    if groups is not None:
        _write_groups(groups, data.audit)


def _exists(file: Path) -> OptionError:
    return OptionError(
        f"--groups {file} already exists. It is not replaced, because it may be edited by hand. Give another name."
    )


def _is_table_of_groups(file: Path) -> bool:
    """Whether a call that was killed after its last step can have written a file; if so, its content is compared."""
    from medssl.io.reading import open_regular

    try:
        with open_regular(file) as opened:
            return opened.readline(100) == f"{','.join(_COLUMNS)}\n".encode()
    except OSError:
        return False


def _write_groups(file: Path, found: Audit) -> None:
    """Write a table of every image, in the form that the dataset `csv` reads too."""
    from medssl.io.files import write_atomic

    joined = found.joined_groups
    if not joined:
        click.echo(f"{file} is not written, because there are no duplicates and no groups", err=True)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for sample in found.samples:
        label = "" if sample.y is None else found.target.text(sample.y)
        rows.writerow([sample.id, label, joined.get(sample.id, "")])
    content = text.getvalue().encode(errors="surrogateescape")
    if file.exists() and file.read_bytes() != content:
        raise _exists(file)
    write_atomic(file, content, private=True)
    groups = len(set(joined.values()))
    click.echo(f"{file}: {counted(len(joined), 'image')} in {counted(groups, 'group')}", err=True)


def _print(values: Mapping[str, Any]) -> None:
    from medssl.results.sections import CONFOUNDING

    click.echo(f"{values['dataset']}, split: {values['split']}\n")
    if first := [text for text in values["warnings"] if text.startswith(CONFOUNDING)]:
        click.echo("\n".join([*first, ""]))
    _print_counts(values)
    click.echo(printable("\n".join(["", *_sentences(values), ""])))
    for title, sets in (
        ("duplicates", values["equal"]),
        ("near-duplicates", [pair["images"] for pair in values["near"]]),
    ):
        _print_sets(title, sets)
    click.echo(_REACH)
    click.echo("findings:" if values["warnings"] else "findings: none")
    for warning in values["warnings"]:
        click.echo(printable(f"  {warning}"))


def _print_counts(values: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    parts, groups = values["parts"], values["groups"]
    table = Table(values["stratum"], box=None, header_style="bold")
    for column in (*parts, "all", *([f"{groups['kind']}s"] if groups else [])):
        table.add_column(column, justify="right")
    for name in parts["train"]:
        counts = [parts[part][name] for part in parts]
        in_groups = [str(groups["per_stratum"][name])] if groups else []
        table.add_row(printable(name), *map(str, counts), str(sum(counts)), *in_groups)
    sums = [values["labelled"][part] for part in parts]
    table.add_row("all", *map(str, sums), str(sum(sums)), *([str(groups["count"])] if groups else []))
    Console(file=sys.stdout, highlight=False, markup=False).print(table)


def _sentences(values: Mapping[str, Any]) -> list[str]:
    """Describe the number of images, their sizes and their groups."""
    sizes, groups = values["sizes"], values["groups"]
    lines = [
        f"{values['images']} images, {values['without_label']} without a label, {values['unused']} in no part",
        f"height {_range(sizes['height'])}, width {_range(sizes['width'])} px in {sizes['shapes']} shapes, "
        f"{'grey' if sizes['channels'] == 1 else 'colour'}, {sizes['dtype']}"
        + (", reduced to the view size of the run" if sizes["reduced"] else ""),
    ]
    lines += _confounding(values["confounding"])
    if groups:
        kind = groups["kind"]
        lines += [
            f"{groups['count']} {kind}s of {_range(groups['images'])} images, {groups['with_several_labels']} with "
            f"several labels; {groups['images_without']} images without a {kind}",
            f"{kind}s in two parts: "
            + ", ".join(f"{count} ({both})" for both, count in groups["in_two_parts"].items()),
        ]
    return lines


def _confounding(values: Mapping[str, Any]) -> list[str]:
    """Say how well the site, or colour and size alone, predict the target."""
    found = []
    for key, what in (("site", "the site"), ("appearance", f"{values['looks']} statistics and image size")):
        if one := values[key]:
            found.append(
                f"{what} alone: balanced accuracy {one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}] in other "
                f"{values['group_kind']}s, chance {one['chance']:.2f}"
            )
    if one := values["site_in_looks"]:
        found.append(
            f"{values['looks']} statistics and image size tell {one['sites']} sites apart: balanced accuracy "
            f"{one['value']:.2f}, chance {one['chance_low']:.2f} to {one['chance_high']:.2f}"
        )
    return found


def _range(values: Mapping[str, float]) -> str:
    if values["min"] == values["max"]:
        return f"{values['min']}"
    return f"{values['min']} to {values['max']} (median {values['median']:g})"


def _print_sets(title: str, sets: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    if not sets:
        return
    click.echo(f"{title}: {counted(len(sets), 'set')}")
    for images in sets[:_SHOWN]:
        words = [f"{image['id']} ({image['label']}, {image['part']})" for image in images[:_SHOWN_IMAGES]]
        if len(images) > _SHOWN_IMAGES:
            words.append(f"and {len(images) - _SHOWN_IMAGES} more; --json lists all")
        click.echo(printable("  " + "  ".join(words)))
    if len(sets) > _SHOWN:
        click.echo(f"  and {len(sets) - _SHOWN} more; --json lists all")
    click.echo()
