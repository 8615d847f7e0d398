"""``medssl export``: a finished run in forms that other programs and people read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medssl.catalog import load_catalog
from medssl.cli.options import PATH, catalog_option, shown_path
from medssl.errors import OptionError

if TYPE_CHECKING:
    from medssl.export.documents.record import Record

__all__ = ["export"]

_FORMS = ("onnx", "hub", "card", "checklist", "croissant")
# options that only some forms use
_ONLY = {"image_paths": ("onnx",), "int8": ("onnx",), "with_groups": ("croissant",), "with_names": ("croissant",)}


@click.command()
@click.argument("run", type=PATH)
@click.argument("form", type=click.Choice(_FORMS))
@click.argument("name", required=False)
@click.option("--output", type=PATH, help="File or folder to write.  [default: named after the form]")
@click.option(
    "--evaluator",
    metavar="NAME",
    help="onnx, hub: the predictor to export with the encoder. card, checklist: the predictor to describe.",
)
@click.option("--images", "image_paths", type=PATH, multiple=True, help="onnx: real images for the comparison.")
@click.option("--int8", is_flag=True, help="onnx: also write a file with 8-bit numbers, and measure the difference.")
@click.option("--with-groups", is_flag=True, help="croissant: also write the group (patient) of each image.")
@click.option("--with-names", is_flag=True, help="croissant: write names of files, not private names; for you alone.")
@catalog_option
def export(run: Path, form: str, name: str | None, **words: Any) -> None:
    """Write RUN in another FORM.

    \b
    onnx             the encoder, or with --evaluator the encoder with a head (extra: onnx)
    hub              a folder for the Hugging Face hub: weights for timm, config.json, model card
    card             a model card
    checklist NAME   a reporting checklist, claim or tripod-ai, filled from the record of the run
    croissant        a description of the dataset (extra: croissant)
    """  # noqa: D301  (click reads the backspace character that \b stands for)
    for option, forms in _ONLY.items():
        if words[option] and form not in forms:
            flag = option.replace("image_paths", "images").replace("_", "-")
            raise OptionError(f"--{flag} has no effect on '{form}'. Leave it out.")
    if (form == "checklist") != (name is not None):
        raise OptionError(
            "name the checklist, for instance: medssl export RUN checklist claim."
            if name is None
            else f"'{name}' has no effect on '{form}'. Leave it out."
        )
    {"onnx": _onnx, "hub": _hub, "card": _card, "checklist": _checklist, "croissant": _croissant}[form](
        run, name or "", words
    )


def _onnx(run: Path, _name: str, words: Mapping[str, Any]) -> None:
    from medssl.export.model import load_model
    from medssl.export.onnx import export_onnx

    file = words["output"] or Path("model.onnx")
    checks = export_onnx(
        load_model(run), file, evaluator=words["evaluator"], images=words["image_paths"], int8=words["int8"]
    )
    for check in checks:
        others = "" if check.other_decisions is None else f", {check.other_decisions} other decisions"
        click.echo(
            f"{check.file}: opset {check.opset}, {check.megabytes} MB; on {check.images} real images the largest "
            f"difference from PyTorch is {check.max_difference:.2g} (mean {check.mean_difference:.2g}){others}",
            err=True,
        )
        click.echo(shown_path(file.with_name(check.file)))


def _hub(run: Path, _name: str, words: Mapping[str, Any]) -> None:
    from medssl.export.hub import export_hub
    from medssl.export.model import load_model

    model, folder = load_model(run), words["output"] or Path("hub")
    for file in export_hub(model, folder, _record(run, words), evaluator=words["evaluator"]):
        click.echo(shown_path(file))


def _card(run: Path, _name: str, words: Mapping[str, Any]) -> None:
    from medssl.export.documents.card import model_card

    _write(words["output"] or Path("card.md"), model_card(_record(run, words)))


def _checklist(run: Path, name: str, words: Mapping[str, Any]) -> None:
    from medssl.export.documents.checklist import checklist

    text = checklist(_record(run, words), name)
    _write(words["output"] or Path(f"{name}.md"), text)


def _croissant(run: Path, _name: str, words: Mapping[str, Any]) -> None:
    from medssl.export.documents.croissant import export_croissant
    from medssl.results.directory import load_run

    folder, catalog = words["output"] or Path("croissant"), load_catalog(words["catalog_file"])
    named = {key: words[key] for key in ("with_groups", "with_names")}
    for file in export_croissant(load_run(run), folder, catalog, **named):
        click.echo(shown_path(file))


def _record(run: Path, words: Mapping[str, Any]) -> Record:
    """Return the record of a run for the predictor that the user names, else the best on the validation part."""
    from medssl.export.documents.record import Record
    from medssl.results.directory import load_run

    result = load_run(run)
    return Record.of(result, load_catalog(words["catalog_file"]), words["evaluator"])


def _write(file: Path, text: str) -> None:
    from medssl.io.files import require_writable, write_atomic

    require_writable(file)
    write_atomic(file, text.encode())
    click.echo(shown_path(file))
