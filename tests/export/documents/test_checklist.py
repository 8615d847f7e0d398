from __future__ import annotations

import copy
import dataclasses
import re

import pytest
import yaml

from medssl.catalog import load_catalog
from medssl.errors import OptionError
from medssl.export.documents.answers import ANSWERS
from medssl.export.documents.card import model_card
from medssl.export.documents.checklist import checklist, checklist_names
from medssl.export.documents.record import Record


@pytest.fixture
def record(finished) -> Record:
    return Record.of(finished, load_catalog(), "linear")


def fields_in(text: str) -> set[str]:
    """Return the fields at the end of statements; the source of a metric may have code in it too."""
    return {field for listed in re.findall(r"\((`[^()]*`)\)", text) for field in re.findall(r"`([^`]+)`", listed)}


@pytest.mark.parametrize("name", ["claim", "tripod-ai"])
def test_every_filled_item_points_to_fields_of_the_record(record, name):
    text = checklist(record, name)
    fields = {field for field in fields_in(text) if field.partition(".")[0] in record.run.values}
    assert len(fields) > 20
    for field in fields:
        record.value(field)  # a field that does not exist raises KeyError
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| Item", "| ---"))]
    assert len(rows) == {"claim": 44, "tripod-ai": 52}[name]
    for row in rows:
        assert ("`" in row) != ("*To be written by the authors.*" in row), row
    assert "To be written by the authors" in text


@pytest.mark.parametrize(("name", "last"), [("claim", "44"), ("tripod-ai", "27c")])
def test_items_are_numbered_once_and_use_known_statements(name, last):
    from importlib import resources

    file = resources.files("medssl.export.documents") / "items" / f"{name}.yaml"
    items = yaml.safe_load(file.read_text(encoding="utf-8"))["items"]
    numbers = [str(item["number"]) for item in items]
    assert len(set(numbers)) == len(numbers)
    assert numbers[-1] == last
    assert {each for item in items for each in item.get("from", ())} <= set(ANSWERS)


def test_card_and_checklists_name_no_folder_group_or_file(record, finished, images):
    texts = [checklist(record, name) for name in checklist_names()] + [model_card(record)]
    groups = set(finished.split().groups.values())
    for text in texts:
        assert str(images) not in text
        assert not [group for group in groups if re.search(rf"\b{re.escape(group)}\b", text)]
        assert ".png" not in text


def test_the_card_has_its_sections_the_scores_and_a_header(record, finished):
    text = model_card(record, "Load it.")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "timm"
    for title in ("Intended use", "Data", "Split", "Training", "Results", "Subgroups", "Limits", "Licences"):
        assert re.search(rf"^##+ {title}$", body, re.M), title
    score = finished.scores["linear"]["auroc"]
    assert f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]" in body
    assert "random weights" in body
    assert "Load it." in body


def test_another_predictor_or_checklist_is_refused(finished, record):
    with pytest.raises(OptionError, match="no predictor 'forest'"):
        Record.of(finished, load_catalog(), "forest")
    with pytest.raises(OptionError, match=r"no checklist 'claims'.*claim, tripod-ai"):
        checklist(record, "claims")


@pytest.fixture
def fuller(record) -> Record:
    """The same record with two sites, another hospital, a search, and an encoder that is no network of timm."""
    values = copy.deepcopy(record.run.values)
    scores = values["evaluations"]["linear"]
    big = {"n": 40, "n_groups": 12, "auroc": {"value": 0.8, "low": 0.7, "high": 0.9}}
    scores["subgroups"] = {"site": {"Leiden": big, "Riga": {"n": 1, "n_groups": 1}}}
    own = {"auroc": {"value": 0.75, "low": 0.6, "high": 0.85}}
    values["data"]["group_kind"] = "patient"
    values["external"] = {"north": {"images": 90, "groups": 30, "evaluations": {"linear": own}}}
    values["recipe"]["evaluate"]["compared"] = 20
    del values["recipe"]["encoder"]["backbone"]
    values["encoder"] |= {"name": "dinov2-s", "licence": "cc-by-nc-4.0", "forbids": ["commercial use"]}
    values["pretrain"]["init"] = {"source": "weights.safetensors", "sha256": "0" * 64}
    return dataclasses.replace(record, run=dataclasses.replace(record.run, values=values))


def test_subgroups_other_hospitals_searches_and_licences_are_told(fuller):
    texts = {name: checklist(fuller, name) for name in checklist_names()} | {"card": model_card(fuller)}
    subgroups = "by site: Leiden: .800 [.700, .900] (40 images of 12 patients); Riga: 1 image of 1 patient, too small"
    for name, text in texts.items():
        assert subgroups in text
        forbidden = "Licence of the first weights: cc-by-nc-4.0; it forbids commercial use."
        assert (forbidden in text) == (name != "tripod-ai")
        assert "a search compared 20 settings on the validation part" in text
        assert "dinov2-s" in text
    assert "| 33 |" in texts["claim"]
    assert "External test set 'north', 90 images of 30 patients: AUROC .750 [.600, .850]." in texts["claim"]
    for field in (f for text in texts.values() for f in fields_in(text) if f.partition(".")[0] in fuller.run.values):
        fuller.value(field)
