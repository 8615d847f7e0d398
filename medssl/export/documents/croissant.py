"""A description of the dataset of a run in the Croissant format, validated by ``mlcroissant``.

Format: Croissant 1.0 (Akhtar et al. 2024, arXiv 2403.19546; https://docs.mlcommons.org/croissant/docs/croissant-spec.html).
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.catalog import Catalog
from medssl.contracts.kinds import DATASET
from medssl.errors import DataError, OptionError
from medssl.export.model import true_text
from medssl.io.files import write_atomic
from medssl.io.identities import private_id
from medssl.io.plain_text import table_text
from medssl.results.directory import RunResult

__all__ = ["export_croissant"]

_TABLE, _RECORDS = "samples.csv", "samples"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def export_croissant(
    run: RunResult, folder: Path, catalog: Catalog, *, with_groups: bool = False, with_names: bool = False
) -> list[Path]:
    """Write ``croissant.json`` and the table ``samples.csv`` that it describes: id, part and value of each image.

    The ids are private names. Groups (patients) are left out unless asked for.

    Args:
        run: The result.
        folder: The folder; made if it does not exist.
        catalog: Facts about datasets.
        with_groups: Also write the group of each image.
        with_names: Write ids and groups themselves. The table is then readable by its owner alone.

    Returns:
        The written files.

    Raises:
        OptionError: The extra ``croissant`` is not installed.
        DataError: ``mlcroissant`` finds an error in the description.
    """
    try:
        import mlcroissant  # noqa: PLC0415  (an extra, only used here)
    except ImportError as error:
        raise OptionError(
            f"the Croissant export needs the package '{error.name}', which is not installed. Install the extra: pip "
            'install "medssl[croissant]".'
        ) from error
    table = _table(run, with_groups=with_groups, with_names=with_names)
    folder.mkdir(parents=True, exist_ok=True)
    content = table_text(table).encode("utf-8", "surrogateescape")
    write_atomic(folder / _TABLE, content, private=with_names)
    values = _described(run, catalog.entry(DATASET.name, run.dataset), table[0], hashlib.sha256(content).hexdigest())
    file = folder / "croissant.json"
    write_atomic(file, (json.dumps(values, indent=2) + "\n").encode())
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the package about its own libraries
            mlcroissant.Dataset(jsonld=file)
    except mlcroissant.ValidationError as error:
        raise DataError(f"the description of this dataset is not valid Croissant: {error}.") from error
    return [file, folder / _TABLE]


def _table(run: RunResult, *, with_groups: bool, with_names: bool) -> list[list[str]]:
    split, target, kind = run.split(), run.data.target, run.data.group_kind or "group"
    features = run.features()
    known = {name: true_text(target, y) for part in features.values() for name, y in zip(part.ids, part.y, strict=True)}
    rows = [["id", "part", "value", *(["group"] if with_groups else [])]]
    for part in ("train", "val", "test", "unused"):
        for name in getattr(split, part):
            group = split.groups.get(name, "")
            shown = [name, group] if with_names else [private_id("image", name), group and private_id(kind, group)]
            rows.append([shown[0], part, known.get(name, ""), *(shown[1:] if with_groups else [])])
    return rows


def _described(run: RunResult, facts: Any, columns: Sequence[str], sha256: str) -> dict[str, Any]:
    target = run.data.target
    meaning = {
        "id": "The image, as the result of the run names it",
        "part": "Part of the split: train, val, test or unused",
        "value": f"The true value ({target.kind}): {', '.join(target.output_names)}",
        "group": f"Images of one {run.data.group_kind or 'group'} have the same text",
    }
    licence = str(facts.get("licence") or "not recorded; see the source of the dataset")
    source = facts.get("url") or facts.get("homepage") or "https://schema.org/Dataset"
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": run.dataset_title,
        "description": f"{facts.get('summary') or run.dataset_title}. {run.data.images} images in the split of a run.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licence,
        "url": str(source),
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": _TABLE,
                "name": _TABLE,
                "contentUrl": _TABLE,
                "encodingFormat": "text/csv",
                "sha256": sha256,
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": _RECORDS,
                "name": _RECORDS,
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"{_RECORDS}/{name}",
                        "name": name,
                        "description": meaning[name],
                        "dataType": "sc:Text",
                        "source": {"fileObject": {"@id": _TABLE}, "extract": {"column": name}},
                    }
                    for name in columns
                ],
            }
        ],
    }
