"""A model card from the record of a run, as Markdown with the header that the Hugging Face hub reads.

The sections follow Mitchell et al. 2019, Model Cards for Model Reporting, FAT* (arXiv 1810.03993), table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from medssl.export.documents.answers import answers_of
from medssl.export.documents.record import Record, Stated
from medssl.export.documents.results import written

__all__ = ["model_card"]

_AUTHORS = "To be written by the authors: "
_TAGS = ("medical-imaging", "self-supervised-learning", "medssl")


def model_card(record: Record, loading: str = "") -> str:
    """Return the card.

    Args:
        record: The record of a run.
        loading: Markdown that says how to load the files beside the card.
    """
    run = record.run
    head = {"library_name": "timm", "license": "other", "tags": [*_TAGS, run.method]}
    title = f"{run.dataset_title}, {run.method}, {record.network[0]}"
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# Model card: {title}",
        "Made by medssl from the record of a run. Every statement names the fields of `result.json` that it comes "
        "from. The results are not clinical evidence, and the model is not a medical device.",
        "## Model",
        _listed(answers_of(record, ("approach", "task", "model", "initial"))),
        *(["## How to load it", loading] if loading else []),
        "## Intended use",
        f"{_AUTHORS}who may use it, on which images of which patients, and for what it must not be used.",
        "## Data",
        _listed(answers_of(record, ("source", "counts", "labels", "preprocessing"))),
        "## Split",
        _listed(answers_of(record, ("split", "disjoint"))),
        "## Training",
        _listed(answers_of(record, ("training", "selection", "software"))),
        "## Results",
        _listed(answers_of(record, ("performance", "baseline", "uncertainty", "operating", "calibrated"))),
        _table(record),
        "### Subgroups",
        _subgroups(record),
        "### Mistakes",
        _listed(answers_of(record, ("failures", "missing"))) or "Not recorded.",
        "## Limits",
        _listed([*answers_of(record, ("limits",)), *_always()]),
        f"{_AUTHORS}biases of the data, and populations on which the model was not tested.",
        "## Licences",
        _listed(answers_of(record, ("licence", "base_licence"))),
        f"{_AUTHORS}the licence of this model. It must respect the licences of the dataset and of the first weights.",
        "## Citation",
        f"medssl, and the papers of the method '{run.method}' and of the dataset '{run.dataset}'.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(statements: Sequence[Stated]) -> str:
    return "\n".join(
        f"- {each.text}" + (f" ({', '.join(f'`{field}`' for field in each.fields)})" if each.fields else "")
        for each in statements
    )


def _table(record: Record) -> str:
    """Return the metrics of all predictors of the run with their intervals."""
    facts, scores = record.value("metrics"), record.run.scores
    names = [n for n in facts if facts[n].get("leads", True) and any(n in each for each in scores.values())]
    lines = [
        "| Predictor | " + " | ".join(facts[name]["title"] for name in names) + " |",
        "| --- |" + " --- |" * len(names),
    ]
    for evaluator, each in scores.items():
        cells = [written(each[name]) if name in each else "" for name in names]
        lines.append(f"| {evaluator} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _subgroups(record: Record) -> str:
    """Return the scores per class or finding and by the columns of the record; other columns are for the authors."""
    other = "other " if record.get(f"{record.scores}.subgroups") else ""
    return (
        _listed(answers_of(record, ("per_output", "subgroups")))
        + f"\n\n{_AUTHORS}results for {other}groups of people (age, sex, origin, site), or that they are not known."
    ).strip()


def _always() -> list[Stated]:
    return [
        Stated("Do not trust predictions for images that `medssl predict` flags as unlike the training images.", ()),
        Stated("The intervals cover the choice of test images, not another hospital or another device.", ()),
    ]
